/* Disks without a name: empty ones, sparse copies, reflinks where a file system for them can be
 * made. */
#include "image/scratch_disk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"
#include "scratch.h"
#include "support/block_device.h"

static struct scratch s;

static int set_up(void **state UNUSED)
{
	scratch_init(&s);
	return 0;
}

static int tear_down(void **state UNUSED)
{
	/* Without a name: nothing but what the test itself made may be here. */
	assert_int_equal(scratch_run(&s, "! ls -A . | grep -v '^source$'"), 0);
	scratch_fini(&s);
	return 0;
}

/* 64 MiB of holes with data at both ends and in the middle. */
static const uint64_t data_at[] = { 0, 20 * MIB + 4096, 64 * MIB - 4096 };

static int open_source(uint64_t bytes)
{
	CLEANUP(freep) char *path = scratch_path(&s, "source");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static void put_data(int fd)
{
	uint8_t block[4096];

	for (size_t i = 0; i < ARRAY_SIZE(data_at); i++) {
		memset(block, (int)(0x11 * (i + 1)), sizeof(block));
		assert_int_equal(fd_pwrite_all(fd, block, sizeof(block), data_at[i]), 0);
	}
}

static void check_data(int fd)
{
	uint8_t block[4096];

	for (size_t i = 0; i < ARRAY_SIZE(data_at); i++) {
		assert_int_equal(fd_pread_exact(fd, block, sizeof(block), data_at[i]), 0);
		assert_int_equal(block[0], 0x11 * (i + 1));
		assert_int_equal(block[4095], 0x11 * (i + 1));
	}
	assert_int_equal(fd_pread_exact(fd, block, sizeof(block), 4096), 0);
	assert_int_equal(block[0], 0);
}

static int copy(int fd, const char *name, uint64_t bytes, const char *beside, const char *dir,
		struct scratch_disk *ret, struct error *err)
{
	const struct scratch_source source = { fd, name, bytes };

	return scratch_disk_copy(&source, beside, dir, ret, err);
}

static uint64_t allocated(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	return (uint64_t)st.st_blocks * 512;
}

static void test_new_disk_is_a_hole(void **state UNUSED)
{
	struct scratch_disk d;
	struct error err;

	assert_int_equal(scratch_disk_new(s.path, 3 * GIB + 512, &d, &err), 0);
	assert_int_equal(d.method, SCRATCH_EMPTY);
	assert_int_equal(lseek(d.fd, 0, SEEK_END), 3 * GIB + 512);
	assert_int_equal(allocated(d.fd), 0);
	fd_closep(&d.fd);
}

static void test_folder_that_is_not_there_is_named(void **state UNUSED)
{
	CLEANUP(fd_closep) int source = open_source(MIB);
	struct scratch_disk d;
	struct error err;

	assert_int_equal(scratch_disk_new("/no/such", MIB, &d, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/no/such"));
	assert_int_equal(copy(source, "a", MIB, NULL, "/no/such", &d, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/no/such"));
}

static void test_copy_is_exact_and_sparse(void **state UNUSED)
{
	CLEANUP(fd_closep) int source = open_source(64 * MIB);
	struct scratch_disk d;
	struct error err;

	put_data(source);
	assert_int_equal(copy(source, "a", 64 * MIB, NULL, s.path, &d, &err), 0);
	assert_int_equal(lseek(d.fd, 0, SEEK_END), 64 * MIB);
	check_data(d.fd);
	assert_true(allocated(d.fd) < MIB);
	if (d.method == SCRATCH_COPIED)
		assert_in_range(d.copied_bytes, ARRAY_SIZE(data_at) * 4096, MIB);
	assert_int_equal(fcntl(d.fd, F_GETFL) & O_ACCMODE, O_RDWR);
	assert_true(fcntl(d.fd, F_GETFD) & FD_CLOEXEC);
	/* Two files from now on. */
	assert_int_equal(fd_pwrite_all(d.fd, "changed", 7, 0), 0);
	check_data(source);
	fd_closep(&d.fd);
}

static void test_copy_to_another_file_system_is_exact(void **state UNUSED)
{
	CLEANUP(fd_closep) int source = open_source(64 * MIB);
	struct scratch_disk d;
	struct error err;

	put_data(source);
	assert_int_equal(copy(source, "a", 64 * MIB, NULL, "/dev/shm", &d, &err), 0);
	assert_int_equal(d.method, SCRATCH_COPIED);
	check_data(d.fd);
	assert_true(allocated(d.fd) < MIB);
	fd_closep(&d.fd);
}

static void test_copy_of_a_file_that_is_all_hole_copies_nothing(void **state UNUSED)
{
	CLEANUP(fd_closep) int source = open_source(64 * MIB);
	struct scratch_disk d;
	struct error err;

	assert_int_equal(copy(source, "a", 64 * MIB, NULL, "/dev/shm", &d, &err), 0);
	assert_int_equal(d.copied_bytes, 0);
	assert_int_equal(lseek(d.fd, 0, SEEK_END), 64 * MIB);
	fd_closep(&d.fd);
}

static void test_copy_without_room_says_how_much_is_needed(void **state UNUSED)
{
	CLEANUP(fd_closep) int source = open_source(64 * MIB);
	CLEANUP(freep) char *dir = scratch_path(&s, "small/x");
	struct scratch_disk d;
	struct error err;
	struct block_device b = { .fd = -1 };

	*strrchr(dir, '/') = 0;
	if (!block_device_open(&b, MIB, 512) || /* only for a mount namespace of our own */
	    !block_device_mount(&b, "tmpfs", dir)) {
		block_device_close(&b);
		assert_int_equal(rmdir(dir), 0);
		skip();
	}
	assert_int_equal(mount(NULL, dir, NULL, MS_REMOUNT, "size=2m"), 0);
	assert_int_equal(fallocate(source, 0, 0, 32 * MIB), 0);
	assert_int_equal(copy(source, "a.img", 64 * MIB, NULL, dir, &d, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "'a.img' needs 32 MiB"));
	assert_non_null(strstr(err.text, "has 2 MiB left"));
	block_device_unmount(dir);
	block_device_close(&b);
	assert_int_equal(rmdir(dir), 0);
}

/* Changes the file for as long as it is copied. */
struct changer {
	int fd;
	_Atomic bool stop;
};

static void *change(void *arg)
{
	struct changer *c = arg;

	while (!atomic_load(&c->stop))
		if (fd_pwrite_all(c->fd, "x", 1, 12345) < 0)
			break; /* then no copy fails, and the test does */
	return NULL;
}

static void test_source_that_changes_is_refused(void **state UNUSED)
{
	struct changer c = { .fd = open_source(64 * MIB) };
	struct scratch_disk d;
	struct error err;
	pthread_t thread;
	int res = 0;

	for (uint64_t at = 0; at < 64 * MIB; at += 4096)
		assert_int_equal(fd_pwrite_all(c.fd, "y", 1, at), 0);
	assert_int_equal(pthread_create(&thread, NULL, change, &c), 0);
	/* The clock of a file's times has ticks: a copy within one sees nothing. */
	for (int i = 0; i < 100 && res == 0; i++) {
		res = copy(c.fd, "a.img", 64 * MIB, NULL, "/dev/shm", &d, &err);
		if (res == 0)
			fd_closep(&d.fd);
	}
	atomic_store(&c.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(res, -EBUSY);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_string_equal(err.text, "'a.img' was changed while it was copied");
	fd_closep(&c.fd);
}

static void test_block_device_is_copied_without_its_zeros(void **state UNUSED)
{
	struct block_device b;
	struct scratch_disk d;
	struct error err;

	if (!block_device_open(&b, 64 * MIB, 512))
		skip();
	put_data(b.fd);
	assert_int_equal(copy(b.fd, b.path, 64 * MIB, NULL, s.path, &d, &err), 0);
	assert_int_equal(d.method, SCRATCH_COPIED);
	check_data(d.fd);
	assert_int_equal(lseek(d.fd, 0, SEEK_END), 64 * MIB);
	assert_in_range(d.copied_bytes, 3 * 4096, MIB);
	fd_closep(&d.fd);
	block_device_close(&b);
}

static void test_reflink_shares_what_neither_writes(void **state UNUSED)
{
	CLEANUP(freep) char *dir = scratch_path(&s, "fs/x");
	struct scratch_disk d;
	struct block_device b;
	struct error err;

	*strrchr(dir, '/') = 0;
	if (!block_device_open(&b, 256 * MIB, 512) ||
	    scratch_run(&s, "mkfs.btrfs -q -f %s > /dev/null 2>&1", b.path) != 0 ||
	    !block_device_mount(&b, "btrfs", dir)) {
		print_message("skip: no btrfs here\n");
		block_device_close(&b);
		assert_int_equal(rmdir(dir), 0);
		skip();
	}
	CLEANUP(freep) char *path = xasprintf("%s/source", dir);
	int source = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(source >= 0);
	assert_int_equal(ftruncate(source, 64 * MIB), 0);
	put_data(source);
	/* Beside it, although copies go elsewhere. */
	assert_int_equal(copy(source, "a", 64 * MIB, dir, "/dev/shm", &d, &err), 0);
	assert_int_equal(d.method, SCRATCH_REFLINK);
	check_data(d.fd);
	assert_int_equal(fd_pwrite_all(d.fd, "changed", 7, 0), 0);
	check_data(source);
	fd_closep(&d.fd);
	/* Where nothing can be made beside it: in the folder for copies, if that can. */
	assert_int_equal(copy(source, "a", 64 * MIB, "/no/such", dir, &d, &err), 0);
	assert_int_equal(d.method, SCRATCH_REFLINK);
	fd_closep(&d.fd);
	fd_closep(&source);
	block_device_unmount(dir);
	block_device_close(&b);
	assert_int_equal(rmdir(dir), 0);
}

/* Also a process that dies by SIGKILL leaves nothing: the folder is checked when the test ends. */
static void test_killed_process_leaves_nothing(void **state UNUSED)
{
	CLEANUP(fd_closep) int source = open_source(64 * MIB);
	int status;

	for (uint64_t at = 0; at < 64 * MIB; at += 4096)
		assert_int_equal(fd_pwrite_all(source, "y", 1, at), 0);
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			struct scratch_disk d;
			struct error err;
			for (;;)
				if (copy(source, "a", 64 * MIB, NULL, s.path, &d, &err) == 0)
					(void)close(d.fd); /* the next copy shows what failed */
		}
		assert_int_equal(usleep((useconds_t)(1000 * (5 + 7 * i))), 0);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
}

#define DISK_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(test_new_disk_is_a_hole),
		DISK_TEST(test_folder_that_is_not_there_is_named),
		DISK_TEST(test_copy_is_exact_and_sparse),
		DISK_TEST(test_copy_to_another_file_system_is_exact),
		DISK_TEST(test_copy_of_a_file_that_is_all_hole_copies_nothing),
		DISK_TEST(test_source_that_changes_is_refused),
		DISK_TEST(test_block_device_is_copied_without_its_zeros),
		DISK_TEST(test_killed_process_leaves_nothing),
		DISK_TEST(test_copy_without_room_says_how_much_is_needed),
		DISK_TEST(test_reflink_shares_what_neither_writes),
	};

	return cmocka_run_group_tests_name("image/scratch_disk", tests, NULL, NULL);
}
