#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"
#include "image/initramfs.h"
#include "scratch.h"
#include "unpack_model.h"

struct fixture {
	struct scratch s;
	char *init;
	char *busybox;
	char *cache;
	char *program;
	const char *includes[4];
	char *command[4];
	struct initramfs_config config;
	struct error err;
};

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	scratch_init(&f->s);
	f->init = scratch_file(&f->s, "ktstr-init", "init\n", 0644);
	/* What the applets are is all that is asked of it. */
	f->busybox = scratch_file(&f->s, "busybox",
				  "#!/bin/sh\nprintf 'bin/sh\\nusr/bin/tool\\nlinuxrc\\n'\n", 0755);
	f->cache = scratch_path(&f->s, "cache");
	f->program = scratch_file(&f->s, "program", "first\n", 0755);
	scratch_settle(&f->s);
	f->command[0] = f->program;
	f->config = (struct initramfs_config){ .init_path = f->init,
					       .busybox_path = f->busybox,
					       .cache_dir = f->cache,
					       .includes = f->includes,
					       .command = f->command,
					       .kernel_release = "" };
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	scratch_fini(&f->s);
	freep(&f->init);
	freep(&f->busybox);
	freep(&f->cache);
	freep(&f->program);
	freep(&f);
	return 0;
}

static void build(struct fixture *f, struct initramfs *r)
{
	if (initramfs_build(&f->config, r, &f->err) < 0)
		fail_msg("%s", f->err.text);
}

static ino_t inode_of(const struct initramfs *r)
{
	struct stat st;

	assert_int_equal(fstat(r->base_fd, &st), 0);
	return st.st_ino;
}

/* Both streams as the kernel unpacks them. */
static void unpack(const struct initramfs *r, struct buf *ret)
{
	CLEANUP(buf_fini) struct buf all = { 0 };

	assert_int_equal(fd_pread_exact(r->base_fd, buf_reserve(&all, r->base_len), r->base_len, 0),
			 0);
	all.len = r->base_len;
	buf_append(&all, r->suffix, r->suffix_len);
	assert_true(unpack_model_decode(all.data, all.len, ret));
}

static void assert_content(const struct buf *archive, const char *name, const char *text, size_t n)
{
	struct unpack_entry e;

	assert_true(unpack_model_find(archive, name, &e));
	assert_int_equal(e.size, n);
	assert_memory_equal(e.data, text, n);
}

/* Files in the cache with this ending ("": all but the lock). */
static unsigned count_files(struct fixture *f, const char *ending)
{
	CLEANUP(freep) char *path = xasprintf("%s/initramfs", f->cache);
	DIR *dir = opendir(path);
	unsigned n = 0;

	if (!dir)
		return 0;
	for (const struct dirent *e; (e = readdir(dir));) {
		size_t len = strlen(e->d_name), k = strlen(ending);
		if (e->d_name[0] != '.' && strcmp(e->d_name, "lock") != 0 && len >= k &&
		    strcmp(e->d_name + len - k, ending) == 0)
			n++;
	}
	(void)closedir(dir);
	return n;
}

static void test_build_base_and_suffix_unpack_to_the_plan(void **state)
{
	static const char *const config[] = { "env=A=1", "kmsg=1", NULL };
	struct fixture *f = *state;
	CLEANUP(initramfs_fini) struct initramfs r = INITRAMFS_INIT;
	CLEANUP(buf_fini) struct buf archive = { 0 };
	CLEANUP(buf_fini) struct buf records = { 0 };
	struct unpack_entry e;
	char arg[] = "one two";

	f->command[1] = arg;
	f->config.config = config;
	build(f, &r);
	assert_int_equal(r.base_len % 4096, 0);
	unpack(&r, &archive);
	assert_content(&archive, "init", "init\n", 5);
	assert_content(&archive, f->program + 1, "first\n", 6);
	assert_true(unpack_model_find(&archive, "init", &e));
	assert_int_equal(e.mode, S_IFREG | 0755);
	assert_true(unpack_model_find(&archive, "tmp", &e));
	assert_int_equal(e.mode, S_IFDIR | 01777);
	assert_true(unpack_model_find(&archive, "mnt", &e));
	assert_true(unpack_model_find(&archive, "dev/console", &e));
	assert_true(S_ISCHR(e.mode));
	assert_content(&archive, "usr/bin/tool", "/bin/busybox", 12);
	assert_false(unpack_model_find(&archive, "linuxrc", &e));
	buf_printf(&records, "exec=%s%carg=%s%carg=one two%cenv=A=1%ckmsg=1%c", f->program, 0,
		   f->program, 0, 0, 0, 0);
	assert_content(&archive, "ktstr/config", (const char *)records.data, records.len);
	/* init, busybox, program, passwd, group, nsswitch.conf, hosts: a page each. */
	assert_int_equal(r.unpacked_len, 7 * 4096);
}

