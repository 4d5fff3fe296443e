#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "image/command.h"
#include "image/include.h"
#include "image/program.h"
#include "scratch.h"

struct fixture {
	struct scratch s;
	struct guest_tree tree;
	struct ld_cache cache;
	struct elf_closure closure;
	struct program_list programs;
	char *search;
	struct error err;
};

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	scratch_init(&f->s);
	f->closure = (struct elf_closure){ .tree = &f->tree, .cache = &f->cache };
	f->search = scratch_path(&f->s, "bin");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	program_list_fini(&f->programs);
	guest_tree_fini(&f->tree);
	scratch_fini(&f->s);
	freep(&f->search);
	freep(&f);
	return 0;
}

/* A stand-in for an interpreter, of no format that has needs. */
static char *make_tool(struct fixture *f, const char *name)
{
	return scratch_file(&f->s, name, "tool\n", 0755);
}

static int include(struct fixture *f, const char *spec)
{
	return include_add(&f->tree, &f->programs, spec, &f->err);
}

static int resolve(struct fixture *f)
{
	return program_list_resolve(&f->programs, &f->closure, f->search, &f->err);
}

static int command(struct fixture *f, const char *name, char **ret)
{
	return command_resolve(&f->tree, &f->programs, name, f->search, ret, &f->err);
}

static const char *host_of(struct fixture *f, const char *path)
{
	const struct guest_node *n = guest_tree_find(&f->tree, path);

	return n ? n->host : NULL;
}

/* ---- scripts ---- */

static void test_script_brings_its_interpreter(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *tool = make_tool(f, "tools/interp");
	CLEANUP(freep) char *line = xasprintf("#! %s -e\nbody\n", tool);
	CLEANUP(freep) char *script = scratch_file(&f->s, "script", line, 0755);

	assert_int_equal(include(f, script), 0);
	assert_int_equal(resolve(f), 0);
	assert_string_equal(host_of(f, tool), tool);
}

static void test_script_chain_brings_every_interpreter(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *tool = make_tool(f, "tools/interp");
	CLEANUP(freep) char *line = xasprintf("#!%s\n", tool);
	CLEANUP(freep) char *middle = scratch_file(&f->s, "middle", line, 0755);
	CLEANUP(freep) char *line2 = xasprintf("#!%s", middle);
	CLEANUP(freep) char *script = scratch_file(&f->s, "script", line2, 0755);

	assert_int_equal(include(f, script), 0);
	assert_int_equal(resolve(f), 0);
	assert_string_equal(host_of(f, tool), tool);
}

static void test_script_of_itself_ends(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *path = scratch_path(&f->s, "loop");
	CLEANUP(freep) char *line = xasprintf("#!%s\n", path);
	CLEANUP(freep) char *script = scratch_file(&f->s, "loop", line, 0755);

	assert_int_equal(include(f, script), 0);
	assert_int_equal(resolve(f), 0);
}

static void test_script_env_brings_program_from_path(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *env = make_tool(f, "tools/env");
	CLEANUP(freep) char *python = make_tool(f, "bin/python9");
	CLEANUP(freep) char *line = xasprintf("#!%s -S A=1 python9 -u\n", env);
	CLEANUP(freep) char *script = scratch_file(&f->s, "script", line, 0755);

	assert_int_equal(include(f, script), 0);
	assert_int_equal(resolve(f), 0);
	assert_string_equal(host_of(f, python), python);
}

static void test_script_interpreter_of_the_guest_is_kept(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *script = scratch_file(&f->s, "script", "#!/bin/sh\n", 0755);

	assert_int_equal(
	    guest_tree_add_text(&f->tree, "/bin/sh", "busybox", GUEST_RANK_FOUND, &f->err), 0);
	assert_int_equal(include(f, script), 0);
	assert_int_equal(resolve(f), 0);
	assert_null(host_of(f, "/bin/sh"));
}

static void test_script_without_interpreter_is_error_when_named_data_in_folder(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *script = scratch_file(&f->s, "d/script", "#!/nowhere/perl6\n", 0755);
	CLEANUP(freep) char *folder = scratch_path(&f->s, "d");

	assert_int_equal(include(f, folder), 0);
	assert_int_equal(resolve(f), 0);
	assert_int_equal(include(f, script), 0);
	assert_int_equal(resolve(f), -ENOENT);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_non_null(strstr(f->err.text, script));
	assert_non_null(strstr(f->err.text, "'/nowhere/perl6'"));
}

/* ---- includes ---- */

