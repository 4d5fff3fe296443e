#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "image/guest_tree.h"
#include "scratch.h"

struct fixture {
	struct scratch s;
	struct guest_tree tree;
	struct error err;
};

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	scratch_init(&f->s);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	guest_tree_fini(&f->tree);
	scratch_fini(&f->s);
	freep(&f);
	return 0;
}

static void test_add_through_link_lands_at_its_target(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(guest_tree_add_link(&f->tree, "/lib", "usr/lib", GUEST_RANK_OURS, &f->err),
			 0);
	assert_int_equal(
	    guest_tree_add_text(&f->tree, "/lib/a/../b", "x", GUEST_RANK_FOUND, &f->err), 0);
	const struct guest_node *n = guest_tree_find(&f->tree, "/usr/lib/b");
	assert_non_null(n);
	assert_ptr_equal(guest_tree_find(&f->tree, "/lib/b"), n);
	assert_string_equal(n->path, "/usr/lib/b");
	assert_true(S_ISDIR(guest_tree_find(&f->tree, "/lib")->mode));
}

static void test_find_link_loop_finds_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(guest_tree_add_link(&f->tree, "/a", "b", GUEST_RANK_FOUND, &f->err), 0);
	assert_int_equal(guest_tree_add_link(&f->tree, "/b", "/a", GUEST_RANK_FOUND, &f->err), 0);
	assert_null(guest_tree_find(&f->tree, "/a"));
	assert_int_equal(guest_tree_add_text(&f->tree, "/a/x", "", GUEST_RANK_FOUND, &f->err),
			 -ELOOP);
}

static void test_add_found_twice_keeps_first(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(guest_tree_add_text(&f->tree, "/x", "1", GUEST_RANK_FOUND, &f->err), 0);
	assert_int_equal(guest_tree_add_text(&f->tree, "/x", "2", GUEST_RANK_FOUND, &f->err), 0);
	assert_string_equal(guest_tree_find(&f->tree, "/x")->text, "1");
}

static void test_add_named_replaces_found_also_later(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(guest_tree_add_text(&f->tree, "/x", "1", GUEST_RANK_FOUND, &f->err), 0);
	assert_int_equal(guest_tree_add_link(&f->tree, "/x", "y", GUEST_RANK_NAMED, &f->err), 0);
	assert_int_equal(guest_tree_add_text(&f->tree, "/x", "3", GUEST_RANK_FOUND, &f->err), 0);
	assert_int_equal(guest_tree_add_text(&f->tree, "/y", "4", GUEST_RANK_FOUND, &f->err), 0);
	assert_string_equal(guest_tree_find(&f->tree, "/x")->text, "4");
}

static void test_add_two_named_that_differ_is_error_naming_both(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *a = scratch_file(&f->s, "a", "1", 0644);
	CLEANUP(freep) char *b = scratch_file(&f->s, "b", "2", 0644);
	struct stat st;

	assert_int_equal(stat(a, &st), 0);
	assert_int_equal(guest_tree_add_file(&f->tree, "/x", a, &st, GUEST_RANK_NAMED, &f->err), 0);
	assert_int_equal(guest_tree_add_file(&f->tree, "/x", a, &st, GUEST_RANK_NAMED, &f->err), 0);
	assert_int_equal(stat(b, &st), 0);
	assert_int_equal(guest_tree_add_file(&f->tree, "/x", b, &st, GUEST_RANK_NAMED, &f->err),
			 -EEXIST);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_non_null(strstr(f->err.text, a));
	assert_non_null(strstr(f->err.text, b));
}

