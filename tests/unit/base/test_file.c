/* Files and folders: a new file is there whole or not at all, and nothing of it stays when it fails. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

struct fixture {
	char dir[64];
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	strcpy(f->dir, "/var/tmp/ktstr-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	*state = f;
	return 0;
}

static char *at(const struct fixture *f, const char *name)
{
	return xasprintf("%s/%s", f->dir, name);
}

static size_t n_entries(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return n;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *command = xasprintf("rm -rf '%s'", f->dir);

	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void put(const char *path, const char *text, unsigned mode)
{
	struct file_new file = FILE_NEW_INIT;
	struct error err;

	assert_int_equal(file_new_open(&file, path, &err), 0);
	assert_int_equal(fd_write_all(file.fd, text, strlen(text)), 0);
	assert_int_equal(file_new_commit(&file, mode, &err), 0);
	file_new_fini(&file);
}

static void check_content(const char *path, const char *text)
{
	CLEANUP(buf_fini) struct buf b = { 0 };
	struct error err;

	assert_int_equal(file_read(path, 1000, &b, &err), 0);
	assert_string_equal(buf_str(&b), text);
}

static void test_commit_replaces_the_file_and_sets_its_mode(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = at(f, "x");
	struct stat st;

	put(path, "old", 0600);
	put(path, "new", 0444);
	check_content(path, "new");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	assert_int_equal(n_entries(f->dir), 1);
}

static void test_replace_is_whole_or_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = at(f, "x");
	struct error err;
	struct stat st;

	put(path, "old", 0644);
	assert_int_equal(file_replace(path, 0400, "new", 3, &err), 0);
	check_content(path, "new");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_int_equal(file_replace(f->dir, 0644, "new", 3, &err), -EISDIR);
	assert_int_equal(n_entries(f->dir), 1);
}

static void test_fini_without_commit_leaves_the_old_file_alone(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = at(f, "x");
	struct file_new file = FILE_NEW_INIT;
	struct error err;

	put(path, "old", 0644);
	assert_int_equal(file_new_open(&file, path, &err), 0);
	assert_int_equal(fd_write_all(file.fd, "half", 4), 0);
	check_content(path, "old");
	file_new_fini(&file);
	file_new_fini(&file);
	check_content(path, "old");
	assert_int_equal(n_entries(f->dir), 1);
}

static void test_open_in_no_folder_names_the_path_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = at(f, "none/x");
	struct file_new file = FILE_NEW_INIT;
	struct error err;

	assert_int_equal(file_new_open(&file, path, &err), -ENOENT);
	assert_non_null(strstr(err.text, path));
	file_new_fini(&file);
	assert_int_equal(n_entries(f->dir), 0);
}

static void test_commit_over_a_folder_fails_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = at(f, "x");
	struct file_new file = FILE_NEW_INIT;
	struct error err;

	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(file_new_open(&file, path, &err), 0);
	assert_int_equal(file_new_commit(&file, 0644, &err), -EISDIR);
	file_new_fini(&file);
	assert_int_equal(n_entries(f->dir), 1);
}

/* RLIMIT_FSIZE stands for the full disk: writes end early with an error. In a child, for the limit. */
static void test_write_beyond_the_limit_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = at(f, "x");
	int status;

	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct file_new file = FILE_NEW_INIT;
		struct error err;
		const struct rlimit limit = { 1000, 1000 };
		static const uint8_t bytes[3000];
		(void)signal(SIGXFSZ, SIG_IGN);
		bool ok = setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
			  file_new_open(&file, path, &err) == 0 &&
			  fd_write_all(file.fd, bytes, sizeof(bytes)) == -EFBIG;
		file_new_fini(&file);
		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(n_entries(f->dir), 0);
}