static void test_build_again_takes_the_same_file(void **state)
{
	struct fixture *f = *state;
	CLEANUP(initramfs_fini) struct initramfs a = INITRAMFS_INIT;
	CLEANUP(initramfs_fini) struct initramfs b = INITRAMFS_INIT;
	char arg[] = "other arguments";

	build(f, &a);
	f->command[1] = arg;
	build(f, &b);
	assert_int_equal(inode_of(&a), inode_of(&b));
	assert_int_equal(a.unpacked_len, b.unpacked_len);
	assert_int_not_equal(a.suffix_len, b.suffix_len);
	assert_int_equal(count_files(f, ".lz4"), 1);
	assert_int_equal(count_files(f, ".plan"), 1);
}

static void test_build_hit_reads_no_input_and_runs_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(initramfs_fini) struct initramfs a = INITRAMFS_INIT;
	CLEANUP(initramfs_fini) struct initramfs b = INITRAMFS_INIT;
	CLEANUP(freep)
	char *script = xasprintf("#!/bin/sh\necho ran >>'%s/ran'\necho bin/sh\n", f->s.path);
	scratch_make(&f->s, "busybox", script, 0755);
	scratch_settle(&f->s);
	build(f, &a);
	build(f, &b);
	assert_int_equal(inode_of(&a), inode_of(&b));
	initramfs_fini(&b);
	CLEANUP(freep) char *ran = scratch_path(&f->s, "ran");
	assert_int_equal(unlink(ran), 0);
	build(f, &b);
	assert_int_equal(access(ran, F_OK), -1);
}

static void test_build_changed_file_gives_new_base(void **state)
{
	struct fixture *f = *state;
	CLEANUP(initramfs_fini) struct initramfs a = INITRAMFS_INIT;
	CLEANUP(initramfs_fini) struct initramfs b = INITRAMFS_INIT;
	CLEANUP(buf_fini) struct buf archive = { 0 };

	build(f, &a);
	scratch_make(&f->s, "program", "second", 0755);
	build(f, &b);
	assert_int_not_equal(inode_of(&a), inode_of(&b));
	unpack(&b, &archive);
	assert_content(&archive, f->program + 1, "second", 6);
	/* Who has the old one keeps it. */
	buf_fini(&archive);
	unpack(&a, &archive);
	assert_content(&archive, f->program + 1, "first\n", 6);
}

static void test_build_new_file_in_included_folder_gives_new_base(void **state)
{
	struct fixture *f = *state;
	CLEANUP(initramfs_fini) struct initramfs a = INITRAMFS_INIT;
	CLEANUP(initramfs_fini) struct initramfs b = INITRAMFS_INIT;
	CLEANUP(buf_fini) struct buf archive = { 0 };
	scratch_make(&f->s, "d/sub/one", "1", 0644);
	CLEANUP(freep) char *spec = xasprintf("%s/d:/data", f->s.path);

	f->includes[0] = spec;
	f->config.n_includes = 1;
	build(f, &a);
	scratch_make(&f->s, "d/sub/two", "2", 0644);
	build(f, &b);
	unpack(&b, &archive);
	assert_content(&archive, "data/sub/two", "2", 1);
}

static void test_build_other_command_of_the_same_files_shares_base(void **state)
{
	struct fixture *f = *state;
	CLEANUP(initramfs_fini) struct initramfs a = INITRAMFS_INIT;
	CLEANUP(initramfs_fini) struct initramfs b = INITRAMFS_INIT;
	CLEANUP(buf_fini) struct buf archive = { 0 };
	char sh[] = "sh", tool[] = "tool";

	f->command[0] = sh;
	build(f, &a);
	f->command[0] = tool;
	build(f, &b);
	assert_int_equal(inode_of(&a), inode_of(&b));
	unpack(&b, &archive);
	assert_content(&archive, "ktstr/config", "exec=/usr/bin/tool\0arg=tool", 28);
}

static void test_build_damaged_cache_files_are_replaced(void **state)
{
	struct fixture *f = *state;
	CLEANUP(initramfs_fini) struct initramfs a = INITRAMFS_INIT;
	CLEANUP(buf_fini) struct buf archive = { 0 };

	build(f, &a);
	initramfs_fini(&a);
	assert_int_equal(
	    scratch_run(&f->s, "cd cache/initramfs && chmod +w * && "
			       "for i in *.plan; do head -c 60 $i >x && cat x >$i; done; rm x; "
			       "for i in *.lz4; do truncate -s 100 $i; done; touch 0123.junk"),
	    0);
	build(f, &a);
	unpack(&a, &archive);
	assert_content(&archive, "init", "init\n", 5);
}

