/* Programs and libraries are made by the compiler at test time; without one the tests are skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "image/elf_closure.h"
#include "image/elf_file.h"
#include "scratch.h"

struct fixture {
	struct scratch s;
	struct guest_tree tree;
	struct ld_cache cache;
	struct elf_closure closure;
	struct error err;
};

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	scratch_init(&f->s);
	f->closure = (struct elf_closure){ .tree = &f->tree, .cache = &f->cache };
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	guest_tree_fini(&f->tree);
	ld_cache_fini(&f->cache);
	scratch_fini(&f->s);
	freep(&f);
	return 0;
}

/* Makes lib@name.so in @folder with the linker arguments @args; it has the function "@name". */
static void make_lib(struct fixture *f, const char *folder, const char *name, const char *args)
{
	assert_int_equal(
	    scratch_run(&f->s,
			"mkdir -p %s && echo 'int %s(void){return 1;}' | "
			"cc -shared -fPIC -x c - -x none -o %s/lib%s.so -Wl,-soname,lib%s.so "
			"-Wl,--no-as-needed -Wl,--allow-shlib-undefined %s",
			folder, name, folder, name, name, args),
	    0);
}

static void make_program(struct fixture *f, const char *path, const char *args)
{
	assert_int_equal(
	    scratch_run(&f->s,
			"mkdir -p $(dirname %s) && echo 'int main(void){return 0;}' | "
			"cc -x c - -x none -o %s -Wl,--no-as-needed -Wl,--allow-shlib-undefined %s",
			path, path, args),
	    0);
}

static int add(struct fixture *f, const char *host, const char *guest)
{
	CLEANUP(freep) char *path = scratch_path(&f->s, host);
	CLEANUP(freep) char *place = guest[0] == '/' ? xstrdup(guest) : scratch_path(&f->s, guest);

	return elf_closure_add(&f->closure, path, place, &f->err);
}

static bool has(struct fixture *f, const char *name)
{
	CLEANUP(freep) char *path = name[0] == '/' ? xstrdup(name) : scratch_path(&f->s, name);
	const struct guest_node *n = guest_tree_find(&f->tree, path);

	return n && S_ISREG(n->mode);
}

static void test_closure_of_plain_program_has_loader_and_libc(void **state)
{
	struct fixture *f = *state;
	struct elf_file elf;

	scratch_need(&f->s, "cc");
	make_program(f, "bin/prog", "");
	CLEANUP(freep) char *path = scratch_path(&f->s, "bin/prog");
	assert_int_equal(elf_file_read(path, &elf, &f->err), 1);
	assert_non_null(elf.interp);
	assert_int_equal(add(f, "bin/prog", "bin/prog"), 0);
	assert_true(has(f, elf.interp));
	elf_file_fini(&elf);
	assert_true(has(f, "/lib/x86_64-linux-gnu/libc.so.6") || has(f, "/lib64/libc.so.6"));
}

static void test_closure_rpath_origin_finds_neighbours(void **state)
{
	struct fixture *f = *state;

	scratch_need(&f->s, "cc");
	make_lib(f, "lib", "two", "");
	make_lib(f, "lib", "one", "lib/libtwo.so");
	/* RPATH of the program serves the needs of its libraries as well. */
	make_program(f, "bin/prog",
		     "lib/libone.so -Wl,--disable-new-dtags '-Wl,-rpath,$ORIGIN/../lib'");
	assert_int_equal(add(f, "bin/prog", "bin/prog"), 0);
	assert_true(has(f, "lib/libone.so"));
	assert_true(has(f, "lib/libtwo.so"));
}

static void test_closure_runpath_does_not_serve_grandchildren(void **state)
{
	struct fixture *f = *state;

	scratch_need(&f->s, "cc");
	make_lib(f, "lib", "two", "");
	make_lib(f, "lib", "one", "lib/libtwo.so");
	make_program(f, "bin/prog",
		     "lib/libone.so -Wl,--enable-new-dtags '-Wl,-rpath,${ORIGIN}/../lib'");
	assert_int_equal(add(f, "bin/prog", "bin/prog"), -ENOENT);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_non_null(strstr(f->err.text, "/libone.so'"));
	assert_non_null(strstr(f->err.text, "'libtwo.so'"));
}

