/* The file that a benchmark reads. */
#include "bench/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

enum { SIZE = 3 << 20 };

static unsigned count_files(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

static void test_a_file_is_made_without_a_name(void **state UNUSED)
{
	char dir[] = "scratch-XXXXXX";
	struct scratch s = SCRATCH_INIT;
	struct error err;
	struct stat st;
	uint64_t words[512], zeros[512] = { 0 };

	assert_non_null(mkdtemp(dir));
	int res = scratch_make(dir, SIZE, &s, &err);
	if (res == -EINVAL) { /* a file system without O_DIRECT: refused, as it should be */
		assert_non_null(strstr(err.text, "O_DIRECT"));
		assert_int_equal(rmdir(dir), 0);
		skip();
	}
	assert_int_equal(res, 0);
	assert_int_equal(count_files(dir), 0);
	assert_int_equal(stat(s.path, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_true(st.st_blocks >= SIZE / 512); /* written, not a hole */
	int fd = open(s.path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(fd_pread_exact(fd, words, sizeof(words), SIZE - sizeof(words)), 0);
	assert_memory_not_equal(words, zeros, sizeof(words));
	(void)close(fd);
	scratch_fini(&s);
	scratch_fini(&s);
	assert_int_equal(rmdir(dir), 0);
}

static void test_a_folder_that_cannot_be_is_named(void **state UNUSED)
{
	struct scratch s = SCRATCH_INIT;
	struct error err;

	assert_int_equal(scratch_make("/nowhere", SIZE, &s, &err), -ENOENT);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "/nowhere"));
	/* No file of that file system is on a disk. */
	assert_true(scratch_make("/proc", SIZE, &s, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_int_equal(scratch_open("/nowhere/file", &s, &err), -ENOENT);
	assert_int_equal(err.class, ERROR_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_file_is_made_without_a_name),
		cmocka_unit_test(test_a_folder_that_cannot_be_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
