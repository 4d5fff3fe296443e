/* A small module tree, made by the assembler and depmod; without them the tests are skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "image/modules.h"
#include "scratch.h"

struct fixture {
	struct scratch s;
	struct guest_tree tree;
	struct buf records;
	char *dir; /* lib/modules/9.9 */
	struct error err;
};

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	scratch_init(&f->s);
	f->dir = scratch_path(&f->s, "lib/modules/9.9");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	guest_tree_fini(&f->tree);
	buf_fini(&f->records);
	scratch_fini(&f->s);
	freep(&f->dir);
	freep(&f);
	return 0;
}

/* Defines the symbol @name_fn, wants those of @needs; @info: a further .modinfo record, or "". */
static void make_module(struct fixture *f, const char *name, const char *needs, const char *info)
{
	assert_int_equal(
	    scratch_run(&f->s,
			"mkdir -p lib/modules/9.9/kernel && { "
			"printf '.section .modinfo,\"a\"\\n.asciz \"name=%s\"\\n.asciz \"%s\"\\n'; "
			"printf '.section __ksymtab_strings,\"a\"\\n.asciz \"%s_fn\"\\n.data\\n'; "
			"for n in %s; do printf '.quad %%s_fn\\n' $n; done; } | "
			"cc -c -x assembler - -o lib/modules/9.9/kernel/%s.ko",
			name, info, name, needs, name),
	    0);
}

/* base <- middle <- top; "extra" before top by a soft dependency; "inside" is built in. */
static void make_tree(struct fixture *f)
{
	scratch_need(&f->s, "cc");
	scratch_need(&f->s, "depmod");
	make_module(f, "base", "", "");
	make_module(f, "middle", "base", "");
	make_module(f, "top", "middle", "softdep=pre: extra top gone");
	make_module(f, "extra", "base", "");
	scratch_make(&f->s, "lib/modules/9.9/modules.builtin", "kernel/drivers/inside.ko\n", 0644);
	scratch_make(&f->s, "lib/modules/9.9/modules.order", "", 0644);
}

static void run_depmod(struct fixture *f)
{
	assert_int_equal(scratch_run(&f->s, "depmod -b . 9.9 2>/dev/null"), 0);
}

static int add(struct fixture *f, const char *const *names)
{
	return modules_add(&f->tree, f->dir, "9.9", names, &f->records, &f->err);
}

static void assert_records(struct fixture *f, const char *wanted)
{
	CLEANUP(buf_fini) struct buf text = { 0 };

	for (size_t i = 0; i < f->records.len; i++)
		buf_append(&text, f->records.data[i] ? (char *)&f->records.data[i] : " ", 1);
	assert_string_equal(buf_str(&text), wanted);
}

static void test_modules_come_in_load_order_once_each(void **state)
{
	static const char *const names[] = { "top", "middle", "inside", NULL };
	struct fixture *f = *state;

	make_tree(f);
	run_depmod(f);
	assert_int_equal(add(f, names), 0);
	assert_records(f, "module=/ktstr/modules/000-base.ko module=/ktstr/modules/001-extra.ko "
			  "module=/ktstr/modules/002-middle.ko module=/ktstr/modules/003-top.ko ");
	CLEANUP(freep) char *base = xasprintf("%s/kernel/base.ko", f->dir);
	assert_string_equal(guest_tree_find(&f->tree, "/ktstr/modules/000-base.ko")->host, base);
}