static void test_make_dirs_makes_what_is_missing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = at(f, "a/b//c/");
	struct error err;
	struct stat st;

	assert_int_equal(file_make_dirs(path, 0700, &err), 0);
	assert_int_equal(file_make_dirs(path, 0700, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(file_make_dirs("/", 0700, &err), 0);
}

static void test_make_dirs_where_a_file_is_fails(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *file = at(f, "file");
	CLEANUP(freep) char *below = at(f, "file/below");
	struct error err;

	put(file, "x", 0644);
	assert_int_equal(file_make_dirs(file, 0755, &err), -ENOTDIR);
	assert_non_null(strstr(err.text, file));
	assert_int_equal(file_make_dirs(below, 0755, &err), -ENOTDIR);
	assert_int_equal(file_make_dirs("", 0755, &err), -ENOENT);
}

static void test_read_to_the_limit_and_beyond(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = at(f, "x");
	CLEANUP(buf_fini) struct buf b = { 0 };
	struct error err;

	put(path, "12345", 0644);
	buf_append_str(&b, "0");
	assert_int_equal(file_read(path, 5, &b, &err), 0);
	assert_string_equal(buf_str(&b), "012345");
	assert_int_equal(file_read(path, 4, &b, &err), -EFBIG);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(file_read(f->dir, 5, &b, &err), -EISDIR);
	assert_int_equal(file_read("/no/such/file", 5, &b, &err), -ENOENT);
}

static void test_read_line_takes_the_first_and_cuts_it(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = at(f, "x");
	char line[5];

	put(path, "ab\ncd\n", 0644);
	assert_int_equal(file_read_line(path, line, sizeof(line)), 0);
	assert_string_equal(line, "ab");
	put(path, "abcdefgh", 0644);
	assert_int_equal(file_read_line(path, line, sizeof(line)), 0);
	assert_string_equal(line, "abcd");
	put(path, "", 0644);
	assert_int_equal(file_read_line(path, line, sizeof(line)), 0);
	assert_string_equal(line, "");
	assert_int_equal(file_read_line("/no/such/file", line, sizeof(line)), -ENOENT);
}

static void test_cache_dir_follows_the_environment(void **state UNUSED)
{
	static const struct {
		const char *xdg, *home, *dir; /* NULL: an error */
	} cases[] = {
		{ "/x", "/h", "/x/ktstr" },
		{ NULL, "/h", "/h/.cache/ktstr" },
		{ "", "/h", "/h/.cache/ktstr" },
		{ "relative", "/h", "/h/.cache/ktstr" },
		{ NULL, NULL, NULL },
		{ "relative", "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(freep) char *dir = NULL;
		struct error err;
		(void)(cases[i].xdg ? setenv("XDG_CACHE_HOME", cases[i].xdg, 1)
				    : unsetenv("XDG_CACHE_HOME"));
		(void)(cases[i].home ? setenv("HOME", cases[i].home, 1) : unsetenv("HOME"));
		int res = file_cache_dir(&dir, &err);
		assert_int_equal(res, cases[i].dir ? 0 : -ENOENT);
		if (cases[i].dir)
			assert_string_equal(dir, cases[i].dir);
		else
			assert_int_equal(err.class, ERROR_USAGE);
	}
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIR(test_commit_replaces_the_file_and_sets_its_mode),
		WITH_DIR(test_replace_is_whole_or_leaves_nothing),
		WITH_DIR(test_fini_without_commit_leaves_the_old_file_alone),
		WITH_DIR(test_open_in_no_folder_names_the_path_and_leaves_nothing),
		WITH_DIR(test_commit_over_a_folder_fails_and_leaves_nothing),
		WITH_DIR(test_write_beyond_the_limit_leaves_nothing),
		WITH_DIR(test_make_dirs_makes_what_is_missing),
		WITH_DIR(test_make_dirs_where_a_file_is_fails),
		WITH_DIR(test_read_to_the_limit_and_beyond),
		WITH_DIR(test_read_line_takes_the_first_and_cuts_it),
		cmocka_unit_test(test_cache_dir_follows_the_environment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
