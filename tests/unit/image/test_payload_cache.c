/* The cache of decompressed kernels, through kernel_image_open, which is all that the rest of the
 * program sees. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "image/kernel_image.h"
#include "image/payload_cache.h"
#include "kernel_maker.h"

struct fixture {
	char *dir;
	char *kernel;
	char *cache;
	char *vmlinux;
	char *links;
	struct buf elf;
};

static void write_kernel(struct fixture *f, uint8_t variant)
{
	CLEANUP(buf_fini) struct buf payload = { 0 };
	CLEANUP(buf_fini) struct buf bz = { 0 };

	f->elf.data[f->elf.len - 1] = variant;
	maker_payload(COMPRESSION_ZSTD, &f->elf, &payload);
	maker_bzimage(&payload, &bz);
	maker_write(f->kernel, bz.data, bz.len);
}

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->dir = maker_dir();
	f->kernel = xasprintf("%s/kernel", f->dir);
	f->cache = xasprintf("%s/a/b/cache", f->dir);
	f->vmlinux = xasprintf("%s/vmlinux", f->cache);
	f->links = xasprintf("%s/by-file", f->vmlinux);
	maker_elf(&f->elf);
	write_kernel(f, 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	maker_dir_remove(f->dir);
	buf_fini(&f->elf);
	free(f->kernel);
	free(f->cache);
	free(f->vmlinux);
	free(f->links);
	free(f);
	return 0;
}

/* Opens the kernel; @ret tells which file it is in. The content must be the ELF file of @variant.
 */
static void open_kernel(const struct fixture *f, uint8_t variant, struct stat *ret)
{
	const struct kernel_image_config config = { .path = f->kernel, .cache_dir = f->cache };
	struct kernel_image image = KERNEL_IMAGE_INIT;
	struct error err = { 0 };
	uint8_t last;

	if (kernel_image_open(&config, &image, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(image.kind, KERNEL_ELF);
	assert_int_equal(fstat(image.fd, ret), 0);
	assert_int_equal(ret->st_size, f->elf.len);
	assert_int_equal(fd_pread_exact(image.fd, &last, 1, f->elf.len - 1), 0);
	assert_int_equal(last, variant);
	kernel_image_fini(&image);
}

/* The path of the one entry; caller frees. */
static char *entry_path(const struct fixture *f)
{
	DIR *d = opendir(f->vmlinux);
	char *ret = NULL;

	assert_non_null(d);
	for (struct dirent *de; (de = readdir(d));)
		if (strlen(de->d_name) == 36)
			ret = xasprintf("%s/%s", f->vmlinux, de->d_name);
	(void)closedir(d);
	assert_non_null(ret);
	return ret;
}

static void test_open_again_uses_the_entry(void **state)
{
	struct fixture *f = *state;
	struct stat first;
	struct stat second;

	open_kernel(f, 0, &first);
	open_kernel(f, 0, &second);
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(first.st_mtim.tv_nsec, second.st_mtim.tv_nsec);
	assert_int_equal(first.st_mode & 0777, 0444);
	assert_int_equal(maker_count(f->vmlinux, ".elf"), 1);
}

static void test_open_fresh_file_makes_no_link(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	write_kernel(f, 0);
	open_kernel(f, 0, &st);
	assert_int_equal(maker_count(f->links, ""), 0);
}

/* Points the one link at an entry of another name, which only somebody who goes by the link can
 * find. */
static void retarget_link(const struct fixture *f)
{
	CLEANUP(freep) char *entry = entry_path(f);
	CLEANUP(freep)
	char *other = xasprintf("%s/0123456789abcdef0123456789abcdef.elf", f->vmlinux);
	CLEANUP(freep) char *link = NULL;
	DIR *d = opendir(f->links);

	assert_non_null(d);
	for (struct dirent *de; (de = readdir(d));)
		if (de->d_name[0] != '.')
			link = xasprintf("%s/%s", f->links, de->d_name);
	(void)closedir(d);
	assert_non_null(link);
	assert_int_equal(rename(entry, other), 0);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("../0123456789abcdef0123456789abcdef.elf", link), 0);
}

static void test_open_settled_file_goes_by_its_link(void **state)
{
	struct fixture *f = *state;
	struct stat first;
	struct stat second;

	maker_settle();
	open_kernel(f, 0, &first);
	assert_int_equal(maker_count(f->links, ""), 1);
	retarget_link(f);
	open_kernel(f, 0, &second);
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(maker_count(f->vmlinux, ".elf"), 1);
}

static void test_open_dangling_link_is_repaired(void **state)
{
	struct fixture *f = *state;
	struct stat first;
	struct stat second;

	maker_settle();
	open_kernel(f, 0, &first);
	CLEANUP(freep) char *entry = entry_path(f);
	assert_int_equal(unlink(entry), 0);
	open_kernel(f, 0, &second);
	assert_int_equal(maker_count(f->links, ""), 1);
	retarget_link(f);
	open_kernel(f, 0, &first);
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(maker_count(f->vmlinux, ".elf"), 1);
}

static void test_open_changed_file_is_not_taken_for_the_old(void **state)
{
	struct fixture *f = *state;
	struct stat before;
	struct stat st;
	struct timespec times[2];

	maker_settle();
	assert_int_equal(stat(f->kernel, &before), 0);
	open_kernel(f, 0, &st);
	write_kernel(f, 7);
	times[0] = before.st_atim;
	times[1] = before.st_mtim;
	/* The same inode and size, the mtime forged back: only the ctime tells. */
	assert_int_equal(utimensat(AT_FDCWD, f->kernel, times, 0), 0);
	open_kernel(f, 7, &st);
	maker_settle();
	open_kernel(f, 7, &st);
	assert_int_equal(maker_count(f->links, ""), 2);
	assert_int_equal(maker_count(f->vmlinux, ".elf"), 2);
}

static void test_open_copy_of_a_kernel_shares_the_entry(void **state)
{
	struct fixture *f = *state;
	struct stat first;
	struct stat second;

	open_kernel(f, 0, &first);
	assert_int_equal(unlink(f->kernel), 0);
	write_kernel(f, 0);
	open_kernel(f, 0, &second);
	assert_int_equal(first.st_ino, second.st_ino);
}

static void test_open_short_entry_is_made_again(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	maker_settle();
	open_kernel(f, 0, &st);
	CLEANUP(freep) char *entry = entry_path(f);
	assert_int_equal(chmod(entry, 0644), 0);
	assert_int_equal(truncate(entry, 4096), 0);
	open_kernel(f, 0, &st);
}

static void test_open_removes_what_a_killed_process_left(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	open_kernel(f, 0, &st);
	CLEANUP(freep)
	char *temp = xasprintf("%s/0123456789abcdef0123456789abcdef.elf.Ab12Cd", f->vmlinux);
	maker_write(temp, "half", 4);
	write_kernel(f, 1);
	open_kernel(f, 1, &st);
	assert_int_not_equal(access(temp, F_OK), 0);
	assert_int_equal(maker_count(f->vmlinux, ".elf"), 2);
}

static void test_open_many_kernels_keeps_a_bounded_number(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	for (uint8_t i = 1; i <= 40; i++) {
		write_kernel(f, i);
		open_kernel(f, i, &st);
	}
	assert_in_range(maker_count(f->vmlinux, ".elf"), 8, 32);
}

static int open_quietly(const struct fixture *f, struct error *err)
{
	const struct kernel_image_config config = { .path = f->kernel, .cache_dir = f->cache };
	struct kernel_image image = KERNEL_IMAGE_INIT;

	int r = kernel_image_open(&config, &image, err);
	kernel_image_fini(&image);
	return r;
}

static void test_open_by_several_processes_makes_one_entry(void **state)
{
	enum { PROCESSES = 4 };
	struct fixture *f = *state;
	pid_t pids[PROCESSES];
	int go[2];

	assert_int_equal(pipe(go), 0);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			char c;
			struct error err;
			(void)close(go[1]);
			(void)!read(go[0], &c, 1); /* all start when the parent closes its end */
			_exit(open_quietly(f, &err) < 0);
		}
	}
	(void)close(go[0]);
	(void)close(go[1]);
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(maker_count(f->vmlinux, ".elf"), 1);
	assert_int_equal(maker_count(f->vmlinux, ""), 3); /* the entry, lock, by-file */
}

