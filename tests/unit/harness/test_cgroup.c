/*
 * Cgroups on a made-up host: a folder with the files of /proc and of a cgroup that a process of a delegated scope sees. What only a
 * kernel does (cpusets, killing) is tests/lab/test_cgroup.sh.
 */
#include "harness/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/file.h"
#include "scratch_dir.h"

struct made_up {
	char *dir;
	char *proc;
	char *own; /* folder of the own cgroup */
};

static void put(const char *folder, const char *name, const char *text)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s", folder, name);
	CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static void make_cgroup(const char *folder, const char *controllers, const char *subtree,
			const char *procs)
{
	struct error err;

	assert_int_equal(file_make_dirs(folder, 0755, &err), 0);
	put(folder, "cgroup.type", "domain\n");
	put(folder, "cgroup.controllers", controllers);
	put(folder, "cgroup.subtree_control", subtree);
	put(folder, "cgroup.procs", procs);
}

static int set_up(void **state)
{
	struct made_up *h = xcalloc(1, sizeof(*h));
	struct error err;

	h->dir = scratch_dir_new();
	h->proc = xasprintf("%s/proc", h->dir);
	h->own = xasprintf("%s/sys/up.slice/own.scope", h->dir);
	CLEANUP(freep) char *ns = xasprintf("%s/self/ns", h->proc);
	CLEANUP(freep)
	char *mounts = xasprintf("41 31 0:38 / %s/sys rw - cgroup2 cgroup2 rw\n", h->dir);
	assert_int_equal(file_make_dirs(ns, 0755, &err), 0);
	put(ns, "pid", "");
	put(h->proc, "self/cgroup", "0::/up.slice/own.scope\n");
	put(h->proc, "self/mountinfo", mounts);
	make_cgroup(h->own, "cpuset cpu memory\n", "", "12\n");
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct made_up *h = *state;
	CLEANUP(freep) char *command = xasprintf("rm -rf '%s/sys' '%s'", h->dir, h->proc);

	assert_int_equal(system(command), 0); /* NOLINT(concurrency-mt-unsafe,cert-env33-c) */
	scratch_dir_free(h->dir);
	free(h->proc);
	free(h->own);
	free(h);
	return 0;
}

static enum cgroup_verdict verdict(const struct made_up *h, const char *want_folder)
{
	CLEANUP(cgroup_place_fini) struct cgroup_place place;

	cgroup_place_find(h->proc, &place);
	if (want_folder)
		assert_string_equal(buf_str(&place.path), want_folder);
	return place.verdict;
}

static void test_own_cgroup_is_taken_when_this_process_is_alone(void **state)
{
	struct made_up *h = *state;

	assert_int_equal(verdict(h, h->own), CGROUP_USABLE);
	put(h->own, "cgroup.procs", "12\n13\n");
	assert_int_equal(verdict(h, NULL), CGROUP_HAS_PROCESSES);
	put(h->own, "cgroup.controllers", "cpu cpusetx memory\n");
	assert_int_equal(verdict(h, NULL), CGROUP_NO_CPUSET);
	put(h->own, "cgroup.controllers", "memory cpuset\n");
	put(h->own, "cgroup.type", "domain invalid\n");
	assert_int_equal(verdict(h, NULL), CGROUP_THREADED);
	put(h->proc, "self/cgroup", "1:cpuset:/\n");
	assert_int_equal(verdict(h, NULL), CGROUP_NO_HIERARCHY);
}

static void test_who_stepped_aside_goes_on_using_the_cgroup_above(void **state)
{
	struct made_up *h = *state;
	CLEANUP(freep) char *leaf = xasprintf("%s/ktstr-1-12-99-0", h->own);

	make_cgroup(leaf, "cpuset\n", "", "12\n");
	put(h->own, "cgroup.procs", "");
	put(h->proc, "self/cgroup", "0::/up.slice/own.scope/ktstr-1-12-99-0\n");
	assert_int_equal(verdict(h, h->own), CGROUP_USABLE);
}

/* Root's needs a mark, which not every file system can carry: the pure judge has that case. */
static void test_cgroup_above_is_taken_when_it_belongs_to_this_user(void **state)
{
	struct made_up *h = *state;
	CLEANUP(freep) char *up = xasprintf("%s/sys/up.slice", h->dir);

	make_cgroup(up, "cpuset cpu\n", "cpuset\n", "");
	put(h->own, "cgroup.procs", "12\n13\n");
	if (geteuid() == 0)
		assert_int_equal(verdict(h, NULL), CGROUP_HAS_PROCESSES);
	else
		assert_int_equal(verdict(h, up), CGROUP_USABLE);
}

static void test_without_a_place_there_is_a_note_or_the_error_asked_for(void **state)
{
	struct made_up *h = *state;
	struct id_set cpus = { 0 };
	struct cgroup_request r = { .cpus = &cpus, .proc = h->proc };
	struct cgroup c;
	struct error err;

	id_set_add(&cpus, 0);
	put(h->own, "cgroup.controllers", "memory\n");
	assert_int_equal(cgroup_open(&c, &r, 1, &err), 0);
	assert_false(c.is_active);
	assert_non_null(strstr(c.note, "cpuset"));
	assert_int_equal(cgroup_enter(&c), 0);
	assert_false(cgroup_kill(&c));
	assert_true(cgroup_close(&c, 0));
	r.is_required = true;
	assert_true(cgroup_open(&c, &r, 1, &err) < 0);
	assert_int_equal(err.class, ERROR_SKIP);
	assert_non_null(strstr(err.text, "cpuset"));
	assert_true(cgroup_close(&c, 0));
}

