/* Distributions, and ratios of neighbours. */
#include "bench/dist.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_percentile_is_always_a_sample(void **state UNUSED)
{
	struct dist d = { 0 };

	assert_true(isnan(dist_percentile(&d, 50)));
	dist_add(&d, 3);
	dist_add(&d, 1);
	dist_add(&d, 2);
	assert_true(dist_percentile(&d, 0) == 1);
	assert_true(dist_percentile(&d, 50) == 2);
	assert_true(dist_percentile(&d, 100) == 3);
	assert_true(d.values[0] == 3); /* pairs need the order of measurement */
	dist_fini(&d);
	dist_fini(&d);
}

static void test_ratio_is_of_pairs(void **state UNUSED)
{
	struct dist a = { 0 }, b = { 0 }, r = { 0 };

	dist_add(&a, 10);
	dist_add(&a, 2);
	dist_add(&a, 7);
	dist_add(&b, 5);
	dist_add(&b, 4);
	dist_ratio(&a, &b, &r);
	assert_int_equal(r.n, 2); /* the third has no partner */
	assert_true(r.values[0] == 2 && r.values[1] == 0.5);
	dist_fini(&a);
	dist_fini(&b);
	dist_fini(&r);
}

static void test_json_has_every_sample(void **state UNUSED)
{
	struct dist d = { 0 };
	json_t *doc = dist_json(&d);

	assert_true(json_is_null(doc));
	json_decref(doc);
	for (int i = 0; i < 300; i++)
		dist_add(&d, i);
	doc = dist_json(&d);
	assert_int_equal(json_array_size(json_object_get(doc, "samples")), 300);
	assert_true(json_number_value(json_object_get(doc, "p50")) == 149);
	json_decref(doc);
	dist_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentile_is_always_a_sample),
		cmocka_unit_test(test_ratio_is_of_pairs),
		cmocka_unit_test(test_json_has_every_sample),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
