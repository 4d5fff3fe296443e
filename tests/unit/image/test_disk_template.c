/* Templates of file systems: made once, kept, made again when they are not what they should be. The
 * tools are stand-ins, but for one test of the real ones. */
#include "image/disk_template.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"
#include "scratch.h"

/* Notes its arguments, and writes what marks the file system at its place. */
static const char mke2fs[] = "#!/bin/sh\n"
			     "for p; do :; done\n"
			     "echo \"$*\" >> \"${0%/*}/calls\"\n"
			     "printf '\\123\\357' | dd of=\"$p\" bs=1 seek=1080 conv=notrunc 2> "
			     "/dev/null\n";
static const char failing[] = "#!/bin/sh\necho 'mke2fs: no luck today' >&2\nexit 3\n";
static const char lazy[] = "#!/bin/sh\nexit 0\n";

struct fixture {
	struct scratch s;
	char *cache, *bin;
	struct error err;
};

static int set_up(void **state)
{
	static struct fixture f;

	scratch_init(&f.s);
	f.cache = scratch_path(&f.s, "cache");
	f.bin = scratch_path(&f.s, "bin");
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	freep(&f->cache);
	freep(&f->bin);
	scratch_fini(&f->s);
	return 0;
}

static int open_template(struct fixture *f, uint64_t bytes)
{
	int fd = -1;
	int res = disk_template_open(f->cache, f->bin, DISK_FS_EXT4, bytes, &fd, &f->err);

	return res < 0 ? res : fd;
}

static int n_calls(struct fixture *f)
{
	return scratch_run(&f->s, "exit $(cat bin/calls 2> /dev/null | wc -l)");
}

static void close_good(int fd)
{
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0444);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	fd_closep(&fd);
}

static void test_template_is_made_once_for_each_size(void **state)
{
	struct fixture *f = *state;

	scratch_make(&f->s, "bin/mke2fs", mke2fs, 0755);
	for (int i = 0; i < 3; i++)
		close_good(open_template(f, 16 * MIB));
	assert_int_equal(n_calls(f), 1);
	close_good(open_template(f, 32 * MIB));
	assert_int_equal(n_calls(f), 2);
	assert_int_equal(scratch_run(&f->s, "ls cache/disks/ext4-16777216-*.raw > /dev/null"), 0);
	assert_int_equal(scratch_run(&f->s, "exit $(ls cache/disks | wc -l)"),
			 3); /* and the lock */
}

static void test_another_tool_makes_another_template(void **state)
{
	struct fixture *f = *state;

	scratch_make(&f->s, "bin/mke2fs", mke2fs, 0755);
	close_good(open_template(f, 16 * MIB));
	scratch_make(&f->s, "bin/mke2fs", mke2fs, 0755); /* a new file */
	close_good(open_template(f, 16 * MIB));
	assert_int_equal(n_calls(f), 2);
}

static void test_damaged_template_is_made_again(void **state)
{
	static const char *const damages[] = {
		"chmod 600 $f && truncate -s 8M $f",
		"chmod 600 $f && truncate -s 0 $f && truncate -s 16M $f",
		"rm $f && ln -s /dev/zero $f"
	};
	struct fixture *f = *state;

	scratch_make(&f->s, "bin/mke2fs", mke2fs, 0755);
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		close_good(open_template(f, 16 * MIB));
		assert_int_equal(n_calls(f), i + 1);
		assert_int_equal(scratch_run(&f->s, "f=$(ls cache/disks/*.raw); %s", damages[i]),
				 0);
	}
	close_good(open_template(f, 16 * MIB));
}

