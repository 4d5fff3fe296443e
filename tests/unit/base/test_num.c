/* Checked arithmetic and numbers of the command line. */
#include "base/num.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_parse_accepts_plain_decimal_in_range(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint64_t value;
	} cases[] = {
		{ "0", 0 }, { "007", 7 }, { "4096", 4096 }, { "18446744073709551615", UINT64_MAX }
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 1;
		struct error err;
		assert_int_equal(num_parse_u64("n", cases[i].text, 0, UINT64_MAX, &v, &err), 0);
		assert_int_equal(v, cases[i].value);
	}
}

static void test_parse_refuses_all_else_and_keeps_the_result(void **state UNUSED)
{
	static const char *const bad[] = { "",     " 1",  "1 ",  "-1", "+1",
					   "0x10", "1e3", "1.5", "a",  "1\n" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t v = 99;
		struct error err;
		assert_int_equal(num_parse_u64("--memory", bad[i], 0, 100, &v, &err), -EINVAL);
		assert_int_equal(err.class, ERROR_USAGE);
		assert_non_null(strstr(err.text, "--memory"));
		assert_int_equal(v, 99);
	}
}

static void test_parse_out_of_range_names_it(void **state UNUSED)
{
	static const char *const bad[] = { "1", "11", "18446744073709551616",
					   "99999999999999999999999" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t v = 99;
		struct error err;
		assert_int_equal(num_parse_u64("--x", bad[i], 2, 10, &v, &err), -ERANGE);
		assert_non_null(strstr(err.text, "2 to 10"));
		assert_int_equal(v, 99);
	}
}

static void test_add_and_mul_tell_of_overflow(void **state UNUSED)
{
	uint64_t v;

	assert_true(num_add_u64(UINT64_MAX - 1, 1, &v));
	assert_int_equal(v, UINT64_MAX);
	assert_false(num_add_u64(UINT64_MAX, 1, &v));
	assert_true(num_mul_u64(UINT64_MAX / 2, 2, &v));
	assert_false(num_mul_u64(UINT64_MAX / 2 + 1, 2, &v));
}

static void test_alignment_and_powers(void **state UNUSED)
{
	assert_int_equal(num_align_up(0, 4096), 0);
	assert_int_equal(num_align_up(1, 4096), 4096);
	assert_int_equal(num_align_up(4096, 4096), 4096);
	assert_int_equal(num_align_down(4095, 4096), 0);
	assert_int_equal(num_align_down(8191, 4096), 4096);
	assert_false(num_is_pow2(0));
	assert_true(num_is_pow2(1));
	assert_true(num_is_pow2(UINT64_C(1) << 63));
	assert_false(num_is_pow2(12));
	assert_int_equal(num_min(3, 4), 3);
	assert_int_equal(num_max(3, 4), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_accepts_plain_decimal_in_range),
		cmocka_unit_test(test_parse_refuses_all_else_and_keeps_the_result),
		cmocka_unit_test(test_parse_out_of_range_names_it),
		cmocka_unit_test(test_add_and_mul_tell_of_overflow),
		cmocka_unit_test(test_alignment_and_powers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
