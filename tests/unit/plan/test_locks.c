/* The lock folder, its files, flocks on them, and who is seen to hold them. Real processes, real files. */
#include "plan/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"
#include "hosts.h"
#include "plan/lock_scan.h"
#include "scratch_dir.h"

struct fixture {
	char *path;
	struct lock_dir dir;
};

static void setup(struct fixture *f)
{
	struct error err;

	f->path = scratch_dir_new();
	if (lock_dir_open(&f->dir, f->path, true, &err) < 0)
		fail_msg("%s", err.text);
}

static void teardown(struct fixture *f)
{
	lock_dir_close(&f->dir);
	scratch_dir_free(f->path);
}

static int take(struct locks *l, struct plan_lock *locks, uint32_t n, struct plan_lock *ret_busy)
{
	struct plan plan = { .locks = locks, .n_locks = n };
	struct error err;

	return locks_take(l, &plan, ret_busy, &err);
}

/* The folder */

static void test_folder_is_made_for_everybody_whatever_the_umask(void **state UNUSED)
{
	char *base = scratch_dir_new();
	CLEANUP(freep) char *path = xasprintf("%s/locks", base);
	struct lock_dir dir;
	struct error err;
	struct stat st;

	assert_int_equal(lock_dir_open(&dir, path, false, &err), -ENOENT);
	mode_t old = umask(077);
	int res = lock_dir_open(&dir, path, true, &err);
	int fd = res < 0 ? -1 : lock_dir_open_file(dir.fd, "ktstr-llc-0.lock", true);
	(void)umask(old);
	assert_int_equal(res, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 01777);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	(void)close(fd);
	lock_dir_close(&dir);
	scratch_dir_free(base);
}