static uint32_t count_entries(const struct made_up *h, const char *prefix)
{
	CLEANUP(freep)
	char *command = xasprintf("exit $(ls '%s' | grep -c '^%s')", h->own, prefix);
	int status = system(command); /* NOLINT(concurrency-mt-unsafe,cert-env33-c) */

	return (uint32_t)WEXITSTATUS(status);
}

/* The made-up kernel gives a new cgroup no files: each failure after mkdir leaves no folder. */
static void test_failure_half_way_leaves_no_cgroup(void **state)
{
	struct made_up *h = *state;
	struct id_set cpus = { 0 };
	struct cgroup_request r = { .cpus = &cpus, .proc = h->proc };
	CLEANUP(freep) char *stat_dir = xasprintf("%s/%d", h->proc, getpid());
	CLEANUP(freep) char *type = xasprintf("%s/cgroup.type", h->own);
	struct cgroup c;
	struct error err;

	id_set_add_range(&cpus, 2, 3);
	assert_int_equal(file_make_dirs(stat_dir, 0755, &err), 0);
	put(stat_dir, "stat", "1 (x) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20\n");
	assert_int_equal(unlink(type), 0); /* the root: nobody has to step aside */
	assert_int_equal(cgroup_open(&c, &r, 1, &err), 0);
	assert_false(c.is_active);
	assert_non_null(strstr(c.note, "cpuset.cpus refuses '2-4'"));
	assert_int_equal(count_entries(h, "ktstr-"), 0);
	CLEANUP(freep) char *subtree = xasprintf("%s/cgroup.subtree_control", h->own);
	char line[16];
	assert_int_equal(file_read_line(subtree, line, sizeof(line)), 0);
	assert_string_equal(line, "+cpuset");
}

static void test_sweep_takes_the_dead_and_nobody_else(void **state)
{
	struct made_up *h = *state;
	CLEANUP(freep) char *ns = xasprintf("%s/self/ns/pid", h->proc);
	CLEANUP(cgroup_sweep_fini) struct cgroup_sweep swept;
	static const struct {
		int pid;
		uint64_t start;
		int ns_off;
		const char *stat; /* NULL: no such process */
		bool stays;
	} cases[] = {
#define FIELDS " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20\n"
		{ 101, 4242, 0, "101 (ktstr) S" FIELDS, true }, /* lives */
		{ 102, 4242, 0, NULL, false },
		{ 103, 4241, 0, "103 (other) S" FIELDS, false }, /* its pid was used again */
		{ 104, 4242, 0, "104 (ktstr) Z" FIELDS, false },
		{ 105, 4242, 1, NULL, true }, /* of another pid namespace */
#undef FIELDS
	};
	struct stat st;
	struct error err;

	assert_int_equal(stat(ns, &st), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(freep) char *proc = xasprintf("%s/%d", h->proc, cases[i].pid);
		char name[CGROUP_NAME_MAX];
		const struct cgroup_name n = { .pid_ns = st.st_ino + (uint64_t)cases[i].ns_off,
					       .pid = cases[i].pid,
					       .start = cases[i].start,
					       .seq = 1 };
		cgroup_name_format(&n, name);
		CLEANUP(freep) char *folder = xasprintf("%s/%s", h->own, name);
		assert_int_equal(mkdir(folder, 0755), 0);
		if (!cases[i].stat)
			continue;
		assert_int_equal(file_make_dirs(proc, 0755, &err), 0);
		put(proc, "stat", cases[i].stat);
	}
	CLEANUP(freep) char *foreign = xasprintf("%s/ktstr-mine", h->own);
	assert_int_equal(mkdir(foreign, 0755), 0);

	cgroup_sweep(h->proc, &swept);

	assert_int_equal(swept.n_removed, 3);
	assert_int_equal(swept.n_in_use, 1);
	assert_int_equal(swept.n_refused, 1);
	assert_int_equal(count_entries(h, "ktstr-"), 3);
	assert_int_equal(count_entries(h, "ktstr-mine"), 1);
	const char *names = buf_str(&swept.removed);
	assert_non_null(strstr(names, "-102-4242-1\n"));
	assert_non_null(strstr(names, "-103-4241-1\n"));
	assert_non_null(strstr(names, "-104-4242-1\n"));
}

/* Whatever this machine is: a request that demands nothing is no error, and nothing is left. */
static void test_on_this_machine_open_and_close(void **state UNUSED)
{
	struct cgroup c;
	struct error err;

	assert_int_equal(cgroup_open(&c, &(struct cgroup_request){ 0 }, 1, &err), 0);
	assert_true(c.is_active || c.note[0]);
	assert_true(cgroup_close(&c, 1000));
}

int main(void)
{
#define ON_HOST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		ON_HOST(test_own_cgroup_is_taken_when_this_process_is_alone),
		ON_HOST(test_who_stepped_aside_goes_on_using_the_cgroup_above),
		ON_HOST(test_cgroup_above_is_taken_when_it_belongs_to_this_user),
		ON_HOST(test_without_a_place_there_is_a_note_or_the_error_asked_for),
		ON_HOST(test_failure_half_way_leaves_no_cgroup),
		ON_HOST(test_sweep_takes_the_dead_and_nobody_else),
		cmocka_unit_test(test_on_this_machine_open_and_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
