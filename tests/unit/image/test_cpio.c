#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/cpio.h"
#include "scratch.h"
#include "unpack_model.h"

struct item {
	struct cpio_entry entry;
	const char *data;
};

static void add(struct cpio *c, const struct item *item)
{
	struct cpio_entry e = item->entry;
	struct error err;

	e.size = item->data ? strlen(item->data) : 0;
	assert_int_equal(cpio_open_entry(c, &e, &err), 0);
	if (e.size)
		assert_int_equal(cpio_write(c, item->data, e.size, &err), 0);
}

/* The archive of @items, unpacked from its lz4 stream. */
static void make_archive(const struct item *items, size_t n, struct buf *ret)
{
	CLEANUP(buf_fini) struct buf packed = { 0 };
	struct lz4_legacy z;
	struct cpio c;
	struct error err;

	assert_int_equal(lz4_legacy_init(&z, -1, &packed, &err), 0);
	cpio_init(&c, &z);
	for (size_t i = 0; i < n; i++)
		add(&c, &items[i]);
	assert_int_equal(cpio_finish(&c, &err), 0);
	assert_int_equal(lz4_legacy_finish(&z, 4, &err), 0);
	lz4_legacy_fini(&z);
	assert_true(unpack_model_decode(packed.data, packed.len, ret));
}

static const struct item items[] = {
	{ { "/folder", S_IFDIR | 0750 }, NULL },
	{ { "/folder/a", S_IFREG | 0640 }, "one\n" },
	{ { "/folder/ab", S_IFREG | 0755 }, "12345" },
	{ { "/folder/abc", S_IFREG | 0644 }, "" },
	{ { "/folder/link", S_IFLNK | 0777 }, "../some/where" },
	{ { "/fifo", S_IFIFO | 0600 }, NULL },
	{ { "/sticky", S_IFDIR | 01777 }, NULL },
};

static void test_archive_unpacked_by_cpio_is_what_went_in(void **state)
{
	CLEANUP(buf_fini) struct buf archive = { 0 };
	struct scratch s;

	scratch_init(&s);
	scratch_need(&s, "cpio");
	make_archive(items, ARRAY_SIZE(items), &archive);
	CLEANUP(freep) char *path = scratch_file(&s, "archive", "", 0644);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(fd_write_all(fd, archive.data, archive.len), 0);
	fd_closep(&fd);
	assert_int_equal(scratch_run(&s, "mkdir out && cd out && cpio -idm --no-absolute-filenames "
					 "<../archive 2>../cpio.log"),
			 0);
	assert_int_equal(
	    scratch_run(&s, "cd out && find . -mindepth 1 -printf '%%P %%y %%m %%l\\n' | "
			    "sort >../found && printf '%%s\\n' 'fifo p 600 ' 'folder d 750 ' "
			    "'folder/a f 640 ' 'folder/ab f 755 ' 'folder/abc f 644 ' "
			    "'folder/link l 777 ../some/where' 'sticky d 1777 ' | "
			    "diff - ../found"),
	    0);
	assert_int_equal(scratch_run(&s, "find out -type f ! -newermt @0 | wc -l | grep -qx 3"), 0);
	assert_int_equal(scratch_run(&s, "cd out && printf 'one\\n' | cmp - folder/a && "
					 "printf 12345 | cmp - folder/ab"),
			 0);
	scratch_fini(&s);
}

static void test_archive_made_twice_is_equal(void **state)
{
	CLEANUP(buf_fini) struct buf a = { 0 };
	CLEANUP(buf_fini) struct buf b = { 0 };

	make_archive(items, ARRAY_SIZE(items), &a);
	make_archive(items, ARRAY_SIZE(items), &b);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.data, b.data, a.len);
}

static void test_device_node_has_its_numbers(void **state)
{
	const struct item console = { { "/dev/console", S_IFCHR | 0600, makedev(5, 1), 0 }, NULL };
	CLEANUP(buf_fini) struct buf archive = { 0 };

	make_archive(&console, 1, &archive);
	/* newc: fields 9 and 10, at 6 + 8 * 9, are rdevmajor and rdevminor. */
	assert_memory_equal(archive.data + 6 + 8 * 9, "0000000500000001", 16);
	assert_memory_equal(archive.data + 6 + 8, "00002180", 8);
}

static void test_open_entry_of_four_gib_is_refused(void **state)
{
	CLEANUP(buf_fini) struct buf packed = { 0 };
	struct cpio_entry big = { .path = "/big", .mode = S_IFREG | 0644, .size = 1ull << 32 };
	struct lz4_legacy z;
	struct cpio c;
	struct error err;

	assert_int_equal(lz4_legacy_init(&z, -1, &packed, &err), 0);
	cpio_init(&c, &z);
	assert_int_equal(cpio_open_entry(&c, &big, &err), -EFBIG);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "/big"));
	lz4_legacy_fini(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_archive_unpacked_by_cpio_is_what_went_in),
		cmocka_unit_test(test_archive_made_twice_is_equal),
		cmocka_unit_test(test_device_node_has_its_numbers),
		cmocka_unit_test(test_open_entry_of_four_gib_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
