/* The scale that guest and host share, and percentiles on it. */
#include "bench/hist.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_every_step_begins_where_the_last_one_ended(void **state UNUSED)
{
	for (unsigned i = 0; i + 1 < BENCH_HIST_SIZE; i++) {
		uint64_t low = bench_hist_value(i), next = bench_hist_value(i + 1);
		assert_true(next > low);
		assert_int_equal(bench_hist_index(low), i);
		assert_int_equal(bench_hist_index(next - 1), i);
	}
	assert_int_equal(bench_hist_index(UINT64_MAX), BENCH_HIST_SIZE - 1);
}

static void test_a_step_is_at_most_a_64th_of_its_value(void **state UNUSED)
{
	for (unsigned i = BENCH_HIST_STEPS; i + 1 < BENCH_HIST_SIZE; i++)
		assert_true(bench_hist_value(i + 1) - bench_hist_value(i) <=
			    bench_hist_value(i) / BENCH_HIST_STEPS);
}

static void test_percentiles_are_those_of_the_samples(void **state UNUSED)
{
	struct hist *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	assert_true(isnan(hist_percentile(h, 50)));
	for (unsigned i = 1; i <= 1000; i++)
		assert_true(hist_add(h, bench_hist_index(i * 1000), 1));
	assert_true(fabs(hist_percentile(h, 50) - 500e3) <= 500e3 / 64);
	assert_true(fabs(hist_percentile(h, 99) - 990e3) <= 990e3 / 64);
	assert_true(fabs(hist_percentile(h, 0) - 1e3) <= 1e3 / 64);
	assert_true(fabs(hist_percentile(h, 100) - 1000e3) <= 1000e3 / 64);
	free(h);
}

static void test_small_values_are_exact(void **state UNUSED)
{
	struct hist *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	assert_true(hist_add(h, bench_hist_index(7), 3));
	assert_true(hist_percentile(h, 50) == 7);
	free(h);
}

static void test_what_no_guest_can_have_counted_is_refused(void **state UNUSED)
{
	struct hist *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	assert_false(hist_add(h, BENCH_HIST_SIZE, 1));
	assert_true(hist_add(h, 0, UINT64_MAX));
	assert_false(hist_add(h, 0, 1));
	assert_true(h->n == UINT64_MAX);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_step_begins_where_the_last_one_ended),
		cmocka_unit_test(test_a_step_is_at_most_a_64th_of_its_value),
		cmocka_unit_test(test_percentiles_are_those_of_the_samples),
		cmocka_unit_test(test_small_values_are_exact),
		cmocka_unit_test(test_what_no_guest_can_have_counted_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
