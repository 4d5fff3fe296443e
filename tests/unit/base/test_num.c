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

static void test_bytes_take_units_of_1024(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint64_t value;
	} cases[] = {
		{ "0", 0 },
		{ "512", 512 },
		{ "64K", 64 * KIB },
		{ "10M", 10 * MIB },
		{ "1G", GIB },
		{ "3T", 3 * TIB },
		{ "16777215T", 16777215 * TIB },
		{ "0T", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 1;
		struct error err;
		assert_int_equal(num_parse_bytes("n", cases[i].text, 0, UINT64_MAX, &v, &err), 0);
		assert_int_equal(v, cases[i].value);
	}
}

static void test_bytes_refuse_all_else_and_name_the_range(void **state UNUSED)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "", "no number of bytes" },
		{ "K", "'K'" },
		{ "1k", "'1k'" },
		{ "1KB", "'1KB'" },
		{ "1.5G", "'1.5G'" },
		{ "-1", "'-1'" },
		{ " 1", "' 1'" },
		{ "1 K", "'1 K'" },
		{ "1023", "1K to 1G" },
		{ "2G", "1K to 1G" },
		{ "1025M", "1K to 1G" },
		{ "16777216T", "1K to 1G" },
		{ "99999999999999999999", "1K to 1G" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t v = 99;
		struct error err;
		assert_true(num_parse_bytes("--size", bad[i].text, KIB, GIB, &v, &err) < 0);
		assert_int_equal(err.class, ERROR_USAGE);
		assert_non_null(strstr(err.text, "--size: "));
		assert_non_null(strstr(err.text, bad[i].says));
		assert_int_equal(v, 99);
	}
}

static void test_bytes_are_told_short_and_exact(void **state UNUSED)
{
	char text[NUM_BYTES_TEXT_MAX];

	assert_string_equal(num_format_bytes(0, text), "0");
	assert_string_equal(num_format_bytes(1000, text), "1000");
	assert_string_equal(num_format_bytes(64 * KIB, text), "64K");
	assert_string_equal(num_format_bytes(1536 * MIB, text), "1536M");
	assert_string_equal(num_format_bytes(16 * TIB, text), "16T");
	assert_string_equal(num_format_bytes(4096 * TIB, text), "4096T");
	assert_string_equal(num_format_bytes(UINT64_MAX, text), "18446744073709551615");
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

static void test_durations_have_units(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = { { "0", 0 },       { "2", 2000 },         { "1s", 1000 },
		     { "500ms", 500 }, { "10m", 600 * 1000 }, { "1h", 3600 * 1000 } };
	static const char *const bad[] = { "",
					   "s",
					   "1x",
					   "1 s",
					   "-1s",
					   "1sm",
					   "2h",
					   "3601s",
					   "99999999999999999999h",
					   "18446744073709551615m" };
	struct error err;
	uint64_t ms;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(
		    num_parse_duration_ms("--wait", good[i].text, 3600 * 1000, &ms, &err), 0);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (num_parse_duration_ms("--wait", bad[i], 3600 * 1000, &ms, &err) == 0)
			fail_msg("'%s' is taken", bad[i]);
		assert_int_equal(err.class, ERROR_USAGE);
		assert_non_null(strstr(err.text, "--wait"));
	}
}

static void test_real_numbers_are_plain(void **state UNUSED)
{
	static const struct {
		const char *text;
		double value;
	} good[] = { { "1", 1 }, { "2.5", 2.5 }, { "0001.0", 1 }, { "100", 100 } };
	static const char *const bad[] = { "",
					   " 2",
					   "2 ",
					   "+2",
					   "-2",
					   "2.",
					   ".5",
					   "1e1",
					   "0x2",
					   "nan",
					   "inf",
					   "2,5",
					   "2.x",
					   "2.5.1",
					   "0.9",
					   "101",
					   "99999999999999999999999" };
	struct error err;
	double v = 7;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (num_parse_real("--overcommit", bad[i], 1, 100, &v, &err) == 0)
			fail_msg("'%s' is taken", bad[i]);
		assert_int_equal(err.class, ERROR_USAGE);
		assert_non_null(strstr(err.text, "--overcommit: "));
		assert_true(v == 7);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(num_parse_real("--overcommit", good[i].text, 1, 100, &v, &err), 0);
		assert_true(v == good[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_accepts_plain_decimal_in_range),
		cmocka_unit_test(test_parse_refuses_all_else_and_keeps_the_result),
		cmocka_unit_test(test_parse_out_of_range_names_it),
		cmocka_unit_test(test_bytes_take_units_of_1024),
		cmocka_unit_test(test_bytes_refuse_all_else_and_name_the_range),
		cmocka_unit_test(test_bytes_are_told_short_and_exact),
		cmocka_unit_test(test_add_and_mul_tell_of_overflow),
		cmocka_unit_test(test_alignment_and_powers),
		cmocka_unit_test(test_durations_have_units),
		cmocka_unit_test(test_real_numbers_are_plain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
