/* The command line of `ktstr test`: what it says arrives; what is wrong is told by tests/e2e/test_bad_input.py. */
#include "cli/test_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *const *args, struct test_options *ret, struct error *err)
{
	static char *argv[24]; /* the options keep pointers into it */
	int argc = 1;

	argv[0] = (char *)(uintptr_t) "test";
	for (; args[argc - 1]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc - 1];
	argv[argc] = NULL;
	return test_options_parse(argc, argv, ret, err);
}

static void test_defaults(void **state UNUSED)
{
	struct test_options o;
	struct error err;

	assert_int_equal(parse((const char *const[]){ "a", NULL }, &o, &err), 0);
	assert_string_equal(o.programs[0], "a");
	assert_null(o.programs[1]);
	assert_int_equal(o.jobs, 0);
	assert_int_equal(o.timeout_s, 60);
	assert_int_equal(o.n_retries, 2);
	assert_int_equal(o.wait_ms, 600 * 1000);
	assert_int_equal(o.selection.repeat, 1);
	assert_int_equal(o.n_cpus, 0);
	assert_int_equal(o.selection.n_shards, 0);
	assert_true(o.overcommit == 1 && !o.fail_fast && !o.no_skip && !o.list && !o.no_locks);
	assert_true(!o.selection.shuffle && !o.json && !o.output);
	test_options_fini(&o);
}

static void test_values_arrive_also_behind_programs(void **state UNUSED)
{
	static const char *const args[] = { "a",        "--jobs",   "3",         "--filter",
					    "x*",       "--filter", "y",         "--shard",
					    "2/5",      "b",        "--seed",    "0",
					    "--repeat", "7",        "--no-skip", "--timeout",
					    "9",        "--wait",   "500ms",     NULL };
	struct test_options o;
	struct error err;

	assert_int_equal(parse(args, &o, &err), 0);
	assert_string_equal(o.programs[0], "a");
	assert_string_equal(o.programs[1], "b");
	assert_int_equal(o.jobs, 3);
	assert_int_equal(o.selection.n_filters, 2);
	assert_string_equal(o.selection.filters[1], "y");
	assert_true(o.selection.shard == 2 && o.selection.n_shards == 5);
	assert_true(o.selection.shuffle && o.selection.seed == 0 && o.selection.repeat == 7);
	assert_true(o.no_skip && o.timeout_s == 9 && o.wait_ms == 500);
	test_options_fini(&o);
}

static void test_budget_is_the_options_else_the_environments(void **state UNUSED)
{
	struct test_options o;
	struct error err;

	assert_int_equal(setenv("KTSTR_CPU_CAP", "3", 1), 0);
	assert_int_equal(parse((const char *const[]){ "a", NULL }, &o, &err), 0);
	assert_int_equal(o.n_cpus, 3);
	test_options_fini(&o);
	assert_int_equal(parse((const char *const[]){ "--cpu-cap", "2", "a", NULL }, &o, &err), 0);
	assert_int_equal(o.n_cpus, 2);
	test_options_fini(&o);
	assert_int_equal(setenv("KTSTR_CPU_CAP", "x", 1), 0);
	assert_true(parse((const char *const[]){ "a", NULL }, &o, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "KTSTR_CPU_CAP"));
	test_options_fini(&o);
	assert_int_equal(parse((const char *const[]){ "--help", NULL }, &o, &err), 0);
	test_options_fini(&o);
	assert_int_equal(unsetenv("KTSTR_CPU_CAP"), 0);
	assert_true(parse((const char *const[]){ "--cpu-cap", "0", "a", NULL }, &o, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	test_options_fini(&o);
}

static void test_wait_is_a_duration(void **state UNUSED)
{
	struct test_options o;
	struct error err;

	assert_int_equal(parse((const char *const[]){ "--wait", "90", "a", NULL }, &o, &err), 0);
	assert_int_equal(o.wait_ms, 90 * 1000);
	test_options_fini(&o);
	assert_true(parse((const char *const[]){ "--wait", "1x", "a", NULL }, &o, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	test_options_fini(&o);
}

static void test_help_needs_no_program(void **state UNUSED)
{
	struct test_options o;
	struct error err;

	assert_int_equal(parse((const char *const[]){ "--help", NULL }, &o, &err), 0);
	assert_true(o.help);
	test_options_fini(&o);
	assert_true(parse((const char *const[]){ "--list", NULL }, &o, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	test_options_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values_arrive_also_behind_programs),
		cmocka_unit_test(test_budget_is_the_options_else_the_environments),
		cmocka_unit_test(test_wait_is_a_duration),
		cmocka_unit_test(test_help_needs_no_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