static void test_closure_library_loaded_by_other_satisfies_soname(void **state)
{
	struct fixture *f = *state;

	scratch_need(&f->s, "cc");
	make_lib(f, "lib", "two", "");
	make_lib(f, "lib", "one", "lib/libtwo.so");
	/* The program needs libtwo itself: by the time of libone it is there. */
	make_program(
	    f, "bin/prog",
	    "lib/libtwo.so lib/libone.so -Wl,--enable-new-dtags '-Wl,-rpath,$ORIGIN/../lib'");
	assert_int_equal(add(f, "bin/prog", "bin/prog"), 0);
}

static void test_closure_of_moved_program_moves_origin_libraries(void **state)
{
	struct fixture *f = *state;

	scratch_need(&f->s, "cc");
	make_lib(f, "lib", "one", "");
	make_program(f, "bin/prog", "lib/libone.so '-Wl,-rpath,$ORIGIN/../lib'");
	assert_int_equal(add(f, "bin/prog", "/opt/x/bin/prog"), 0);
	assert_true(has(f, "/opt/x/lib/libone.so"));
	assert_false(has(f, "lib/libone.so"));
}

static void test_closure_takes_what_the_guest_already_has(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	scratch_need(&f->s, "cc");
	make_lib(f, "elsewhere", "one", "");
	make_program(f, "bin/prog", "elsewhere/libone.so");
	CLEANUP(freep) char *lib = scratch_path(&f->s, "elsewhere/libone.so");
	assert_int_equal(stat(lib, &st), 0);
	assert_int_equal(add(f, "bin/prog", "bin/prog"), -ENOENT);
	assert_int_equal(guest_tree_add_file(&f->tree, "/usr/lib/libone.so", lib, &st,
					     GUEST_RANK_NAMED, &f->err),
			 0);
	assert_int_equal(add(f, "bin/prog", "bin/prog"), 0);
}

static void test_closure_skips_candidates_of_another_class(void **state)
{
	struct fixture *f = *state;
	unsigned char class;

	scratch_need(&f->s, "cc");
	make_lib(f, "good", "one", "");
	make_lib(f, "wrong", "one", "");
	make_program(
	    f, "bin/prog",
	    "good/libone.so '-Wl,-rpath,$ORIGIN/../text:$ORIGIN/../wrong:$ORIGIN/../good'");
	scratch_make(&f->s, "text/libone.so", "INPUT(libone)\n", 0644);
	CLEANUP(freep) char *wrong = scratch_path(&f->s, "wrong/libone.so");
	/* e_machine: no x86-64 any more. */
	int fd = open(wrong, O_RDWR | O_CLOEXEC);
	class = EM_AARCH64;
	assert_int_equal(pwrite(fd, &class, 1, offsetof(Elf64_Ehdr, e_machine)), 1);
	fd_closep(&fd);
	assert_int_equal(add(f, "bin/prog", "bin/prog"), 0);
	assert_true(has(f, "good/libone.so"));
	assert_false(has(f, "wrong/libone.so"));
	assert_false(has(f, "text/libone.so"));
}

static void test_closure_missing_interpreter_is_error_naming_both(void **state)
{
	struct fixture *f = *state;

	scratch_need(&f->s, "cc");
	make_program(f, "bin/prog", "-Wl,--dynamic-linker=/nowhere/ld.so");
	assert_int_equal(add(f, "bin/prog", "bin/prog"), -ENOENT);
	CLEANUP(freep) char *prog = scratch_path(&f->s, "bin/prog");
	assert_non_null(strstr(f->err.text, prog));
	assert_non_null(strstr(f->err.text, "/nowhere"));
}

static void test_closure_custom_interpreter_comes_along(void **state)
{
	struct fixture *f = *state;

	scratch_need(&f->s, "cc");
	CLEANUP(freep) char *interp = scratch_path(&f->s, "own/ld.so");
	CLEANUP(freep) char *args = xasprintf("-Wl,--dynamic-linker=%s", interp);
	assert_int_equal(scratch_run(&f->s, "cp -L /lib64/ld-linux-x86-64.so.2 %s", interp), 0);
	make_program(f, "bin/prog", args);
	assert_int_equal(add(f, "bin/prog", "bin/prog"), 0);
	assert_true(has(f, interp));
}