static void test_include_keeps_place_or_takes_the_given_one(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *file = scratch_file(&f->s, "file", "x", 0751);
	CLEANUP(freep) char *moved = xasprintf("%s:/opt/new", file);
	CLEANUP(freep) char *colon = scratch_file(&f->s, "with:/colon", "y", 0644);
	CLEANUP(freep) char *odd = xasprintf("%s:/opt/o:dd", file);

	assert_int_equal(include(f, file), 0);
	assert_int_equal(include(f, moved), 0);
	assert_int_equal(include(f, odd), 0);
	assert_string_equal(host_of(f, "/opt/o:dd"), file);
	assert_int_equal(include(f, colon), 0);
	assert_string_equal(host_of(f, file), file);
	assert_string_equal(host_of(f, "/opt/new"), file);
	assert_int_equal(guest_tree_find(&f->tree, "/opt/new")->mode, S_IFREG | 0751);
	assert_string_equal(host_of(f, colon), colon);
}

static void test_include_relative_path_becomes_absolute(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *file = scratch_file(&f->s, "d/file", "x", 0644);
	CLEANUP(freep) char *cwd = getcwd(NULL, 0);

	assert_int_equal(chdir(f->s.path), 0);
	int r = include(f, "./d/../d/file");
	assert_int_equal(chdir(cwd), 0);
	assert_int_equal(r, 0);
	assert_string_equal(host_of(f, file), file);
}

static void test_include_folder_brings_all_of_it(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *file = scratch_file(&f->s, "d/sub/file", "x", 0644);
	CLEANUP(freep) char *out = scratch_file(&f->s, "outside", "x", 0644);
	CLEANUP(freep) char *folder = scratch_path(&f->s, "d");

	assert_int_equal(scratch_run(&f->s,
				     "mkdir -m 700 d/empty && ln -s sub/file d/inside && "
				     "ln -s ../outside d/leaves && ln -s nowhere d/dangling && "
				     "mkfifo d/fifo"),
			 0);
	assert_int_equal(include(f, folder), 0);
	CLEANUP(freep) char *inside = xasprintf("%s/inside", folder);
	CLEANUP(freep) char *leaves = xasprintf("%s/leaves", folder);
	CLEANUP(freep) char *empty = xasprintf("%s/empty", folder);
	CLEANUP(freep) char *fifo = xasprintf("%s/fifo", folder);
	assert_string_equal(host_of(f, inside), file);
	assert_string_equal(host_of(f, leaves), out);
	assert_int_equal(guest_tree_find(&f->tree, empty)->mode, S_IFDIR | 0700);
	assert_true(S_ISFIFO(guest_tree_find(&f->tree, fifo)->mode));
}

static void test_include_moved_folder_brings_files_behind_links_that_leave(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *file = scratch_file(&f->s, "d/file", "x", 0644);
	CLEANUP(freep) char *out = scratch_file(&f->s, "outside", "x", 0644);
	CLEANUP(freep) char *spec = xasprintf("%s/d:/opt/d/", f->s.path);

	assert_int_equal(scratch_run(&f->s, "ln -s file d/inside && ln -s ../outside d/leaves && "
					    "ln -s \"$PWD/d/file\" d/absolute"),
			 0);
	assert_int_equal(include(f, spec), 0);
	assert_string_equal(host_of(f, "/opt/d/inside"), file);
	assert_string_equal(host_of(f, "/opt/d/leaves"), out);
	assert_string_equal(host_of(f, "/opt/d/absolute"), file);
}

static void test_include_bad_specs_are_errors_naming_them(void **state)
{
	static const char *const specs[] = { "/nowhere/file", "/nowhere:relative", ":/x",
					     "/nowhere:/x" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		assert_true(include(f, specs[i]) < 0);
		assert_int_equal(f->err.class, ERROR_USAGE);
		if (specs[i][0] == '/')
			assert_non_null(strstr(f->err.text, "/nowhere"));
	}
}

static void test_include_unreadable_file_is_error_naming_it(void **state)
{
	struct fixture *f = *state;

	if (geteuid() == 0) {
		print_message("root can read everything\n");
		skip();
	}
	CLEANUP(freep) char *file = scratch_file(&f->s, "d/secret", "x", 0000);
	CLEANUP(freep) char *folder = scratch_path(&f->s, "d");

	assert_int_equal(include(f, file), -EACCES);
	assert_non_null(strstr(f->err.text, file));
	assert_int_equal(include(f, folder), -EACCES);
	assert_non_null(strstr(f->err.text, file));
	assert_int_equal(f->err.class, ERROR_USAGE);
}

static void test_include_under_the_guests_own_mounts_is_refused(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *file = scratch_file(&f->s, "file", "x", 0644);
	CLEANUP(freep) char *spec = xasprintf("%s:/proc/file", file);

	assert_int_equal(include(f, spec), -EPERM);
	assert_non_null(strstr(f->err.text, "/proc/file"));
}