static void test_links_and_what_is_no_folder_are_refused(void **state UNUSED)
{
	char *base = scratch_dir_new();
	CLEANUP(freep) char *link = xasprintf("%s/link", base);
	CLEANUP(freep) char *file = xasprintf("%s/file", base);
	struct lock_dir dir;
	struct error err;

	assert_int_equal(symlink(base, link), 0);
	assert_true(lock_dir_open(&dir, link, true, &err) < 0);
	assert_non_null(strstr(err.text, link));
	assert_int_equal(fd_close(open(file, O_CREAT | O_WRONLY, 0666)), -1);
	assert_true(lock_dir_open(&dir, file, true, &err) < 0);
	assert_true(lock_dir_open(&dir, "/proc/self/ktstr", true, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	scratch_dir_free(base);
}

/* One that cannot hold a lock is known when it is opened, not when the first lock is taken. */
static void test_folder_in_which_no_file_can_be_made_is_refused(void **state UNUSED)
{
	struct lock_dir dir;
	struct error err;

	assert_true(lock_dir_open(&dir, "/proc", true, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "'/proc': cannot use 'ktstr-select.lock'"));
	assert_int_equal(dir.fd, -1);
	assert_int_equal(lock_dir_open(&dir, "/proc", false, &err), 0); /* there are none to see */
	lock_dir_close(&dir);
}

static void test_folder_in_which_anybody_may_remove_locks_is_refused(void **state UNUSED)
{
	char *path = scratch_dir_new();
	struct lock_dir dir;
	struct error err;

	assert_int_equal(chmod(path, 0777), 0);
	assert_true(lock_dir_open(&dir, path, true, &err) < 0);
	assert_non_null(strstr(err.text, "chmod +t"));
	assert_int_equal(chmod(path, 01777), 0);
	assert_int_equal(lock_dir_open(&dir, path, true, &err), 0);
	lock_dir_close(&dir);
	scratch_dir_free(path);
}

static void test_files_that_are_not_what_they_should_be_are_refused(void **state UNUSED)
{
	struct fixture f;

	setup(&f);
	assert_int_equal(symlinkat("/etc/passwd", f.dir.fd, "ktstr-llc-0.lock"), 0);
	assert_int_equal(lock_dir_open_file(f.dir.fd, "ktstr-llc-0.lock", true), -ELOOP);
	assert_int_equal(mkdirat(f.dir.fd, "ktstr-llc-1.lock", 0700), 0);
	assert_true(lock_dir_open_file(f.dir.fd, "ktstr-llc-1.lock", true) < 0);
	assert_int_equal(mkfifoat(f.dir.fd, "ktstr-llc-2.lock", 0666), 0);
	assert_int_equal(lock_dir_open_file(f.dir.fd, "ktstr-llc-2.lock", true), -EINVAL);
	int fd = lock_dir_open_file(f.dir.fd, "ktstr-llc-3.lock", true);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(linkat(f.dir.fd, "ktstr-llc-3.lock", f.dir.fd, "ktstr-llc-4.lock", 0), 0);
	assert_int_equal(lock_dir_open_file(f.dir.fd, "ktstr-llc-4.lock", true), -EINVAL);
	teardown(&f);
}

static void test_names_of_locks_and_nothing_else_are_parsed(void **state UNUSED)
{
	static const char *const bad[] = { "ktstr-llc-.lock",
					   "ktstr-llc-01.lock",
					   "ktstr-llc-1.lock.9.0",
					   "ktstr-gpu-1.lock",
					   "ktstr-cpu-8192.lock",
					   "ktstr-cpu--1.lock",
					   "ktstr-select.lock",
					   "wait",
					   "." };
	char name[LOCK_NAME_MAX];
	enum plan_lock_kind kind;
	uint32_t id;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(lock_dir_parse_name(bad[i], &kind, &id));
	lock_dir_name(PLAN_LOCK_CPU, 8191, name);
	assert_string_equal(name, "ktstr-cpu-8191.lock");
	assert_true(lock_dir_parse_name(name, &kind, &id));
	assert_int_equal(kind, PLAN_LOCK_CPU);
	assert_int_equal(id, 8191);
}

/* Locks */

static void test_exclusive_keeps_all_away_and_shared_only_exclusive_ones(void **state UNUSED)
{
	struct plan_lock ex = { PLAN_LOCK_LLC, true, 0 };
	struct plan_lock sh = { PLAN_LOCK_LLC, false, 0 };
	struct plan_lock busy;
	struct fixture f;

	setup(&f);
	struct locks a = { .dir = &f.dir };
	struct locks b = { .dir = &f.dir };
	assert_int_equal(take(&a, &ex, 1, &busy), 1);
	assert_int_equal(take(&b, &ex, 1, &busy), 0);
	assert_int_equal(take(&b, &sh, 1, &busy), 0);
	locks_fini(&a);
	assert_int_equal(take(&b, &sh, 1, &busy), 1);
	assert_int_equal(take(&a, &sh, 1, &busy), 1);
	struct locks c = { .dir = &f.dir };
	assert_int_equal(take(&c, &ex, 1, &busy), 0);
	locks_fini(&a);
	locks_fini(&b);
	locks_fini(&c);
	teardown(&f);
}

static void test_failed_attempt_holds_nothing_and_names_the_lock(void **state UNUSED)
{
	struct plan_lock wanted[] = { { PLAN_LOCK_LLC, true, 0 },
				      { PLAN_LOCK_LLC, true, 1 },
				      { PLAN_LOCK_CPU, true, 9 } };
	struct plan_lock busy = { PLAN_LOCK_LLC, false, 99 };
	struct fixture f;
	int fds[4];

	setup(&f);
	struct locks a = { .dir = &f.dir };
	struct locks b = { .dir = &f.dir };
	assert_int_equal(take(&a, &wanted[2], 1, &busy), 1);
	assert_int_equal(take(&b, wanted, 3, &busy), 0);
	assert_int_equal(busy.kind, PLAN_LOCK_CPU);
	assert_int_equal(busy.id, 9);
	assert_int_equal(locks_held_fds(&b, fds), 0);
	struct locks c = { .dir = &f.dir };
	assert_int_equal(take(&c, wanted, 2, &busy), 1);
	locks_fini(&a);
	locks_fini(&b);
	locks_fini(&c);
	teardown(&f);
}

static void test_lock_of_a_removed_file_does_not_count(void **state UNUSED)
{
	struct plan_lock ex = { PLAN_LOCK_LLC, true, 3 };
	struct plan_lock busy;
	struct fixture f;

	setup(&f);
	struct locks a = { .dir = &f.dir };
	struct locks b = { .dir = &f.dir };
	struct locks c = { .dir = &f.dir };
	assert_int_equal(take(&a, &ex, 1, &busy), 1);
	assert_int_equal(take(&b, &ex, 1, &busy), 0); /* b has the file open now */
	locks_fini(&a);
	assert_int_equal(unlinkat(f.dir.fd, "ktstr-llc-3.lock", 0), 0);
	assert_int_equal(take(&c, &ex, 1, &busy), 1); /* a new file */
	assert_int_equal(take(&b, &ex, 1, &busy), 0); /* not fooled by the old one */
	locks_fini(&b);
	locks_fini(&c);
	teardown(&f);
}

static void test_locks_end_with_their_last_heir_not_with_their_taker(void **state UNUSED)
{
	struct plan_lock ex = { PLAN_LOCK_CPU, true, 1 };
	struct plan_lock busy;
	struct fixture f;
	int go[2];
	int heir_gone[2];

	setup(&f);
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(heir_gone), 0);
	pid_t taker = fork();
	assert_true(taker >= 0);
	if (taker == 0) {
		struct locks l = { .dir = &f.dir };
		char byte;
		if (take(&l, &ex, 1, &busy) != 1)
			_exit(1);
		if (fork() == 0) { /* as a VM process does */
			(void)close(go[1]);
			(void)!read(go[0], &byte, 1);
			_exit(0);
		}
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(taker, &status, 0), taker);
	assert_int_equal(status, 0);
	struct locks l = { .dir = &f.dir };
	assert_int_equal(take(&l, &ex, 1, &busy), 0);
	(void)close(heir_gone[1]);
	(void)close(go[1]);
	char byte;
	assert_int_equal(read(heir_gone[0], &byte, 1), 0); /* its last descriptor is closed */
	int res = 0;
	for (int i = 0; i < 1000 && res == 0; i++) { /* and its locks soon */
		res = take(&l, &ex, 1, &busy);
		(void)usleep(1000);
	}
	assert_int_equal(res, 1);
	locks_fini(&l);
	(void)close(go[0]);
	(void)close(heir_gone[0]);
	teardown(&f);
}

/* Who is stopped in between would have a CPU in an LLC that is another's alone by then. */
static void test_cpus_are_given_up_before_llcs(void **state UNUSED)
{
	struct plan_lock wanted[] = { { PLAN_LOCK_LLC, false, 0 }, { PLAN_LOCK_CPU, true, 1 } };
	char data[4096] __attribute__((aligned(8)));
	struct plan_lock busy;
	struct fixture f;

	setup(&f);
	struct locks l = { .dir = &f.dir };
	assert_int_equal(take(&l, wanted, 2, &busy), 1);
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	assert_true(inotify_add_watch(fd, f.path, IN_CLOSE_WRITE) >= 0);
	locks_fini(&l);
	ssize_t n = read(fd, data, sizeof(data));
	assert_true(n > 0);
	const struct inotify_event *first = (const void *)data;
	const struct inotify_event *second = (const void *)(data + sizeof(*first) + first->len);
	assert_string_equal(first->name, "ktstr-cpu-1.lock");
	assert_string_equal(second->name, "ktstr-llc-0.lock");
	(void)close(fd);
	teardown(&f);
}

/* Holders */

static void test_scan_sees_who_holds_what(void **state UNUSED)
{
	static const struct plan_lock locks[] = { { PLAN_LOCK_LLC, false, 1 },
						  { PLAN_LOCK_CPU, true, 2 },
						  { PLAN_LOCK_CPU, false, 3 } };
	CLEANUP(plan_holders_fini) struct plan_holders held = { 0 };
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct host *h = host_regular(1, 2, 2, 1, false);
	struct fixture f;
	struct error err;

	setup(&f);
	struct lock_scan scan = { .dir = &f.dir };
	assert_int_equal(lock_scan_read(&scan, &err), 0);
	assert_int_equal(scan.n_holders, 0);
	pid_t a = holder_start(f.path, locks, 3);
	pid_t b = holder_start(f.path, locks, 1);
	assert_int_equal(lock_scan_read(&scan, &err), 0);
	assert_int_equal(scan.n_holders, 4);
	assert_int_equal(scan.holders[0].lock.kind, PLAN_LOCK_LLC);
	assert_int_equal(scan.holders[2].pid, a);
	assert_true(scan.holders[2].lock.exclusive);
	plan_holders_init(&held, h);
	lock_scan_count(&scan, &held);
	assert_int_equal(held.llcs[1].shared, 2);
	assert_int_equal(held.cpus[2].exclusive, 1);
	assert_int_equal(held.cpus[3].shared, 1);
	lock_holder_describe(a, &text);
	assert_non_null(strstr(buf_str(&text), "test_plan_locks"));
	holder_kill(a);
	holder_kill(b);
	assert_int_equal(lock_scan_read(&scan, &err), 0);
	assert_int_equal(scan.n_holders, 0);
	text.len = 0;
	lock_holder_describe(a, &text);
	assert_non_null(strstr(buf_str(&text), "gone"));
	lock_scan_fini(&scan);
	(void)host_free(h);
	teardown(&f);
}

static void test_scan_follows_a_file_that_was_made_anew(void **state UNUSED)
{
	static const struct plan_lock lock = { PLAN_LOCK_LLC, true, 0 };
	struct fixture f;
	struct error err;

	setup(&f);
	struct lock_scan scan = { .dir = &f.dir };
	for (int i = 0; i < 3; i++) {
		pid_t pid = holder_start(f.path, &lock, 1);
		assert_int_equal(lock_scan_read(&scan, &err), 0);
		assert_int_equal(scan.n_holders, 1);
		holder_kill(pid);
		assert_int_equal(unlinkat(f.dir.fd, "ktstr-llc-0.lock", 0), 0);
		assert_int_equal(lock_scan_read(&scan, &err), 0);
		assert_int_equal(scan.n_holders, 0);
	}
	lock_scan_fini(&scan);
	teardown(&f);
}

static void test_scan_takes_no_lock_and_wakes_nobody(void **state UNUSED)
{
	static const struct plan_lock lock = { PLAN_LOCK_LLC, false, 0 };
	struct plan_lock ex = { PLAN_LOCK_LLC, true, 0 };
	struct plan_lock busy;
	struct fixture f;
	struct error err;

	setup(&f);
	pid_t pid = holder_start(f.path, &lock, 1);
	struct lock_scan scan = { .dir = &f.dir };
	assert_int_equal(lock_scan_read(&scan, &err), 0);
	holder_kill(pid);
	struct locks l = { .dir = &f.dir };
	assert_int_equal(take(&l, &ex, 1, &busy), 1);
	locks_fini(&l);
	lock_scan_fini(&scan);
	teardown(&f);
}

/* Whether a holder in @path is seen; an exit status. */
static int scan_there(const char *path)
{
	static const struct plan_lock lock = { PLAN_LOCK_LLC, true, 5 };
	struct lock_dir dir;
	struct error err;

	if (lock_dir_open(&dir, path, true, &err) < 0)
		return 2;
	pid_t pid = holder_start(path, &lock, 1);
	struct lock_scan scan = { .dir = &dir };
	int res = lock_scan_read(&scan, &err) < 0 ? 3
		  : scan.n_holders != 1           ? 4
		  : scan.holders[0].pid != pid    ? 5
						  : 0;
	holder_kill(pid);
	lock_dir_close(&dir);
	return res;
}

/* A mount by a shell in a mount namespace of its own, and what it takes; 77: not to be had here. */
static int scan_on_mount(const char *base, const char *commands)
{
	CLEANUP(freep) char *line = xasprintf("cd %s && (%s) > log 2>&1", base, commands);
	CLEANUP(freep) char *path = xasprintf("%s/mnt", base);

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 77;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe,cert-env33-c): one thread, fixed commands */
	if (system(line) != 0)
		return 77;
	int res = scan_there(path);
	(void)umount2(path, MNT_DETACH);
	return res;
}