static void test_failing_tool_is_told_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;

	scratch_make(&f->s, "bin/mke2fs", failing, 0755);
	assert_true(open_template(f, 16 * MIB) < 0);
	assert_non_null(strstr(f->err.text, "exit status 3: mke2fs: no luck today"));
	assert_int_equal(scratch_run(&f->s, "! ls cache/disks/*ext4* 2> /dev/null"), 0);
	scratch_make(&f->s, "bin/mke2fs", lazy, 0755);
	assert_int_equal(open_template(f, 16 * MIB), -EIO);
	assert_non_null(strstr(f->err.text, "mke2fs"));
	assert_int_equal(scratch_run(&f->s, "! ls cache/disks/*ext4* 2> /dev/null"), 0);
}

static void test_missing_tool_names_its_package(void **state)
{
	struct fixture *f = *state;
	int fd;

	assert_int_equal(
	    disk_template_open(f->cache, f->bin, DISK_FS_BTRFS, 128 * MIB, &fd, &f->err), -ENOENT);
	assert_int_equal(f->err.class, ERROR_SKIP);
	assert_non_null(strstr(f->err.text, "btrfs-progs"));
}

static void test_leftovers_and_the_oldest_go(void **state)
{
	struct fixture *f = *state;

	scratch_make(&f->s, "bin/mke2fs", mke2fs, 0755);
	scratch_make(&f->s, "cache/disks/ext4-1-0.raw.Ab12Cd", "of a killed run", 0600);
	for (int i = 1; i < 20; i++) {
		CLEANUP(freep) char *name = xasprintf("cache/disks/ext4-%d-0.raw", i);
		scratch_make(&f->s, name, "old", 0444);
	}
	assert_int_equal(scratch_run(&f->s, "touch -d '2 days ago' cache/disks/ext4-7-0.raw"), 0);
	close_good(open_template(f, 16 * MIB));
	assert_int_equal(scratch_run(&f->s, "! ls cache/disks/*.Ab12Cd 2> /dev/null"), 0);
	assert_int_equal(scratch_run(&f->s, "test ! -e cache/disks/ext4-7-0.raw"), 0);
	assert_int_equal(scratch_run(&f->s, "test -e cache/disks/ext4-8-0.raw"), 0);
}

static void test_real_tools_make_what_they_say(void **state)
{
	struct fixture *f = *state;
	int n = 0;

	for (enum disk_fs fs = DISK_FS_EXT4; fs <= DISK_FS_BTRFS; fs++) {
		uint64_t bytes = disk_fs_min_bytes(fs);
		struct stat st;
		int fd = -1;
		if (disk_template_open(f->cache, "/usr/sbin:/sbin:/bin", fs, bytes, &fd, &f->err) <
		    0) {
			print_message("%s: %s\n", disk_fs_name(fs), f->err.text);
			assert_int_equal(f->err.class, ERROR_SKIP);
			continue;
		}
		n++;
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, bytes);
		/* A copy of it is to be cheap. */
		assert_true((uint64_t)st.st_blocks * 512 < 8 * MIB);
		close_good(fd);
	}
	if (n == 0)
		skip();
	if (scratch_run(&f->s, "PATH=$PATH:/sbin:/usr/sbin; command -v e2fsck > /dev/null") == 0)
		assert_int_equal(scratch_run(&f->s,
					     "PATH=$PATH:/sbin:/usr/sbin\n"
					     "for f in cache/disks/ext4*.raw; do\n"
					     "e2fsck -fn \"$f\" > /dev/null 2>&1 || exit 1; done"),
				 0);
}

#define TEMPLATE_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEMPLATE_TEST(test_template_is_made_once_for_each_size),
		TEMPLATE_TEST(test_another_tool_makes_another_template),
		TEMPLATE_TEST(test_damaged_template_is_made_again),
		TEMPLATE_TEST(test_failing_tool_is_told_and_leaves_nothing),
		TEMPLATE_TEST(test_missing_tool_names_its_package),
		TEMPLATE_TEST(test_leftovers_and_the_oldest_go),
		TEMPLATE_TEST(test_real_tools_make_what_they_say),
	};

	return cmocka_run_group_tests_name("image/disk_template", tests, NULL, NULL);
}
