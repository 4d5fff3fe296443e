/* What is found out about files, block devices and file systems before a disk is made of them. */
#include "virtio/blk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"
#include "support/block_device.h"

static const struct blk_file_wish writable = { 0 };

static bool has_direct_flag(int fd)
{
	return fcntl(fd, F_GETFL) & O_DIRECT;
}

static int new_file(const char *dir, uint64_t bytes)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

/* Reads and writes a block at its alignment, as a guest would. */
static void check_io(int fd, const struct blk_file *f)
{
	size_t n = f->block_size;
	uint8_t *p = NULL;

	assert_int_equal(posix_memalign((void **)&p, 65536, 2 * n + 512), 0);
	memset(p, 0x77, 2 * n + 512);
	size_t skew = f->is_direct ? f->memory_align : 1;
	assert_int_equal(fd_pwrite_all(fd, p + skew, n, n), 0);
	memset(p, 0, 2 * n + 512);
	assert_int_equal(fd_pread_exact(fd, p + skew, n, n), 0);
	assert_int_equal(p[skew], 0x77);
	assert_int_equal(p[skew + n - 1], 0x77);
	free(p);
}

static void test_file_is_direct_or_says_why_not(void **state UNUSED)
{
	CLEANUP(fd_closep) int fd = new_file("/var/tmp", MIB);
	struct blk_file f;
	struct error err;

	assert_int_equal(blk_file_examine(fd, "f", &writable, &f, &err), 0);
	assert_int_equal(f.capacity, MIB);
	assert_int_equal(f.block_size, 512);
	assert_in_range(f.physical_block_size, 512, 4096);
	assert_int_equal(f.is_direct, has_direct_flag(fd));
	assert_int_equal(f.is_direct, f.why_buffered == NULL);
	print_message("/var/tmp: %s\n", f.is_direct ? "direct" : f.why_buffered);
	check_io(fd, &f);
}

static void test_direct_is_left_out_where_it_is_not_wanted(void **state UNUSED)
{
	const struct blk_file_wish wish = { .buffered = true };
	CLEANUP(fd_closep) int fd = new_file("/var/tmp", MIB);
	struct blk_file f;
	struct error err;

	assert_int_equal(blk_file_examine(fd, "f", &wish, &f, &err), 0);
	assert_false(f.is_direct || has_direct_flag(fd));
	assert_string_equal(f.why_buffered, "as asked for");
	check_io(fd, &f);
}

/* memfd: shared memory, which takes O_DIRECT in some kernels and refuses it in others. */
static void test_shared_memory_works_either_way(void **state UNUSED)
{
	CLEANUP(fd_closep) int fd = memfd_create("disk", MFD_CLOEXEC);
	struct blk_file f;
	struct error err;

	assert_int_equal(ftruncate(fd, MIB), 0);
	assert_int_equal(blk_file_examine(fd, "f", &writable, &f, &err), 0);
	assert_int_equal(f.is_direct, has_direct_flag(fd));
	assert_true(f.discards);
	check_io(fd, &f);
}

static void test_read_only_wish_offers_no_discards_and_changes_nothing(void **state UNUSED)
{
	const struct blk_file_wish wish = { .read_only = true };
	CLEANUP(fd_closep) int fd = new_file("/var/tmp", MIB);
	struct blk_file f;
	struct error err;
	struct stat before, after;

	assert_int_equal(fstat(fd, &before), 0);
	assert_int_equal(blk_file_examine(fd, "f", &wish, &f, &err), 0);
	assert_false(f.discards);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(before.st_blocks, after.st_blocks);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

static void test_sizes_that_are_no_disk_are_refused(void **state UNUSED)
{
	static const struct {
		uint64_t bytes;
		const char *says;
	} cases[] = { { 0, "'f' is empty" },
		      { 511, "'f' has 511 bytes, which is no multiple of 512" },
		      { MIB + 1, "not a raw disk image" } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(fd_closep) int fd = new_file("/var/tmp", cases[i].bytes);
		struct blk_file f;
		struct error err;
		assert_int_equal(blk_file_examine(fd, "f", &writable, &f, &err), -EINVAL);
		assert_int_equal(err.class, ERROR_USAGE);
		assert_non_null(strstr(err.text, cases[i].says));
	}
}

static void test_block_device_tells_its_blocks(void **state UNUSED)
{
	static const uint32_t sizes[] = { 512, 4096 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct block_device d;
		struct blk_file f;
		struct error err;
		if (!block_device_open(&d, 8 * MIB, sizes[i]))
			skip();
		assert_int_equal(blk_file_examine(d.fd, d.path, &writable, &f, &err), 0);
		assert_int_equal(f.capacity, 8 * MIB);
		assert_int_equal(f.block_size, sizes[i]);
		assert_true(f.physical_block_size >= f.block_size);
		/* Over a file with holes it can discard, and it must, if it says so. */
		print_message("%s: %s, discards: %d\n", d.path,
			      f.is_direct ? "direct" : f.why_buffered, f.discards);
		check_io(d.fd, &f);
		if (f.discards)
			assert_int_equal(
			    fallocate(d.fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 4096, 8192),
			    0);
		block_device_close(&d);
	}
}

/* A guest that writes to its memory under way would leave a block on btrfs that nobody can read. */
static void test_btrfs_is_direct_only_without_checksums(void **state UNUSED)
{
	char dir[] = "/var/tmp/ktstr-test-XXXXXX";
	struct block_device d;
	struct blk_file f;
	struct error err;
	int flags = FS_NOCOW_FL;

	if (!block_device_open(&d, 256 * MIB, 512))
		skip();
	CLEANUP(freep) char *command = xasprintf("mkfs.btrfs -q -f %s > /dev/null 2>&1", d.path);
	assert_non_null(mkdtemp(dir));
	if (system(command) != 0 || !block_device_mount(&d, "btrfs", dir)) {
		print_message("skip: no btrfs here\n");
		assert_int_equal(rmdir(dir), 0);
		block_device_close(&d);
		skip();
	}
	CLEANUP(fd_closep) int summed = new_file(dir, MIB);
	assert_int_equal(blk_file_examine(summed, "f", &writable, &f, &err), 0);
	assert_false(f.is_direct);
	assert_non_null(strstr(f.why_buffered, "checksums"));
	check_io(summed, &f);
	CLEANUP(fd_closep) int plain = new_file(dir, 0);
	assert_int_equal(ioctl(plain, FS_IOC_SETFLAGS, &flags), 0);
	assert_int_equal(ftruncate(plain, MIB), 0);
	assert_int_equal(blk_file_examine(plain, "f", &writable, &f, &err), 0);
	assert_true(f.is_direct);
	check_io(plain, &f);
	block_device_close(&d);
	block_device_unmount(dir);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_is_direct_or_says_why_not),
		cmocka_unit_test(test_direct_is_left_out_where_it_is_not_wanted),
		cmocka_unit_test(test_shared_memory_works_either_way),
		cmocka_unit_test(test_read_only_wish_offers_no_discards_and_changes_nothing),
		cmocka_unit_test(test_sizes_that_are_no_disk_are_refused),
		cmocka_unit_test(test_block_device_tells_its_blocks),
		cmocka_unit_test(test_btrfs_is_direct_only_without_checksums),
	};

	return cmocka_run_group_tests_name("virtio/blk_file", tests, NULL, NULL);
}
