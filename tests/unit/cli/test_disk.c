/*
 * The file of --disk: what it gets when it is good. What is refused: tests/e2e/test_bad_input.py.
 */
#include "cli/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"

static char *path;

static int set_up(void **state UNUSED)
{
	const char *tmp = getenv("TMPDIR");

	path = xasprintf("%s/ktstr-test-disk-XXXXXX", tmp ? tmp : "/tmp");
	CLEANUP(fd_closep) int fd = mkstemp(path);
	return fd < 0 ? -1 : ftruncate(fd, 10 * VIRTIO_BLK_SECTOR);
}

static int tear_down(void **state UNUSED)
{
	(void)unlink(path); /* ours */
	freep(&path);
	return 0;
}

static void test_writable_disk_blocks_when_it_reads_and_is_locked(void **state UNUSED)
{
	struct virtio_blk_config first, second;
	struct error err;

	assert_int_equal(disk_open(path, false, &first, &err), 0);
	assert_int_equal(first.capacity, 10 * VIRTIO_BLK_SECTOR);
	assert_false(first.read_only);
	/*
	 * io_uring answers EAGAIN for files with O_NONBLOCK; a VM's process keeps nothing across
	 * exec.
	 */
	assert_int_equal(fcntl(first.fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_RDWR);
	assert_true(fcntl(first.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(disk_open(path, true, &second, &err), -EBUSY);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, path));
	fd_closep(&first.fd);
	assert_int_equal(disk_open(path, true, &second, &err), 0);
	fd_closep(&second.fd);
}

static void test_read_only_disks_share_their_file(void **state UNUSED)
{
	struct virtio_blk_config first, second, third;
	struct error err;

	assert_int_equal(disk_open(path, true, &first, &err), 0);
	assert_true(first.read_only);
	assert_int_equal(fcntl(first.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(disk_open(path, true, &second, &err), 0);
	assert_int_equal(disk_open(path, false, &third, &err), -EBUSY);
	fd_closep(&first.fd);
	fd_closep(&second.fd);
}

/*
 * A VM process unlocks when its disk has stopped; the runner's copy of the descriptor is still open
 * then.
 */
static void test_unlocking_a_copy_frees_the_file(void **state UNUSED)
{
	struct virtio_blk_config first, second;
	struct error err;

	assert_int_equal(disk_open(path, false, &first, &err), 0);
	CLEANUP(fd_closep) int copy = dup(first.fd);
	assert_int_equal(flock(copy, LOCK_UN), 0);
	assert_int_equal(disk_open(path, false, &second, &err), 0);
	fd_closep(&first.fd);
	fd_closep(&second.fd);
}

#define DISK_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(test_writable_disk_blocks_when_it_reads_and_is_locked),
		DISK_TEST(test_read_only_disks_share_their_file),
		DISK_TEST(test_unlocking_a_copy_frees_the_file),
	};

	return cmocka_run_group_tests_name("cli/disk", tests, NULL, NULL);
}
