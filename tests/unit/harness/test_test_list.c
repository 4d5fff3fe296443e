/* Lists of test programs: what a good one says is all there, a bad one is an error that tells what is wrong. */
#include "harness/test_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

#define HEAD(n) "{\"ktstr_list\":1,\"n_tests\":" #n "}\n"

static int parse(const char *text, struct test_list *ret, struct error *err)
{
	return test_list_parse(text, strlen(text), ret, err);
}

static void need_refused(const char *text, const char *why)
{
	struct test_list l = { 0 };
	struct error err;

	assert_true(parse(text, &l, &err) < 0);
	if (!strstr(err.text, why))
		fail_msg("'%s' lacks '%s'", err.text, why);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_null(l.tests);
}

static void test_every_member_arrives(void **state UNUSED)
{
	struct test_list l = { 0 };
	struct error err;

	assert_int_equal(
	    parse(HEAD(2) "{\"name\":\"a\"}\n"
			  "{\"name\":\"b/c\",\"summary\":\"s\",\"topology\":\"1,2,2,1\","
			  "\"memory_mib\":256,\"timeout_s\":30,\"perf\":true,\"cpu_cap\":2,"
			  "\"disk_mib\":64,\"disk_fs\":\"ext4\",\"net\":true,"
			  "\"vm_only\":true,\"of_a_newer_ktstr\":[1]}\n",
		  &l, &err),
	    0);
	assert_int_equal(l.n, 2);
	assert_string_equal(l.tests[0].name, "a");
	assert_null(l.tests[0].topology);
	assert_int_equal(l.tests[0].timeout_s, 0);
	const struct test_spec *t = &l.tests[1];
	assert_string_equal(t->name, "b/c");
	assert_string_equal(t->summary, "s");
	assert_string_equal(t->topology, "1,2,2,1");
	assert_string_equal(t->disk_fs, "ext4");
	assert_int_equal(t->memory_mib, 256);
	assert_int_equal(t->timeout_s, 30);
	assert_int_equal(t->cpu_cap, 2);
	assert_int_equal(t->disk_mib, 64);
	assert_true(t->perf && t->net && t->vm_only);
	test_list_fini(&l);
	test_list_fini(&l);
}

static void test_empty_list_has_no_tests(void **state UNUSED)
{
	struct test_list l = { .n = 7 };
	struct error err;

	assert_int_equal(parse(HEAD(0), &l, &err), 0);
	assert_int_equal(l.n, 0);
	test_list_fini(&l);
}

static void test_what_is_no_list_is_refused_with_its_reason(void **state UNUSED)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "prints nothing" },
		{ "usage: ls [options]\n", "but with 'usage: ls [options]'" },
		{ "{\"ktstr_list\":1,\"n_tests\":0}", "does not begin" }, /* no end of line */
		{ "{\"ktstr_list\":2,\"n_tests\":0}\n", "version 2" },
		{ "{\"ktstr_list\":1}\n", "does not begin" },
		{ "{\"ktstr_list\":1,\"n_tests\":-1}\n", "promises -1" },
		{ "{\"ktstr_list\":1,\"n_tests\":100001}\n", "promises 100001" },
		{ "[1]\n", "does not begin" },
		{ HEAD(2) "{\"name\":\"a\"}\n", "cut off: 2 tests promised, 1 came" },
		{ HEAD(1) "{\"name\":\"a\"}", "cut off" },
		{ HEAD(1), "cut off: 1 tests promised, 0 came" },
		{ HEAD(1) "{\"name\":\"a\"}\n{\"name\":\"b\"}\n", "more than the 1 tests" },
		{ HEAD(2) "{\"name\":\"a\"}\n{\"name\":\"a\"}\n", "two tests named 'a'" },
		{ HEAD(1) "{\"summary\":\"a\"}\n", "line 2 of its list: no name" },
		{ HEAD(1) "{\"name\":1}\n", "line 2 of its list: 'name' is no text" },
		{ HEAD(1) "{\"name\":\"\"}\n", "the name is not" },
		{ HEAD(1) "{\"name\":\"-x\"}\n", "the name is not" },
		{ HEAD(1) "{\"name\":\"/x\"}\n", "the name is not" },
		{ HEAD(1) "{\"name\":\"a b\"}\n", "the name is not" },
		{ HEAD(1) "garbage\n", "line 2 of its list: no JSON object" },
		{ HEAD(1) "{\"name\":\"a\",\"name\":\"b\"}\n", "no JSON object" },
		{ HEAD(1) "{\"name\":\"a\",\"memory_mib\":-1}\n", "'memory_mib' is no number" },
		{ HEAD(1) "{\"name\":\"a\",\"memory_mib\":1.5}\n", "'memory_mib' is no number" },
		{ HEAD(1) "{\"name\":\"a\",\"timeout_s\":4294967296}\n",
		  "'timeout_s' is no number" },
		{ HEAD(1) "{\"name\":\"a\",\"perf\":1}\n", "test 'a': 'perf' is neither" },
		{ HEAD(1) "{\"name\":\"a\",\"topology\":[]}\n", "'topology' is no text" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		need_refused(cases[i].text, cases[i].why);
}

static void test_every_cut_of_a_good_list_is_refused(void **state UNUSED)
{
	static const char text[] = HEAD(2) "{\"name\":\"a\"}\n{\"name\":\"b\",\"net\":true}\n";

	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		CLEANUP(freep) char *cut = xasprintf("%.*s", (int)n, text);
		need_refused(cut, "");
	}
}

static void test_nul_byte_in_a_list_is_refused(void **state UNUSED)
{
	static const char text[] = HEAD(1) "{\"name\":\"a\0b\"}\n";
	struct test_list l = { 0 };
	struct error err;

	assert_true(test_list_parse(text, sizeof(text) - 1, &l, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_member_arrives),
		cmocka_unit_test(test_empty_list_has_no_tests),
		cmocka_unit_test(test_what_is_no_list_is_refused_with_its_reason),
		cmocka_unit_test(test_every_cut_of_a_good_list_is_refused),
		cmocka_unit_test(test_nul_byte_in_a_list_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