static void test_modules_compressed_ones_come_unpacked(void **state)
{
	static const struct {
		const char *feature; /* of the depmod that makes the indexes */
		const char *program;
		const char *command;
	} tools[] = {
		{ "+XZ", "xz", "xz --check=crc32 kernel/base.ko" },
		{ "+ZSTD", "zstd", "zstd -q --rm kernel/base.ko" },
		{ "+ZLIB", "gzip", "gzip kernel/base.ko" },
	};
	static const char *const names[] = { "base", NULL };
	struct fixture *f = *state;

	make_tree(f);
	assert_int_equal(scratch_run(&f->s, "cp lib/modules/9.9/kernel/base.ko plain"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		if (scratch_run(&f->s, "depmod --version | grep -qF %s && command -v %s >/dev/null",
				tools[i].feature, tools[i].program) != 0)
			continue;
		assert_int_equal(scratch_run(&f->s,
					     "rm -f lib/modules/9.9/kernel/base.* && "
					     "cp plain lib/modules/9.9/kernel/base.ko && "
					     "cd lib/modules/9.9 && %s",
					     tools[i].command),
				 0);
		run_depmod(f);
		guest_tree_fini(&f->tree);
		assert_int_equal(add(f, names), 0);
		const struct guest_node *n =
		    guest_tree_find(&f->tree, "/ktstr/modules/000-base.ko");
		assert_non_null(n);
		assert_non_null(n->text);
		assert_memory_equal(n->text, "\177ELF", 4);
		CLEANUP(freep) char *plain = scratch_path(&f->s, "plain");
		struct stat st;
		assert_int_equal(stat(plain, &st), 0);
		assert_int_equal(n->size, st.st_size);
	}
}

static void test_modules_damaged_file_is_error_naming_it(void **state)
{
	static const char *const names[] = { "base", NULL };
	struct fixture *f = *state;

	make_tree(f);
	scratch_need(&f->s, "xz");
	assert_int_equal(scratch_run(&f->s, "xz lib/modules/9.9/kernel/base.ko"), 0);
	run_depmod(f);
	assert_int_equal(scratch_run(&f->s, "truncate -s -40 lib/modules/9.9/kernel/base.ko.xz"),
			 0);
	assert_true(add(f, names) < 0);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_non_null(strstr(f->err.text, "base.ko.xz"));
}

static void test_modules_missing_ones_are_all_named(void **state)
{
	static const char *const names[] = { "virtio_none", "base", "virtio_nope", NULL };
	struct fixture *f = *state;

	make_tree(f);
	run_depmod(f);
	assert_int_equal(add(f, names), -ENOENT);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_non_null(strstr(f->err.text, "virtio_none, virtio_nope"));
	assert_non_null(strstr(f->err.text, f->dir));
}

static void test_modules_tree_without_indexes_says_how_to_make_them(void **state)
{
	static const char *const names[] = { "base", NULL };
	struct fixture *f = *state;

	make_tree(f);
	assert_int_equal(add(f, names), -ENOENT);
	CLEANUP(freep) char *advice = xasprintf("depmod -b '%s' '9.9'", f->s.path);
	assert_non_null(strstr(f->err.text, advice));
	/* With a slash behind it it is the same tree. */
	CLEANUP(freep) char *slash = xasprintf("%s//", f->dir);
	assert_int_equal(modules_add(&f->tree, slash, "9.9", names, &f->records, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, advice));
}

static void test_modules_tree_that_does_not_exist_is_error_naming_it(void **state)
{
	static const char *const names[] = { "base", NULL };
	struct fixture *f = *state;

	assert_int_equal(modules_add(&f->tree, "/nowhere/9.9", "9.9", names, &f->records, &f->err),
			 -ENOENT);
	assert_non_null(strstr(f->err.text, "/nowhere/9.9"));
	assert_int_equal(f->err.class, ERROR_USAGE);
}

static void test_modules_tree_that_is_a_file_is_error_saying_so(void **state)
{
	static const char *const names[] = { "base", NULL };
	struct fixture *f = *state;

	scratch_make(&f->s, "lib/modules/9.9", "", 0644);
	assert_int_equal(add(f, names), -ENOTDIR);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_non_null(strstr(f->err.text, "not a folder"));
}

static void test_modules_of_another_release_are_refused_naming_both(void **state)
{
	static const char *const names[] = { "base", NULL };
	struct fixture *f = *state;

	make_tree(f);
	make_module(f, "base", "", "vermagic=9.9 SMP mod_unload ");
	run_depmod(f);
	assert_int_equal(add(f, names), 0);
	static const char *const others[] = { "9.9.1", "9", "8.9" };
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_int_equal(
		    modules_add(&f->tree, f->dir, others[i], names, &f->records, &f->err), -EINVAL);
		assert_int_equal(f->err.class, ERROR_USAGE);
		assert_non_null(strstr(f->err.text, "kernel 9.9,"));
		assert_non_null(strstr(f->err.text, others[i]));
		assert_non_null(strstr(f->err.text, "base.ko"));
	}
	/* A kernel that does not tell its release takes any. */
	assert_int_equal(modules_add(&f->tree, f->dir, "", names, &f->records, &f->err), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_modules_come_in_load_order_once_each),
		TEST(test_modules_compressed_ones_come_unpacked),
		TEST(test_modules_damaged_file_is_error_naming_it),
		TEST(test_modules_missing_ones_are_all_named),
		TEST(test_modules_tree_without_indexes_says_how_to_make_them),
		TEST(test_modules_tree_that_is_a_file_is_error_saying_so),
		TEST(test_modules_of_another_release_are_refused_naming_both),
		TEST(test_modules_tree_that_does_not_exist_is_error_naming_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
