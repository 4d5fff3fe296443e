/* Two batches side by side: which change each pair of outcomes is, and when numbers have moved. */
#include "harness/batch_compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { NONE = BATCH_N_CHANGES };

static const struct batch_compare_gates gates = { .percent = 10, .duration_us = 100000 };

static void put(struct batch_result *b, uint32_t repeat, uint32_t outcome, uint64_t duration_ms)
{
	struct batch_test *t = batch_result_add(b, "prog", "t", repeat);

	t->outcome = outcome;
	t->duration_us = duration_ms * 1000;
}

static enum batch_change change_of(uint32_t before, uint32_t after)
{
	CLEANUP(batch_result_fini) struct batch_result b = { 0 }, a = { 0 };
	CLEANUP(batch_comparison_fini) struct batch_comparison c = { 0 };

	if (before < BATCH_N_OUTCOMES)
		put(&b, 0, before, 1);
	if (after < BATCH_N_OUTCOMES)
		put(&a, 0, after, 1);
	batch_compare(&b, &a, &gates, &c);
	assert_true(c.n <= 1);
	return c.n ? c.differences[0].change : BATCH_N_CHANGES;
}

static void test_outcomes_each_pair_is_the_right_change(void **state UNUSED)
{
	static const struct {
		uint32_t before, after, want;
	} cases[] = {
		{ OUTCOME_PASS, OUTCOME_PASS, NONE },
		{ OUTCOME_PASS, OUTCOME_FAIL, BATCH_CHANGE_NEW_FAILURE },
		{ OUTCOME_PASS, OUTCOME_BOOT, BATCH_CHANGE_NEW_FAILURE },
		{ OUTCOME_SKIP, OUTCOME_PANIC, BATCH_CHANGE_NEW_FAILURE },
		{ OUTCOME_INFRA, OUTCOME_TIMEOUT, BATCH_CHANGE_NEW_FAILURE },
		{ OUTCOME_PASS, OUTCOME_SKIP, BATCH_CHANGE_NOT_MEASURED },
		{ OUTCOME_PASS, OUTCOME_INFRA, BATCH_CHANGE_NOT_MEASURED },
		{ OUTCOME_PASS, OUTCOME_INCONCLUSIVE, BATCH_CHANGE_NOT_MEASURED },
		{ OUTCOME_FAIL, BATCH_NOT_RUN, BATCH_CHANGE_NOT_MEASURED },
		{ OUTCOME_FAIL, OUTCOME_PASS, BATCH_CHANGE_FIXED },
		{ OUTCOME_STALL, OUTCOME_PASS, BATCH_CHANGE_FIXED },
		{ OUTCOME_FAIL, OUTCOME_PANIC, NONE },
		{ OUTCOME_SKIP, OUTCOME_PASS, NONE },
		{ OUTCOME_SKIP, OUTCOME_SKIP, NONE },
		{ BATCH_N_OUTCOMES, OUTCOME_PASS, BATCH_CHANGE_NEW },
		{ BATCH_N_OUTCOMES, OUTCOME_FAIL, BATCH_CHANGE_NEW_FAILURE },
		{ OUTCOME_PASS, BATCH_N_OUTCOMES, BATCH_CHANGE_MISSING },
		{ OUTCOME_FAIL, BATCH_N_OUTCOMES, BATCH_CHANGE_MISSING },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (change_of(cases[i].before, cases[i].after) != cases[i].want)
			fail_msg("case %zu", i);
}

static void test_durations_median_moves_only_beyond_both_gates(void **state UNUSED)
{
	static const struct {
		uint64_t before[5], after[5]; /* ms */
		uint32_t want;
	} cases[] = {
		{ { 1000, 1000, 1000, 1000, 9000 },
		  { 1101, 1101, 1101, 1, 1101 },
		  BATCH_CHANGE_SLOWER },
		{ { 1000, 1000, 1000, 1000, 1000 }, { 1100, 1100, 1100, 1100, 1100 }, NONE },
		{ { 10, 10, 10, 10, 10 }, { 90, 90, 90, 90, 90 }, NONE },
		{ { 5000, 5000, 5000, 5000, 5000 }, { 5400, 5400, 5400, 5400, 5400 }, NONE },
		{ { 5000, 5000, 5000, 5000, 5000 },
		  { 4000, 4000, 4000, 4000, 4000 },
		  BATCH_CHANGE_FASTER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(batch_result_fini) struct batch_result b = { 0 }, a = { 0 };
		CLEANUP(batch_comparison_fini) struct batch_comparison c = { 0 };
		for (uint32_t k = 0; k < 5; k++) {
			put(&b, k + 1, OUTCOME_PASS, cases[i].before[k]);
			put(&a, k + 1, OUTCOME_PASS, cases[i].after[k]);
		}
		batch_compare(&b, &a, &gates, &c);
		assert_int_equal(c.n ? c.differences[0].change : BATCH_N_CHANGES, cases[i].want);
		assert_int_equal(batch_comparison_exit_status(&c),
				 cases[i].want == BATCH_CHANGE_SLOWER ? 2 : 0);
	}
}

static void test_durations_of_failures_do_not_count(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b = { 0 }, a = { 0 };
	CLEANUP(batch_comparison_fini) struct batch_comparison c = { 0 };

	put(&b, 1, OUTCOME_PASS, 1000);
	put(&a, 1, OUTCOME_PASS, 1000);
	put(&a, 2, OUTCOME_TIMEOUT, 60000);
	batch_compare(&b, &a, &gates, &c);
	assert_int_equal(c.n, 1);
	assert_int_equal(c.differences[0].change, BATCH_CHANGE_NEW_FAILURE);
	assert_int_equal(c.differences[0].n_failed_after, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcomes_each_pair_is_the_right_change),
		cmocka_unit_test(test_durations_median_moves_only_beyond_both_gates),
		cmocka_unit_test(test_durations_of_failures_do_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
