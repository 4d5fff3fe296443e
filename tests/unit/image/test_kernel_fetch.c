/*
 * Fetching, with stand-ins for apt-get, apt-cache, dpkg-deb and depmod in a PATH of the test's own:
 * shell scripts that note how they were called. What a real archive says of a kernel is in their
 * texts.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/file.h"
#include "image/kernel_cache.h"
#include "kernel_maker.h"

struct fixture {
	char *dir;
	char *cache;
	char *kernels;
	char *bin;
	char *calls;
	char *old_path;
	struct kernel_entry entry;
	struct error err;
};

static const char apt_cache[] =
    "case \"$1 $*\" in\n"
    "search*6.12*)\n"
    " echo 'linux-image-6.12-cloud-amd64 - meta'\n"
    " echo 'linux-image-6.12.9+deb12-cloud-amd64 - old'\n"
    " echo 'linux-image-6.12.117+deb12-cloud-amd64 - new'\n"
    " echo 'linux-image-6.12.20+deb12-cloud-amd64 - middle';;\n"
    "search*) ;;\n"
    "depends*linux-image-cloud-amd64) echo '  Depends: linux-image-6.12.117+deb12-cloud-amd64';;\n"
    "depends*linux-image-6.12.117*|depends*linux-image-empty) echo '  PreDepends: linux-base';;\n"
    "*) echo 'E: No packages found' >&2; exit 100;;\n"
    "esac\n";

static const char apt_get[] =
    "for p; do :; done\n"
    "case \"$*\" in\n"
    "*--print-uris*) echo \"'http://x/${p}_6.12.117-1%7edeb12u1_amd64.deb' "
    "${p}_6.12.117-1~deb12u1_amd64.deb 34307256 "
    "SHA256:5195\";;\n"
    "*) [ -z \"$FETCH_SLEEP\" ] || { : > \"$FETCH_SLEEP\"; exec sleep 30; }\n"
    "   [ -z \"$FETCH_FAIL\" ] || { echo 'E: 404  Not Found' >&2; exit 100; }\n"
    "   : > \"${p}_6.12.117-1~deb12u1_amd64.deb\";;\n"
    "esac\n";

static const char dpkg_deb[] = "case \"$2\" in *empty*) mkdir -p \"$3/usr\"; exit 0;; esac\n"
			       "r=6.12.117+deb12-cloud-amd64\n"
			       "mkdir -p \"$3/boot\" \"$3/usr/lib/modules/$r/kernel\"\n"
			       "cp \"$TEST_DIR/bzimage\" \"$3/boot/vmlinuz-$r\"\n"
			       "echo module > \"$3/usr/lib/modules/$r/kernel/a.ko\"\n";

static const char depmod[] = "[ -z \"$DEPMOD_FAIL\" ] || exit 3\n"
			     "echo kernel/a.ko: > \"$2/usr/lib/modules/$3/modules.dep\"\n";

static void put_tool(const struct fixture *f, const char *name, const char *body)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s", f->bin, name);
	CLEANUP(freep)
	char *script = xasprintf("#!/bin/sh\necho \"%s $*\" >> '%s'\n%s", name, f->calls, body);

	maker_write(path, script, strlen(script));
	assert_int_equal(chmod(path, 0755), 0);
}

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	CLEANUP(buf_fini) struct buf elf = { 0 };
	CLEANUP(buf_fini) struct buf payload = { 0 };
	CLEANUP(buf_fini) struct buf bz = { 0 };

	f->dir = maker_dir();
	f->cache = xasprintf("%s/cache", f->dir);
	f->kernels = xasprintf("%s/kernels", f->cache);
	f->bin = xasprintf("%s/bin", f->dir);
	f->calls = xasprintf("%s/calls", f->dir);
	maker_elf(&elf);
	maker_payload(COMPRESSION_GZIP, &elf, &payload);
	maker_bzimage(&payload, &bz);
	CLEANUP(freep) char *image = xasprintf("%s/bzimage", f->dir);
	maker_write(image, bz.data, bz.len);
	assert_int_equal(mkdir(f->bin, 0755), 0);
	put_tool(f, "apt-cache", apt_cache);
	put_tool(f, "apt-get", apt_get);
	put_tool(f, "dpkg-deb", dpkg_deb);
	put_tool(f, "depmod", depmod);
	f->old_path = xstrdup(getenv("PATH"));
	CLEANUP(freep) char *path = xasprintf("%s:%s", f->bin, f->old_path);
	assert_int_equal(setenv("PATH", path, 1), 0);
	assert_int_equal(setenv("TEST_DIR", f->dir, 1), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "TEST_DIR", "FETCH_FAIL", "FETCH_SLEEP",
					     "DEPMOD_FAIL" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unsetenv(names[i]);
	assert_int_equal(setenv("PATH", f->old_path, 1), 0);
	kernel_entry_fini(&f->entry);
	maker_dir_remove(f->dir);
	free(f->cache);
	free(f->kernels);
	free(f->bin);
	free(f->calls);
	free(f->old_path);
	free(f);
	return 0;
}

static int fetch(struct fixture *f, const char *what)
{
	kernel_entry_fini(&f->entry);
	f->err = (struct error){ 0 };
	return kernel_cache_fetch(f->cache, what, -1, &f->entry, &f->err);
}

static size_t count_calls(const struct fixture *f, const char *what)
{
	CLEANUP(buf_fini) struct buf calls = { 0 };
	struct error err;
	size_t n = 0;

	if (access(f->calls, F_OK) != 0)
		return 0;
	assert_int_equal(file_read(f->calls, 1 << 20, &calls, &err), 0);
	for (const char *p = buf_str(&calls); (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void assert_says(const struct fixture *f, const char *what)
{
	if (!strstr(f->err.text, what))
		fail_msg("'%s' does not say '%s'", f->err.text, what);
}

static void test_fetch_series_takes_its_newest_kernel(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep)
	char *dep = xasprintf(
	    "%s/6.12.117+deb12-cloud-amd64/lib/modules/6.12.117+deb12-cloud-amd64/modules.dep",
	    f->kernels);

	if (fetch(f, "6.12") < 0)
		fail_msg("%s", f->err.text);
	assert_string_equal(f->entry.name, "6.12.117+deb12-cloud-amd64");
	assert_string_equal(f->entry.source,
			    "apt linux-image-6.12.117+deb12-cloud-amd64 6.12.117-1~deb12u1");
	assert_non_null(strstr(f->entry.image, "/6.12.117+deb12-cloud-amd64/vmlinuz"));
	assert_int_equal(access(dep, F_OK), 0);
	assert_int_equal(maker_count(f->kernels, ""), 2); /* the entry, .lock */
	assert_int_equal(maker_count(f->entry.modules_dir, ""), 2);
}

