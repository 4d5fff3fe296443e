/* /proc/locks, mountinfo and fdinfo as kernels write them. */
#include "plan/proc_locks.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_flocks_are_found_among_other_lines(void **state UNUSED)
{
	static const char text[] = "1: FLOCK  ADVISORY  WRITE 4853 fe:00:11108893 0 EOF\n"
				   "2: POSIX  ADVISORY  READ  711 00:19:1234 128 128\n"
				   "3: FLOCK  ADVISORY  READ  12 00:1f:18446744073709551615 0 EOF\n"
				   "3: -> FLOCK  ADVISORY  WRITE 13 00:1f:77 0 EOF\n"
				   "4: OFDLCK ADVISORY  WRITE -1 00:1f:78 0 0\n"
				   "5: LEASE  ACTIVE    READ  14 00:1f:79 0 EOF\n"
				   "garbage\n"
				   "6: FLOCK  ADVISORY  WRITE 15 103:05:80 0 EOF";
	const char *p = text;
	struct proc_lock l;

	assert_true(proc_locks_next(&p, &l));
	assert_int_equal(l.pid, 4853);
	assert_int_equal(l.dev_major, 0xfe);
	assert_int_equal(l.dev_minor, 0);
	assert_int_equal(l.ino, 11108893);
	assert_true(l.exclusive);
	assert_true(proc_locks_next(&p, &l));
	assert_true(l.ino == UINT64_MAX);
	assert_int_equal(l.dev_minor, 0x1f);
	assert_false(l.exclusive);
	assert_true(proc_locks_next(&p, &l));
	assert_int_equal(l.dev_major, 0x103);
	assert_int_equal(l.pid, 15);
	assert_false(proc_locks_next(&p, &l));
	assert_false(proc_locks_next(&p, &l));
}

static const char mountinfo[] =
    "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    "31 22 0:27 /@home /home rw,relatime shared:1 master:2 - btrfs /dev/sdb rw,subvol=/@home\n"
    "45 22 0:51 / /merged rw - overlay overlay rw,lowerdir=/l,upperdir=/u\n"
    "46 22 0:60 / /mnt/a\\040-\\040b rw shared:9 - fuse.sshfs host:/x rw\n"
    "47 22 0:61 / /lab rw - 9p hostshare rw,trans=virtio\n";

static void test_mount_gives_the_superblocks_device_and_type(void **state UNUSED)
{
	static const struct {
		uint64_t id;
		uint32_t minor;
		const char *type;
		bool remote;
	} cases[] = {
		{ 22, 0, "ext4", false },     { 31, 27, "btrfs", false },
		{ 45, 51, "overlay", false }, { 46, 60, "fuse.sshfs", true },
		{ 47, 61, "9p", true },
	};
	struct mount_info m;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(mountinfo_find(mountinfo, cases[i].id, &m), 0);
		assert_int_equal(m.dev_minor, cases[i].minor);
		assert_string_equal(m.type, cases[i].type);
		assert_int_equal(mount_type_is_remote(m.type), cases[i].remote);
	}
	assert_int_equal(mountinfo_find(mountinfo, 2, &m), -ENOENT);
	assert_int_equal(mountinfo_find("", 22, &m), -ENOENT);
	assert_true(mount_type_is_remote("nfs4") && mount_type_is_remote("fuse"));
	assert_false(mount_type_is_remote("tmpfs") || mount_type_is_remote("xfs") ||
		     mount_type_is_remote("fuseblk"));
}

static void test_fdinfo_gives_the_kernels_inode(void **state UNUSED)
{
	struct fd_info info;

	assert_int_equal(
	    fdinfo_parse("pos:\t0\nflags:\t02\nmnt_id:\t45\nino:\t981\nlock:\t1: x\n", &info), 0);
	assert_int_equal(info.mnt_id, 45);
	assert_int_equal(info.ino, 981);
	assert_int_equal(fdinfo_parse("pos:\t0\nmnt_id:\t45\n", &info), -ENOENT);
	assert_int_equal(fdinfo_parse("", &info), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flocks_are_found_among_other_lines),
		cmocka_unit_test(test_mount_gives_the_superblocks_device_and_type),
		cmocka_unit_test(test_fdinfo_gives_the_kernels_inode),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