/* ---- COMMAND ---- */

static void test_command_name_prefers_include_then_applet_then_path(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *included = scratch_file(&f->s, "mine", "x", 0755);
	CLEANUP(freep) char *spec = xasprintf("%s:/usr/bin/tool", included);
	CLEANUP(freep) char *on_host = make_tool(f, "bin/tool");
	CLEANUP(freep) char *a = NULL;
	CLEANUP(freep) char *b = NULL;
	CLEANUP(freep) char *c = NULL;

	assert_int_equal(command(f, "tool", &a), 0);
	assert_string_equal(a, on_host);
	assert_string_equal(host_of(f, on_host), on_host);
	assert_int_equal(guest_tree_add_text(&f->tree, "/sbin/tool", "", GUEST_RANK_FOUND, &f->err),
			 0);
	assert_int_equal(command(f, "tool", &b), 0);
	assert_string_equal(b, "/sbin/tool");
	assert_int_equal(include(f, spec), 0);
	assert_int_equal(command(f, "tool", &c), 0);
	assert_string_equal(c, "/usr/bin/tool");
}

static void test_command_path_prefers_include_then_host_then_guest(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *on_host = scratch_file(&f->s, "prog", "x", 0755);
	CLEANUP(freep) char *other = scratch_file(&f->s, "other", "y", 0755);
	CLEANUP(freep) char *a = NULL;
	CLEANUP(freep) char *b = NULL;
	CLEANUP(freep) char *c = NULL;

	assert_int_equal(guest_tree_add_text(&f->tree, on_host, "", GUEST_RANK_FOUND, &f->err), 0);
	assert_int_equal(command(f, on_host, &a), 0);
	assert_string_equal(a, on_host);
	assert_string_equal(host_of(f, on_host), on_host);
	CLEANUP(freep) char *spec = xasprintf("%s:/nowhere/prog", other);
	assert_int_equal(include(f, spec), 0);
	assert_int_equal(command(f, "/nowhere/prog", &b), 0);
	assert_string_equal(host_of(f, b), other);
	assert_int_equal(
	    guest_tree_add_text(&f->tree, "/nowhere/applet", "", GUEST_RANK_FOUND, &f->err), 0);
	assert_int_equal(command(f, "/nowhere/applet", &c), 0);
	assert_string_equal(c, "/nowhere/applet");
}

static void test_command_link_runs_under_its_own_name(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *real = make_tool(f, "multi");
	CLEANUP(freep) char *link = scratch_path(&f->s, "bin/alias");
	CLEANUP(freep) char *exec = NULL;

	assert_int_equal(symlink("../multi", link), 0);
	assert_int_equal(command(f, link, &exec), 0);
	assert_string_equal(exec, link);
	assert_string_equal(host_of(f, link), real);
}

static void test_command_missing_folder_or_empty_is_error(void **state)
{
	struct fixture *f = *state;
	scratch_make(&f->s, "bin/not-executable", "x", 0644);
	char *exec = NULL;

	assert_int_equal(command(f, "no-such-tool", &exec), -ENOENT);
	assert_non_null(strstr(f->err.text, "'no-such-tool'"));
	assert_non_null(strstr(f->err.text, f->search));
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_int_equal(command(f, "/nowhere/tool", &exec), -ENOENT);
	assert_non_null(strstr(f->err.text, "'/nowhere/tool'"));
	assert_int_equal(command(f, f->s.path, &exec), -EISDIR);
	assert_int_equal(command(f, "not-executable", &exec), -ENOENT);
	assert_int_equal(command(f, "", &exec), -EINVAL);
	assert_null(exec);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_script_brings_its_interpreter),
		TEST(test_script_chain_brings_every_interpreter),
		TEST(test_script_of_itself_ends),
		TEST(test_script_env_brings_program_from_path),
		TEST(test_script_interpreter_of_the_guest_is_kept),
		TEST(test_script_without_interpreter_is_error_when_named_data_in_folder),
		TEST(test_include_keeps_place_or_takes_the_given_one),
		TEST(test_include_relative_path_becomes_absolute),
		TEST(test_include_folder_brings_all_of_it),
		TEST(test_include_moved_folder_brings_files_behind_links_that_leave),
		TEST(test_include_bad_specs_are_errors_naming_them),
		TEST(test_include_unreadable_file_is_error_naming_it),
		TEST(test_include_under_the_guests_own_mounts_is_refused),
		TEST(test_command_name_prefers_include_then_applet_then_path),
		TEST(test_command_path_prefers_include_then_host_then_guest),
		TEST(test_command_link_runs_under_its_own_name),
		TEST(test_command_missing_folder_or_empty_is_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