static void test_fetch_default_and_meta_package_give_a_kernel(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fetch(f, NULL), 0);
	assert_string_equal(f->entry.name, "6.12.117+deb12-cloud-amd64");
	assert_int_equal(fetch(f, "linux-image-cloud-amd64"), 0);
	assert_string_equal(f->entry.name, "6.12.117+deb12-cloud-amd64");
}

static void test_fetch_again_downloads_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fetch(f, "6.12"), 0);
	assert_int_equal(fetch(f, "6.12"), 0);
	assert_string_equal(f->entry.name, "6.12.117+deb12-cloud-amd64");
	assert_int_equal(count_calls(f, "Acquire::Retries"), 1);
	assert_int_equal(count_calls(f, "dpkg-deb"), 1);
}

static void test_fetch_bad_names_run_nothing(void **state)
{
	static const char *const names[] = { "-o",
					     "--help",
					     "linux-image-$(id)",
					     "linux-image-a b",
					     "linux-image-a/b",
					     "linux-image-a=1",
					     "../x",
					     "",
					     "firefox",
					     "linux-image-UPPER",
					     "6.12; id",
					     "." };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(fetch(f, names[i]), -EINVAL);
		assert_int_equal(f->err.class, ERROR_USAGE);
		assert_says(f, names[i]);
	}
	assert_int_equal(count_calls(f, " "), 0);
	assert_int_not_equal(access(f->cache, F_OK), 0);
}

static void test_fetch_unknown_package_suggests_update(void **state)
{
	struct fixture *f = *state;

	assert_true(fetch(f, "4.2") < 0);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_says(f, "'4.2'; run 'apt-get update'");
	assert_true(fetch(f, "linux-image-nope") < 0);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_says(f, "'linux-image-nope'; run 'apt-get update'");
}