static void check_scan_on(const char *commands)
{
	char *base = scratch_dir_new();
	int status;

	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(scan_on_mount(base, commands));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	scratch_dir_free(base);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("this file system is not to be had here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_scan_is_right_on_overlayfs(void **state UNUSED)
{
	check_scan_on(
	    "mkdir low fs mnt && mount -t tmpfs none fs && mkdir fs/up fs/work && "
	    "mount -t overlay -o xino=off,lowerdir=low,upperdir=fs/up,workdir=fs/work overlay mnt");
}

/* stat(2) gives a subvolume's device, /proc/locks the file system's. */
static void test_scan_is_right_on_btrfs(void **state UNUSED)
{
	check_scan_on("truncate -s 128M image && mkfs.btrfs -q image && mkdir mnt && "
		      "mount -o loop image mnt");
}

/* Another user's folder as the default cannot be tried without being root; the check is the same for any path. */
static void test_foreign_default_folder_is_refused_and_taken_over_by_root(void **state UNUSED)
{
	struct lock_dir dir;
	struct error err;
	struct stat st;
	int status;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/dev/shm", "tmpfs", 0, "mode=1777") < 0) {
		print_message("needs root and a mount namespace\n");
		skip();
	}
	assert_int_equal(mkdir(LOCK_DIR_DEFAULT, 0777), 0);
	assert_int_equal(chmod(LOCK_DIR_DEFAULT, 01777), 0);
	assert_int_equal(chown(LOCK_DIR_DEFAULT, 12345, 12345), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int res = setuid(54321) < 0 ? 77 : lock_dir_open(&dir, NULL, true, &err);
		_exit(res == -EPERM && strstr(err.text, "belongs to user 12345") ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(lock_dir_open(&dir, "", true, &err), 0);
	assert_int_equal(fstat(dir.fd, &st), 0);
	assert_int_equal(st.st_uid, 0);
	lock_dir_close(&dir);
	(void)umount("/dev/shm");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folder_is_made_for_everybody_whatever_the_umask),
		cmocka_unit_test(test_links_and_what_is_no_folder_are_refused),
		cmocka_unit_test(test_folder_in_which_no_file_can_be_made_is_refused),
		cmocka_unit_test(test_folder_in_which_anybody_may_remove_locks_is_refused),
		cmocka_unit_test(test_files_that_are_not_what_they_should_be_are_refused),
		cmocka_unit_test(test_names_of_locks_and_nothing_else_are_parsed),
		cmocka_unit_test(test_exclusive_keeps_all_away_and_shared_only_exclusive_ones),
		cmocka_unit_test(test_failed_attempt_holds_nothing_and_names_the_lock),
		cmocka_unit_test(test_lock_of_a_removed_file_does_not_count),
		cmocka_unit_test(test_locks_end_with_their_last_heir_not_with_their_taker),
		cmocka_unit_test(test_cpus_are_given_up_before_llcs),
		cmocka_unit_test(test_scan_sees_who_holds_what),
		cmocka_unit_test(test_scan_follows_a_file_that_was_made_anew),
		cmocka_unit_test(test_scan_takes_no_lock_and_wakes_nobody),
		cmocka_unit_test(test_scan_is_right_on_overlayfs),
		cmocka_unit_test(test_scan_is_right_on_btrfs),
		cmocka_unit_test(test_foreign_default_folder_is_refused_and_taken_over_by_root),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