static void test_closure_static_program_and_other_files_need_nothing(void **state)
{
	struct fixture *f = *state;

	scratch_need(&f->s, "cc");
	scratch_make(&f->s, "text", "no ELF file\n", 0755);
	scratch_make(&f->s, "empty", "", 0755);
	assert_int_equal(add(f, "text", "text"), 0);
	assert_int_equal(add(f, "empty", "empty"), 0);
	make_program(f, "static-pie", "-static-pie");
	make_program(f, "static", "-static");
	assert_int_equal(add(f, "static-pie", "static-pie"), 0);
	assert_int_equal(add(f, "static", "static"), 0);
	assert_null(f->tree.nodes);
}

static void test_closure_ld_cache_library_is_found_and_noted(void **state)
{
	struct fixture *f = *state;
	struct buf b = { 0 };

	scratch_need(&f->s, "cc");
	make_lib(f, "strange", "one", "");
	make_program(f, "bin/prog", "strange/libone.so");
	CLEANUP(freep) char *lib = scratch_path(&f->s, "strange/libone.so");
	uint32_t words[] = { 1, 0, 0, 0, 0, 0, 0, 0x303, 72, 82, 0, 0, 0 };
	buf_append_str(&b, "glibc-ld.so.cache1.1");
	buf_append(&b, words, sizeof(words));
	buf_append(&b, "libone.so", 10);
	buf_append(&b, lib, strlen(lib) + 1);
	ld_cache_init(&f->cache, &b);
	assert_int_equal(add(f, "bin/prog", "bin/prog"), 0);
	assert_true(has(f, "strange/libone.so"));
	assert_true(f->closure.used_cache);
}

/* No crash, no endless loop; an error is one of the documented ones. */
static void test_closure_damaged_elf_file_is_error_or_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf whole = { 0 };

	scratch_need(&f->s, "cc");
	make_program(f, "prog", "");
	CLEANUP(freep) char *prog = scratch_path(&f->s, "prog");
	CLEANUP(freep) char *bad = scratch_file(&f->s, "bad", "", 0755);
	assert_int_equal(file_read(prog, 1 << 20, &whole, &f->err), 0);
	for (size_t n = 0; n < 1024; n += 3) {
		struct elf_file elf = { 0 };
		int fd = open(bad, O_WRONLY | O_TRUNC | O_CLOEXEC);
		assert_int_equal(fd_write_all(fd, whole.data, n), 0);
		fd_closep(&fd);
		int r = elf_file_read(bad, &elf, &f->err);
		assert_true(r == 0 || r == 1 || r == -ENOEXEC);
		elf_file_fini(&elf);
	}
	for (size_t i = 0; i < 1024; i++) {
		struct elf_file elf = { 0 };
		uint8_t byte = whole.data[i];
		whole.data[i] ^= 0xff;
		int fd = open(bad, O_WRONLY | O_TRUNC | O_CLOEXEC);
		assert_int_equal(fd_write_all(fd, whole.data, whole.len), 0);
		fd_closep(&fd);
		int r = elf_file_read(bad, &elf, &f->err);
		assert_true(r == 0 || r == 1 || r == -ENOEXEC);
		elf_file_fini(&elf);
		whole.data[i] = byte;
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_closure_of_plain_program_has_loader_and_libc),
		TEST(test_closure_rpath_origin_finds_neighbours),
		TEST(test_closure_runpath_does_not_serve_grandchildren),
		TEST(test_closure_library_loaded_by_other_satisfies_soname),
		TEST(test_closure_of_moved_program_moves_origin_libraries),
		TEST(test_closure_takes_what_the_guest_already_has),
		TEST(test_closure_skips_candidates_of_another_class),
		TEST(test_closure_missing_interpreter_is_error_naming_both),
		TEST(test_closure_custom_interpreter_comes_along),
		TEST(test_closure_static_program_and_other_files_need_nothing),
		TEST(test_closure_ld_cache_library_is_found_and_noted),
		TEST(test_closure_damaged_elf_file_is_error_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