static void test_fetch_failed_download_tells_apts_words_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(setenv("FETCH_FAIL", "1", 1), 0);
	assert_true(fetch(f, "6.12") < 0);
	assert_int_equal(f->err.class, ERROR_INFRA);
	assert_says(f, "exit status 100: E: 404  Not Found");
	assert_says(f, "apt-get update");
	assert_int_equal(maker_count(f->kernels, ""), 1); /* .lock */
}

static void test_fetch_failed_depmod_leaves_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(setenv("DEPMOD_FAIL", "1", 1), 0);
	assert_true(fetch(f, "6.12") < 0);
	assert_says(f, "depmod: exit status 3");
	assert_int_equal(maker_count(f->kernels, ""), 1);
}

static void test_fetch_package_without_kernel_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_true(fetch(f, "linux-image-empty") < 0);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_says(f, "has no boot/vmlinuz-*");
	assert_int_equal(maker_count(f->kernels, ""), 1);
}

static void test_fetch_without_apt_is_a_skip(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *nowhere = xasprintf("%s/nowhere", f->dir);

	assert_int_equal(setenv("PATH", nowhere, 1), 0);
	assert_true(fetch(f, "6.12") < 0);
	assert_int_equal(f->err.class, ERROR_SKIP);
	assert_says(f, "needs Debian");
}

static void test_fetch_reports_progress(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = xasprintf("%s/progress", f->dir);
	CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CLEANUP(buf_fini) struct buf text = { 0 };

	assert_int_equal(kernel_cache_fetch(f->cache, "6.12", fd, &f->entry, &f->err), 0);
	assert_int_equal(file_read(path, 4096, &text, &f->err), 0);
	assert_non_null(strstr(
	    buf_str(&text), "linux-image-6.12.117+deb12-cloud-amd64 6.12.117-1~deb12u1, 33 MiB\n"));
	assert_non_null(
	    strstr(buf_str(&text), "kernel 6.12.117+deb12-cloud-amd64 is in the cache\n"));
}

static void wait_for(const char *path)
{
	for (int i = 0; i < 500 && access(path, F_OK) != 0; i++)
		(void)nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	assert_int_equal(access(path, F_OK), 0);
}

/* kill -9 in the middle of the download: the next fetch removes the rest and succeeds, without
 * waiting for apt. */
static void test_fetch_killed_is_cleaned_by_the_next(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *asleep = xasprintf("%s/asleep", f->dir);
	int status;

	assert_int_equal(setenv("FETCH_SLEEP", asleep, 1), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)setpgid(0, 0);
		_exit(fetch(f, "6.12") == 0);
	}
	(void)setpgid(pid, pid); /* whichever comes first; the other fails harmlessly */
	wait_for(asleep);
	assert_int_equal(maker_count(f->kernels, ""), 2); /* .lock, .new-XXXXXX */
	assert_int_equal(kill(-pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(unsetenv("FETCH_SLEEP"), 0);
	assert_int_equal(fetch(f, "6.12"), 0);
	assert_int_equal(maker_count(f->kernels, ""), 2); /* .lock, the entry */
}

static void test_fetch_by_two_processes_downloads_once(void **state)
{
	struct fixture *f = *state;
	pid_t pids[2];

	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			_exit(fetch(f, "6.12") == 0 ? 0 : 1);
	}
	for (int i = 0; i < 2; i++) {
		int status;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(count_calls(f, "Acquire::Retries"), 1);
	assert_int_equal(maker_count(f->kernels, ""), 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_fetch_series_takes_its_newest_kernel),
		T(test_fetch_default_and_meta_package_give_a_kernel),
		T(test_fetch_again_downloads_nothing),
		T(test_fetch_bad_names_run_nothing),
		T(test_fetch_unknown_package_suggests_update),
		T(test_fetch_failed_download_tells_apts_words_and_leaves_nothing),
		T(test_fetch_failed_depmod_leaves_nothing),
		T(test_fetch_package_without_kernel_is_refused),
		T(test_fetch_without_apt_is_a_skip),
		T(test_fetch_reports_progress),
		T(test_fetch_killed_is_cleaned_by_the_next),
		T(test_fetch_by_two_processes_downloads_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