/* In the child, because limits and mounts stay. Exit status: 0 as wanted, 77 cannot try, else what
 * went wrong. */
static int child_out_of_space(const struct fixture *f, bool on_tmpfs)
{
	const struct rlimit limit = { 20000, 20000 };
	struct error err = { 0 };

	(void)signal(SIGXFSZ, SIG_IGN);
	if (on_tmpfs) {
		CLEANUP(freep) char *parent = xasprintf("%s/a", f->dir);
		if (mkdir(parent, 0755) < 0 || unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("none", parent, "tmpfs", 0, "size=48k") < 0)
			return 77;
	} else if (setrlimit(RLIMIT_FSIZE, &limit) < 0) {
		return 77;
	}
	int r = open_quietly(f, &err);
	if (r != (on_tmpfs ? -ENOSPC : -EFBIG) || err.class != ERROR_INFRA)
		return 2;
	if (!strstr(err.text, f->kernel) || !strstr(err.text, f->vmlinux))
		return 3;
	return maker_count(f->vmlinux, "") == 2 ? 0 : 4; /* lock, by-file */
}

static void run_out_of_space(const struct fixture *f, bool on_tmpfs)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(child_out_of_space(f, on_tmpfs));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_open_beyond_file_size_limit_leaves_nothing(void **state)
{
	run_out_of_space(*state, false);
}

static void test_open_on_full_file_system_leaves_nothing(void **state)
{
	run_out_of_space(*state, true);
}

static void test_open_unusable_cache_says_which(void **state)
{
	struct fixture *f = *state;
	struct error err;
	CLEANUP(freep) char *a = xasprintf("%s/a", f->dir);

	maker_write(a, "in the way", 10);
	assert_int_equal(open_quietly(f, &err), -ENOTDIR);
	assert_int_equal(err.class, ERROR_INFRA);
	assert_non_null(strstr(err.text, a));
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_open_again_uses_the_entry),
		T(test_open_fresh_file_makes_no_link),
		T(test_open_settled_file_goes_by_its_link),
		T(test_open_dangling_link_is_repaired),
		T(test_open_changed_file_is_not_taken_for_the_old),
		T(test_open_copy_of_a_kernel_shares_the_entry),
		T(test_open_short_entry_is_made_again),
		T(test_open_removes_what_a_killed_process_left),
		T(test_open_many_kernels_keeps_a_bounded_number),
		T(test_open_by_several_processes_makes_one_entry),
		T(test_open_beyond_file_size_limit_leaves_nothing),
		T(test_open_on_full_file_system_leaves_nothing),
		T(test_open_unusable_cache_says_which),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