static void test_build_sweeps_debris_and_old_entries(void **state)
{
	struct fixture *f = *state;
	CLEANUP(initramfs_fini) struct initramfs a = INITRAMFS_INIT;

	assert_int_equal(
	    scratch_run(&f->s,
			"mkdir -p cache/initramfs && cd cache/initramfs && "
			"for i in $(seq 100 149); do n=00000000000000000000000000000$i; "
			"echo x >$n.lz4; touch -d @1000000$i $n.lz4; echo x >$n.lz4.AbCdEf; done; "
			"echo mine >other"),
	    0);
	build(f, &a);
	assert_int_equal(count_files(f, ".AbCdEf"), 0);
	assert_int_equal(count_files(f, ".lz4"), 32);
	assert_int_equal(count_files(f, "other"), 1);
}

static void test_build_missing_inputs_are_errors_and_leave_nothing(void **state)
{
	struct fixture *f = *state;
	struct initramfs r = INITRAMFS_INIT;
	char missing[] = "/nowhere/program";

	f->command[0] = missing;
	assert_int_equal(initramfs_build(&f->config, &r, &f->err), -ENOENT);
	assert_int_equal(f->err.class, ERROR_USAGE);
	f->command[0] = f->program;
	f->includes[0] = "/nowhere/include";
	f->config.n_includes = 1;
	assert_int_equal(initramfs_build(&f->config, &r, &f->err), -ENOENT);
	assert_int_equal(f->err.class, ERROR_USAGE);
	f->config.n_includes = 0;
	f->config.init_path = "/nowhere/init";
	assert_int_equal(initramfs_build(&f->config, &r, &f->err), -ENOENT);
	assert_int_equal(f->err.class, ERROR_INFRA);
	assert_non_null(strstr(f->err.text, "/nowhere/init"));
	f->config.init_path = f->init;
	f->config.busybox_path = f->init;
	assert_true(initramfs_build(&f->config, &r, &f->err) < 0);
	assert_non_null(strstr(f->err.text, f->init));
	f->config.busybox_path = f->busybox;
	f->command[0] = NULL;
	assert_int_equal(initramfs_build(&f->config, &r, &f->err), -EINVAL);
	assert_int_equal(count_files(f, ""), 0);
	assert_int_equal(r.base_fd, -1);
	assert_null(r.suffix);
}

static void test_build_more_than_memory_is_refused_before_it_is_packed(void **state)
{
	struct fixture *f = *state;
	struct initramfs r = INITRAMFS_INIT;
	CLEANUP(freep) char *big = scratch_file(&f->s, "big", "", 0644);

	assert_int_equal(truncate(big, 3 * (off_t)GIB), 0);
	f->includes[0] = big;
	f->config.n_includes = 1;
	f->config.unpacked_max = 512 * MIB;
	assert_int_equal(initramfs_build(&f->config, &r, &f->err), -EFBIG);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_non_null(strstr(f->err.text, "3073 MiB"));
	assert_non_null(strstr(f->err.text, "512 MiB"));
	assert_int_equal(count_files(f, ""), 0);
	assert_int_equal(truncate(big, (off_t)MIB), 0);
	scratch_settle(&f->s);
	build(f, &r);
	initramfs_fini(&r);
	/* A base of the cache is no exception. */
	f->config.unpacked_max = MIB;
	assert_int_equal(initramfs_build(&f->config, &r, &f->err), -EFBIG);
	assert_int_equal(r.base_fd, -1);
}

static void test_build_kernel_without_module_tree_is_error_naming_it(void **state)
{
	static const char *const modules[] = { "virtio_mmio", NULL };
	struct fixture *f = *state;
	struct initramfs r = INITRAMFS_INIT;

	f->config.need_modules = true;
	f->config.modules = modules;
	f->config.kernel_release = "9.9-nowhere";
	assert_int_equal(initramfs_build(&f->config, &r, &f->err), -ENOENT);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_non_null(strstr(f->err.text, "9.9-nowhere"));
	assert_non_null(strstr(f->err.text, "--modules"));
	f->config.need_modules = false;
	build(f, &r);
	initramfs_fini(&r);
	assert_int_equal(r.base_fd, -1);
}

/* In a child: its limits and its user are its own. @fn returns 0 when all is well. */
static void in_child(int (*fn)(struct fixture *f), struct fixture *f)
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int build_on_full_disk(struct fixture *f)
{
	const struct rlimit limit = { 4096, 4096 };
	struct initramfs r = INITRAMFS_INIT;

	(void)signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		return 1;
	if (initramfs_build(&f->config, &r, &f->err) != -EFBIG)
		return 2;
	return f->err.class == ERROR_INFRA ? 0 : 3;
}