static void test_add_reserved_paths_is_refused(void **state)
{
	static const char *const paths[] = { "/init",      "/ktstr", "/ktstr/config",
					     "/proc/x",    "/sys/x", "/dev",
					     "/dev/shm/x", "/",      "/../init" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_int_equal(
		    guest_tree_add_text(&f->tree, paths[i], "", GUEST_RANK_NAMED, &f->err), -EPERM);
	assert_int_equal(guest_tree_add_text(&f->tree, "/device", "", GUEST_RANK_NAMED, &f->err),
			 0);
}

static void test_add_file_where_folder_has_content_is_error(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(guest_tree_add_text(&f->tree, "/d/x", "", GUEST_RANK_FOUND, &f->err), 0);
	assert_int_equal(guest_tree_add_text(&f->tree, "/d", "", GUEST_RANK_NAMED, &f->err),
			 -EEXIST);
	assert_int_equal(guest_tree_add_text(&f->tree, "/d/x/y", "", GUEST_RANK_NAMED, &f->err),
			 -ENOTDIR);
}

static int check_parent(const struct guest_node *n, void *ctx)
{
	const char *previous = *(const char **)ctx;

	assert_true(strcmp(previous, n->path) < 0);
	*(const char **)ctx = n->path;
	return 0;
}

static void test_walk_visits_sorted_with_parents(void **state)
{
	struct fixture *f = *state;
	const char *previous = "";

	assert_int_equal(guest_tree_add_text(&f->tree, "/b/c-x/d", "", GUEST_RANK_FOUND, &f->err),
			 0);
	assert_int_equal(guest_tree_add_text(&f->tree, "/b/c/d", "", GUEST_RANK_FOUND, &f->err), 0);
	assert_int_equal(guest_tree_add_text(&f->tree, "/a", "", GUEST_RANK_FOUND, &f->err), 0);
	assert_int_equal(guest_tree_walk(&f->tree, check_parent, &previous), 0);
	assert_string_equal(previous, "/b/c/d");
	assert_true(S_ISDIR(guest_tree_find(&f->tree, "/b/c-x")->mode));
}

static void test_mirrored_brings_every_link_on_the_way(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *real = scratch_file(&f->s, "real/v2/lib.so.2.0", "content", 0755);
	CLEANUP(freep) char *ret = NULL;

	assert_int_equal(scratch_run(&f->s, "ln -s v2 real/current && ln -s ../real link && "
					    "ln -s real link2 && ln -s lib.so.2.0 real/v2/lib.so"),
			 0);
	CLEANUP(freep) char *spelled = scratch_path(&f->s, "link2/current/lib.so");
	assert_int_equal(
	    guest_tree_add_mirrored(&f->tree, spelled, GUEST_RANK_FOUND, &ret, &f->err), 0);
	assert_string_equal(ret, real);
	assert_string_equal(guest_tree_find(&f->tree, spelled)->host, real);
	assert_string_equal(guest_tree_find(&f->tree, real)->host, real);
	assert_int_equal(guest_tree_find(&f->tree, spelled)->mode, S_IFREG | 0755);
}

static void test_mirrored_missing_or_looping_path_is_error_naming_it(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *file = scratch_file(&f->s, "file", "", 0644);
	CLEANUP(freep) char *missing = scratch_path(&f->s, "missing");
	CLEANUP(freep) char *below = xasprintf("%s/below", file);
	CLEANUP(freep) char *loop = scratch_path(&f->s, "loop");

	assert_int_equal(symlink("loop", loop), 0);
	assert_int_equal(
	    guest_tree_add_mirrored(&f->tree, missing, GUEST_RANK_FOUND, NULL, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, missing));
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_int_equal(guest_tree_add_mirrored(&f->tree, below, GUEST_RANK_FOUND, NULL, &f->err),
			 -ENOTDIR);
	assert_int_equal(guest_tree_add_mirrored(&f->tree, loop, GUEST_RANK_FOUND, NULL, &f->err),
			 -ELOOP);
}

static void test_stamps_digest_changes_with_a_missing_file_appearing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = scratch_path(&f->s, "later");
	struct stamps s = { 0 };
	char before[HASH_TEXT_MAX], same[HASH_TEXT_MAX], after[HASH_TEXT_MAX];

	stamps_add(&s, path, true);
	stamps_add(&s, path, true);
	assert_int_equal(s.paths.len, strlen(path) + 2);
	stamps_digest(s.paths.data, s.paths.len, before, NULL);
	stamps_digest(s.paths.data, s.paths.len, same, NULL);
	scratch_make(&f->s, "later", "", 0644);
	stamps_digest(s.paths.data, s.paths.len, after, NULL);
	assert_string_equal(before, same);
	assert_string_not_equal(before, after);
	stamps_fini(&s);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_add_through_link_lands_at_its_target),
		TEST(test_find_link_loop_finds_nothing),
		TEST(test_add_found_twice_keeps_first),
		TEST(test_add_named_replaces_found_also_later),
		TEST(test_add_two_named_that_differ_is_error_naming_both),
		TEST(test_add_reserved_paths_is_refused),
		TEST(test_add_file_where_folder_has_content_is_error),
		TEST(test_walk_visits_sorted_with_parents),
		TEST(test_mirrored_brings_every_link_on_the_way),
		TEST(test_mirrored_missing_or_looping_path_is_error_naming_it),
		TEST(test_stamps_digest_changes_with_a_missing_file_appearing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
