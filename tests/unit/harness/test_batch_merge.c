/* Documents into one batch: nothing is lost, nothing is counted twice. */
#include "harness/batch_merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void make(struct batch_result *b, const char *name, uint32_t shard, uint32_t n_shards)
{
	batch_result_init(b);
	b->shard = shard;
	b->n_shards = n_shards;
	batch_set_line(&b->release, "6.12");
	batch_result_add(b, "prog", name, 0)->outcome = OUTCOME_PASS;
}

static int add(struct batch_merge *m, const char *name, uint32_t shard, uint32_t n_shards,
	       struct error *err)
{
	CLEANUP(batch_result_fini) struct batch_result b = { 0 };

	make(&b, name, shard, n_shards);
	return batch_merge_add(m, &b, name, err);
}

static void test_merge_lost_shards_become_infra(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result all = { 0 };
	CLEANUP(batch_merge_fini) struct batch_merge m = { 0 };
	struct error err;

	batch_result_init(&all);
	batch_merge_init(&m, &all);
	assert_int_equal(add(&m, "c", 3, 4, &err), 0);
	assert_int_equal(add(&m, "a", 1, 4, &err), 0);
	batch_merge_finish(&m);
	assert_int_equal(all.n_tests, 4);
	assert_int_equal(all.n_shards, 0);
	assert_int_equal(batch_result_find(&all, "shard/2-of-4")->outcome, OUTCOME_INFRA);
	assert_int_equal(batch_result_find(&all, "shard/4-of-4")->outcome, OUTCOME_INFRA);
	struct batch_counts counts = batch_count(&all);
	assert_int_equal(batch_exit_status(&counts), BATCH_EXIT_INFRA);
}

static void test_merge_refuses_what_is_there(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result all = { 0 };
	CLEANUP(batch_merge_fini) struct batch_merge m = { 0 };
	struct error err;

	batch_result_init(&all);
	batch_merge_init(&m, &all);
	assert_int_equal(add(&m, "a", 0, 0, &err), 0);
	assert_true(add(&m, "a", 0, 0, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_true(add(&m, "b", 1, 2, &err) < 0);
	assert_int_equal(all.n_tests, 1);
	assert_int_equal(add(&m, "b", 0, 0, &err), 0);
	assert_int_equal(all.n_tests, 2);
}

static void test_merge_times_count_from_the_earliest_start(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result all = { 0 }, a = { 0 }, b = { 0 };
	CLEANUP(batch_merge_fini) struct batch_merge m = { 0 };
	struct error err;

	make(&a, "a", 0, 0);
	a.start_us = 5000;
	a.duration_us = 100;
	a.tests[0]->begin_us = 10;
	make(&b, "b", 0, 0);
	b.start_us = 4000;
	b.duration_us = 300;
	b.tests[0]->begin_us = 20;
	batch_result_init(&all);
	batch_merge_init(&m, &all);
	assert_int_equal(batch_merge_add(&m, &a, "a", &err), 0);
	assert_int_equal(batch_merge_add(&m, &b, "b", &err), 0);
	assert_int_equal(all.start_us, 4000);
	assert_int_equal(all.duration_us, 1100);
	assert_int_equal(all.tests[0]->begin_us, 1010);
	assert_int_equal(all.tests[1]->begin_us, 20);
	assert_int_equal(a.n_tests + b.n_tests, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge_lost_shards_become_infra),
		cmocka_unit_test(test_merge_refuses_what_is_there),
		cmocka_unit_test(test_merge_times_count_from_the_earliest_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