static void test_build_full_disk_is_error_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *big = scratch_path(&f->s, "big");

	assert_int_equal(scratch_run(&f->s, "head -c 20000000 /dev/urandom >big"), 0);
	f->includes[0] = big;
	f->config.n_includes = 1;
	in_child(build_on_full_disk, f);
	assert_int_equal(count_files(f, ""), 0);
}

static int build_unreadable(struct fixture *f)
{
	struct initramfs r = INITRAMFS_INIT;

	if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
		return 1;
	if (initramfs_build(&f->config, &r, &f->err) != -EACCES)
		return 2;
	if (!strstr(f->err.text, "secret"))
		return 3;
	return f->err.class == ERROR_USAGE ? 0 : 4;
}

static void test_build_unreadable_file_is_error_naming_it_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *secret = scratch_file(&f->s, "d/secret", "x", 0000);
	CLEANUP(freep) char *folder = scratch_path(&f->s, "d");

	assert_int_equal(scratch_run(&f->s, "chmod 777 . && mkdir -m 777 cache"), 0);
	f->includes[0] = folder;
	f->config.n_includes = 1;
	in_child(build_unreadable, f);
	f->includes[0] = secret;
	in_child(build_unreadable, f);
	assert_int_equal(count_files(f, ""), 0);
}

static void test_build_by_many_processes_at_once_makes_one_base(void **state)
{
	enum { N = 6 };
	struct fixture *f = *state;
	CLEANUP(initramfs_fini) struct initramfs r = INITRAMFS_INIT;
	CLEANUP(freep) char *big = scratch_path(&f->s, "big");
	pid_t pids[N];

	assert_int_equal(scratch_run(&f->s, "head -c 3000000 /dev/urandom >big"), 0);
	f->includes[0] = big;
	f->config.n_includes = 1;
	scratch_settle(&f->s);
	for (int i = 0; i < N; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			_exit(initramfs_build(&f->config, &r, &f->err) < 0 ? 1
			      : r.base_len < 3000000                       ? 2
									   : 0);
	}
	for (int i = 0; i < N; i++) {
		int status = -1;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(count_files(f, ".lz4"), 1);
	assert_int_equal(count_files(f, ""), 2);
	build(f, &r);
	CLEANUP(buf_fini) struct buf archive = { 0 };
	unpack(&r, &archive);
	struct unpack_entry e;
	assert_true(unpack_model_find(&archive, big + 1, &e));
	assert_int_equal(e.size, 3000000);
}

/* In place and with the same size, as fast as it goes: many of the changes have the same time
 * stamps. */
static void test_build_right_after_a_change_is_never_stale(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 60; i++) {
		CLEANUP(initramfs_fini) struct initramfs r = INITRAMFS_INIT;
		CLEANUP(buf_fini) struct buf archive = { 0 };
		char text[8];
		(void)snprintf(text, sizeof(text), "%06d", i);
		int fd = open(f->program, O_WRONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(fd_write_all(fd, text, 6), 0);
		fd_closep(&fd);
		build(f, &r);
		unpack(&r, &archive);
		assert_content(&archive, f->program + 1, text, 6);
	}
	assert_int_equal(count_files(f, ".lz4"), count_files(f, ""));
}

static void test_build_leaves_no_descriptor_open(void **state)
{
	struct fixture *f = *state;
	struct initramfs r = INITRAMFS_INIT;
	int before = dup(0);

	assert_int_equal(close(before), 0);
	build(f, &r);
	initramfs_fini(&r);
	initramfs_fini(&r);
	build(f, &r);
	initramfs_fini(&r);
	f->config.n_includes = 1;
	f->includes[0] = "/nowhere";
	assert_true(initramfs_build(&f->config, &r, &f->err) < 0);
	int after = dup(0);
	assert_int_equal(close(after), 0);
	assert_int_equal(before, after);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_build_base_and_suffix_unpack_to_the_plan),
		TEST(test_build_again_takes_the_same_file),
		TEST(test_build_hit_reads_no_input_and_runs_nothing),
		TEST(test_build_changed_file_gives_new_base),
		TEST(test_build_new_file_in_included_folder_gives_new_base),
		TEST(test_build_other_command_of_the_same_files_shares_base),
		TEST(test_build_damaged_cache_files_are_replaced),
		TEST(test_build_sweeps_debris_and_old_entries),
		TEST(test_build_missing_inputs_are_errors_and_leave_nothing),
		TEST(test_build_more_than_memory_is_refused_before_it_is_packed),
		TEST(test_build_kernel_without_module_tree_is_error_naming_it),
		TEST(test_build_full_disk_is_error_and_leaves_nothing),
		TEST(test_build_unreadable_file_is_error_naming_it_and_leaves_nothing),
		TEST(test_build_by_many_processes_at_once_makes_one_base),
		TEST(test_build_right_after_a_change_is_never_stale),
		TEST(test_build_leaves_no_descriptor_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
