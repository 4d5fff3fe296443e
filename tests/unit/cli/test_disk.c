/*
 * The disk of --disk: what it gets when it is good. What is refused: tests/e2e/test_bad_input.py.
 */
#include "cli/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"
#include "image/tree.h"

enum { DISK = 64 * VIRTIO_BLK_SECTOR };

static char *folder, *path;

static int set_up(void **state UNUSED)
{
	const char *tmp = getenv("TMPDIR");

	folder = xasprintf("%s/ktstr-test-disk-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(folder))
		return -1;
	path = xasprintf("%s/image", folder);
	CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 || fd_pwrite_all(fd, "first", 5, 0) < 0 ? -1 : ftruncate(fd, DISK);
}

static int tear_down(void **state UNUSED)
{
	(void)tree_remove(folder); /* ours */
	freep(&path);
	freep(&folder);
	return 0;
}

static int open_disk(const char *options, struct disk *ret, struct error *err)
{
	CLEANUP(freep)
	char *arg = xasprintf("%s%s", options[0] == ',' || !*options ? path : "", options);
	CLEANUP(disk_options_fini) struct disk_options o = { 0 };

	assert_int_equal(disk_options_parse(arg, &o, err), 0);
	return disk_open(&o, folder, ret, err);
}

static void test_writable_disk_blocks_when_it_reads_and_is_locked(void **state UNUSED)
{
	struct disk first, second;
	struct error err;

	assert_int_equal(open_disk("", &first, &err), 0);
	assert_int_equal(first.config.file.capacity, DISK);
	assert_false(first.config.read_only);
	assert_string_equal(disk_source_name(&first), "in-place");
	/*
	 * io_uring answers EAGAIN for files with O_NONBLOCK; a VM's process keeps nothing across
	 * exec.
	 */
	assert_int_equal(fcntl(first.config.fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_RDWR);
	assert_true(fcntl(first.config.fd, F_GETFD) & FD_CLOEXEC);
	for (const char *const *o = (const char *const[]){ ",ro", ",snapshot", "", NULL }; *o;
	     o++) {
		assert_int_equal(open_disk(*o, &second, &err), -EBUSY);
		assert_int_equal(err.class, ERROR_USAGE);
		assert_non_null(strstr(err.text, path));
	}
	disk_fini(&first);
	assert_int_equal(open_disk(",ro", &second, &err), 0);
	disk_fini(&second);
}

/* As a killed VM process does, whose io_uring ends a little later. */
static void test_disk_that_is_about_to_be_free_is_waited_for(void **state UNUSED)
{
	struct disk first, second;
	struct error err;
	int status;

	assert_int_equal(open_disk("", &first, &err), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) { /* holds it as well: one open file */
		usleep(100000);
		_exit(0);
	}
	disk_fini(&first);
	assert_int_equal(open_disk("", &second, &err), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	disk_fini(&second);
}

static void test_read_only_disks_share_their_file(void **state UNUSED)
{
	struct disk first, second, third;
	struct error err;

	assert_int_equal(open_disk(",ro", &first, &err), 0);
	assert_true(first.config.read_only);
	assert_int_equal(fcntl(first.config.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(open_disk(",ro", &second, &err), 0);
	assert_int_equal(open_disk("", &third, &err), -EBUSY);
	assert_int_equal(open_disk(",snapshot", &third, &err), 0);
	disk_fini(&third);
	disk_fini(&first);
	disk_fini(&second);
}

/*
 * A VM process unlocks when its disk has stopped; the runner's copy of the descriptor is still open
 * then.
 */
static void test_unlocking_a_copy_frees_the_file(void **state UNUSED)
{
	struct disk first, second;
	struct error err;

	assert_int_equal(open_disk("", &first, &err), 0);
	CLEANUP(fd_closep) int copy = dup(first.config.fd);
	assert_int_equal(flock(copy, LOCK_UN), 0);
	assert_int_equal(open_disk("", &second, &err), 0);
	disk_fini(&first);
	disk_fini(&second);
}

static void test_snapshot_is_another_file_with_the_same_content(void **state UNUSED)
{
	char text[5] = "";
	struct disk d, other;
	struct error err;

	assert_int_equal(open_disk(",snapshot,buffered", &d, &err), 0);
	assert_int_equal(d.config.file.capacity, DISK);
	assert_int_equal(fd_pread_exact(d.config.fd, text, 5, 0), 0);
	assert_memory_equal(text, "first", 5);
	assert_int_equal(fd_pwrite_all(d.config.fd, "other", 5, 0), 0);
	/* The file is as it was, and nobody's. */
	assert_int_equal(open_disk(",buffered", &other, &err), 0);
	assert_int_equal(fd_pread_exact(other.config.fd, text, 5, 0), 0);
	assert_memory_equal(text, "first", 5);
	disk_fini(&other);
	disk_fini(&d);
}

static void test_snapshot_of_a_read_only_file(void **state UNUSED)
{
	struct disk d;
	struct error err;

	assert_int_equal(chmod(path, 0400), 0);
	assert_int_equal(open_disk(",snapshot", &d, &err), 0);
	assert_int_equal(fcntl(d.config.fd, F_GETFL) & O_ACCMODE, O_RDWR);
	assert_false(d.config.read_only);
	disk_fini(&d);
}

static void test_new_disk_is_an_empty_hole_without_a_name(void **state UNUSED)
{
	struct disk d;
	struct error err;
	struct stat st;

	assert_int_equal(open_disk("new=1G,depth=1", &d, &err), 0);
	assert_int_equal(fstat(d.config.fd, &st), 0);
	assert_int_equal(st.st_size, GIB);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(d.config.limits.depth, 1);
	assert_string_equal(disk_source_name(&d), "empty");
	disk_fini(&d);
}

static void test_description_tells_how_and_why(void **state UNUSED)
{
	struct disk d = { .config.file.is_direct = true, .is_in_place = true };
	char *text = disk_describe(&d);

	assert_string_equal(text, "in-place, direct I/O");
	freep(&text);
	d = (struct disk){ .config.file.why_buffered = "as asked for",
			   .method = SCRATCH_COPIED,
			   .copied_bytes = 5 * MIB + 1 };
	text = disk_describe(&d);
	assert_string_equal(text, "copy of 6 MiB, buffered I/O (as asked for)");
	freep(&text);
}

#define DISK_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(test_writable_disk_blocks_when_it_reads_and_is_locked),
		DISK_TEST(test_disk_that_is_about_to_be_free_is_waited_for),
		DISK_TEST(test_read_only_disks_share_their_file),
		DISK_TEST(test_unlocking_a_copy_frees_the_file),
		DISK_TEST(test_snapshot_is_another_file_with_the_same_content),
		DISK_TEST(test_snapshot_of_a_read_only_file),
		DISK_TEST(test_new_disk_is_an_empty_hole_without_a_name),
		cmocka_unit_test(test_description_tells_how_and_why),
	};

	return cmocka_run_group_tests_name("cli/disk", tests, NULL, NULL);
}
