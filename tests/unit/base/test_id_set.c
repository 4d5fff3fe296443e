/* Sets of CPU and node numbers, and their text. */
#include "base/id_set.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_parse_and_format_agree(void **state UNUSED)
{
	static const struct {
		const char *text;
		const char *canonical;
		uint32_t count;
	} cases[] = {
		{ "", "", 0 },
		{ "\n", "", 0 },
		{ "0", "0", 1 },
		{ "0-3,8\n", "0-3,8", 5 },
		{ "8,0-3", "0-3,8", 5 },
		{ "1-1", "1", 1 },
		{ "0-1,2-3", "0-3", 4 },
		{ "63-64", "63-64", 2 },
		{ "62,63,64,65", "62-65", 4 },
		{ "8191", "8191", 1 },
		{ "0-8191", "0-8191", 8192 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_fini) struct buf text = { 0 };
		struct id_set s;
		assert_int_equal(id_set_parse(cases[i].text, &s), 0);
		id_set_format(&s, &text);
		assert_string_equal(buf_str(&text), cases[i].canonical);
		assert_int_equal(id_set_count(&s), cases[i].count);
		assert_int_equal(id_set_is_empty(&s), cases[i].count == 0);
	}
}

static void test_parse_refuses_all_else_and_keeps_the_result(void **state UNUSED)
{
	static const char *const bad[] = { "a",    "-1",  "1-", "3-1",   "0,",    "0,\n", ",0",
					   "0,,1", "0 1", "0-", "0-1-2", "0\n\n", "0x1",  " 0" };
	static const char *const large[] = { "8192", "0-8192", "99999999999999999999" };
	struct id_set s = { 0 };
	struct id_set before;

	id_set_add(&s, 5);
	before = s;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(id_set_parse(bad[i], &s), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(large); i++)
		assert_int_equal(id_set_parse(large[i], &s), -ERANGE);
	assert_true(id_set_is_equal(&s, &before));
}

static void test_iteration_visits_members_in_order(void **state UNUSED)
{
	static const uint32_t want[] = { 0, 1, 63, 64, 127, 128, 4095, 8191 };
	struct id_set s = { 0 };
	size_t n = 0;

	for (size_t i = ARRAY_SIZE(want); i-- > 0;)
		id_set_add(&s, want[i]);
	id_set_for_each(id, &s) assert_int_equal(id, want[n++]);
	assert_int_equal(n, ARRAY_SIZE(want));
	assert_int_equal(id_set_next(&s, ID_SET_MAX), ID_SET_END);
	id_set_remove(&s, 8191);
	assert_int_equal(id_set_next(&s, 4096), ID_SET_END);
	assert_false(id_set_has(&s, ID_SET_END));
}

static void test_subset_and_intersection(void **state UNUSED)
{
	struct id_set a;
	struct id_set b;

	assert_int_equal(id_set_parse("0-9,100", &a), 0);
	assert_int_equal(id_set_parse("5-12,100", &b), 0);
	assert_false(id_set_is_subset(&a, &b));
	id_set_intersect(&b, &a);
	assert_true(id_set_is_subset(&a, &b));
	assert_int_equal(id_set_count(&b), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_format_agree),
		cmocka_unit_test(test_parse_refuses_all_else_and_keeps_the_result),
		cmocka_unit_test(test_iteration_visits_members_in_order),
		cmocka_unit_test(test_subset_and_intersection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
