/* The model of a batch: ids, bounds, and the one rule of the exit status. */
#include "harness/batch_result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/text.h"

static void test_ids_of_namesakes_differ(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b;

	batch_result_init(&b);
	assert_string_equal(batch_result_add(&b, "/a/prog", "x/y", 0)->id, "prog/x/y");
	assert_string_equal(batch_result_add(&b, "/b/prog", "x/y", 0)->id, "prog/x/y~2");
	assert_string_equal(batch_result_add(&b, "prog", "x/y", 3)->id, "prog/x/y#3");
	assert_string_equal(batch_result_add(&b, "prog", "x/y#3", 0)->id, "prog/x/y#3~2");
	assert_string_equal(batch_result_find(&b, "prog/x/y#3")->name, "x/y");
	assert_null(batch_result_find(&b, "prog/x"));
	CLEANUP(freep) char *series = batch_test_series(b.tests[2]);
	assert_string_equal(series, "prog/x/y");
	CLEANUP(freep) char *whole = batch_test_series(b.tests[3]);
	assert_string_equal(whole, "prog/x/y#3~2");
	assert_int_equal(b.tests[0]->outcome, BATCH_NOT_RUN);
}

static void test_hostile_texts_are_clean_and_bounded(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b;
	CLEANUP(buf_fini) struct buf noise = { 0 };

	for (int i = 0; i < 3000000; i++)
		buf_append(&noise, "\xff\x1b", 2);
	(void)buf_str(&noise);
	batch_result_init(&b);
	struct batch_test *t = batch_result_add(&b, (char *)noise.data, (char *)noise.data, 1);
	batch_set_why(&t->why, noise.data, noise.len);
	batch_set_text(&t->evidence.panic, noise.data, noise.len);
	batch_set_tail(&t->evidence.log_tail, noise.data, noise.len);
	for (int i = 0; i < 100; i++) {
		batch_test_add_note(t, (char *)noise.data, noise.len);
		batch_test_add_attempt(t, (char *)noise.data, noise.len, 1);
		batch_test_add_phase(t, PHASE_INIT, 0, true);
	}
	assert_true(strlen(t->id) <= BATCH_ID_MAX && strlen(t->program) <= BATCH_ID_MAX);
	assert_true(strlen(t->name) <= BATCH_LINE_MAX && strlen(t->why) <= BATCH_WHY_MAX);
	assert_true(strlen(t->evidence.panic) <= BATCH_TEXT_MAX);
	assert_true(strlen(t->evidence.log_tail) <= BATCH_TEXT_MAX);
	assert_true(text_is_clean(t->id, strlen(t->id)) && text_is_clean(t->why, strlen(t->why)));
	assert_int_equal(t->evidence.n_notes, BATCH_NOTES_MAX);
	assert_string_equal(t->evidence.notes[BATCH_NOTES_MAX - 1], "and more notes than are kept");
	assert_int_equal(t->n_attempts, BATCH_ATTEMPTS_MAX);
	assert_int_equal(t->evidence.n_phases, BATCH_PHASES_MAX);
}

static void test_phases_are_in_order_of_time(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b;

	batch_result_init(&b);
	struct batch_test *t = batch_result_add(&b, "p", "t", 0);
	batch_test_add_phase(t, PHASE_VERDICT, 30, false);
	batch_test_add_phase(t, PHASE_START, 10, false);
	batch_test_add_phase(t, PHASE_INIT, 20, true);
	assert_int_equal(t->evidence.phases[0].phase, PHASE_START);
	assert_int_equal(t->evidence.phases[1].phase, PHASE_INIT);
	assert_int_equal(t->evidence.phases[2].phase, PHASE_VERDICT);
}

static void test_stats_lines_become_counters(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b;
	const char *text = "exits.io 12\nnonsense\nexits.mmio 18446744073709551615\n";

	batch_result_init(&b);
	struct batch_test *t = batch_result_add(&b, "p", "t", 0);
	batch_test_add_stats(t, text, strlen(text));
	assert_int_equal(t->resources.n_counters, 2);
	assert_string_equal(t->resources.counters[0].name, "exits.io");
	assert_int_equal(t->resources.counters[0].value, 12);
	assert_int_equal(t->resources.counters[1].value, INT64_MAX);
}

/* What it was kept from is by vCPU, and takes no place of a counter; sums and times are counters. */
static void test_interference_is_by_vcpu(void **state UNUSED)
{
	static const char text[] =
	    "vcpu0.run_us 5\nvcpu1.run_delay_us 7\nvcpu1.involuntary_switches 3\n"
	    "vcpus.run_delay_us 7\nvcpu5000.run_delay_us 1\nvcpux.run_delay_us 1\n";
	CLEANUP(batch_result_fini) struct batch_result b;

	batch_result_init(&b);
	struct batch_test *t = batch_result_add(&b, "p", "t", 0);
	batch_test_add_stats(t, text, strlen(text));
	assert_int_equal(t->resources.n_vcpus, 2);
	assert_int_equal(t->resources.vcpus[0].run_delay_us, 0);
	assert_int_equal(t->resources.vcpus[1].run_delay_us, 7);
	assert_int_equal(t->resources.vcpus[1].involuntary_switches, 3);
	assert_int_equal(t->resources.n_counters, 3);
	assert_string_equal(t->resources.counters[0].name, "vcpu0.run_us");
	assert_string_equal(t->resources.counters[1].name, "vcpus.run_delay_us");
}

static void test_vcpus_grow_by_index_to_their_bound(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b;

	batch_result_init(&b);
	struct batch_test *t = batch_result_add(&b, "p", "t", 0);
	batch_test_vcpu(t, 3)->run_delay_us = 7;
	assert_int_equal(t->resources.n_vcpus, 4);
	assert_int_equal(t->resources.vcpus[0].run_delay_us, 0);
	assert_int_equal(batch_test_vcpu(t, 3)->run_delay_us, 7);
	assert_null(batch_test_vcpu(t, BATCH_VCPUS_MAX));
}

static void test_outcome_names_are_read_back(void **state UNUSED)
{
	uint32_t outcome;

	for (uint32_t i = 0; i < BATCH_N_OUTCOMES; i++) {
		assert_true(batch_outcome_parse(batch_outcome_name(i), &outcome));
		assert_int_equal(outcome, i);
	}
	assert_false(batch_outcome_parse("pass", &outcome));
	assert_false(batch_outcome_parse("?", &outcome));
	assert_false(batch_outcome_parse(NULL, &outcome));
}

static enum batch_exit exit_of(const char *outcomes)
{
	static const char letters[] = "PFSIKLTBXN"; /* by outcome */
	struct batch_counts c = { 0 };

	for (; *outcomes; outcomes++) {
		c.n[strchr(letters, *outcomes) - letters]++;
		c.n_tests++;
	}
	return batch_exit_status(&c);
}

static void test_exit_status_worst_outcome_decides(void **state UNUSED)
{
	static const struct {
		const char *outcomes;
		enum batch_exit want;
	} cases[] = {
		{ "", BATCH_EXIT_NOTHING },       { "S", BATCH_EXIT_NOTHING },
		{ "N", BATCH_EXIT_NOTHING },      { "P", BATCH_EXIT_PASS },
		{ "PS", BATCH_EXIT_PASS },        { "F", BATCH_EXIT_FAIL },
		{ "PK", BATCH_EXIT_FAIL },        { "PL", BATCH_EXIT_FAIL },
		{ "PT", BATCH_EXIT_FAIL },        { "PB", BATCH_EXIT_FAIL },
		{ "PX", BATCH_EXIT_INFRA },       { "X", BATCH_EXIT_INFRA },
		{ "XF", BATCH_EXIT_FAIL },        { "PI", BATCH_EXIT_INCONCLUSIVE },
		{ "I", BATCH_EXIT_INCONCLUSIVE }, { "SI", BATCH_EXIT_INCONCLUSIVE },
		{ "XI", BATCH_EXIT_INFRA },       { "PN", BATCH_EXIT_INCONCLUSIVE },
		{ "FN", BATCH_EXIT_FAIL },        { "SN", BATCH_EXIT_INCONCLUSIVE },
		{ "XN", BATCH_EXIT_INFRA },       { "PFSIKLTBXN", BATCH_EXIT_FAIL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(exit_of(cases[i].outcomes), cases[i].want);
}

static void test_counts_tell_outcomes_and_retries(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b;

	batch_result_init(&b);
	batch_result_add(&b, "p", "a", 0)->outcome = OUTCOME_PASS;
	struct batch_test *t = batch_result_add(&b, "p", "b", 0);
	t->outcome = OUTCOME_PASS;
	batch_test_add_attempt(t, "kvm", 3, 5);
	assert_non_null(batch_result_add(&b, "p", "c", 0));
	struct batch_counts c = batch_count(&b);
	assert_int_equal(c.n_tests, 3);
	assert_int_equal(c.n[OUTCOME_PASS], 2);
	assert_int_equal(c.n[BATCH_NOT_RUN], 1);
	assert_int_equal(c.n_retried, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids_of_namesakes_differ),
		cmocka_unit_test(test_hostile_texts_are_clean_and_bounded),
		cmocka_unit_test(test_phases_are_in_order_of_time),
		cmocka_unit_test(test_stats_lines_become_counters),
		cmocka_unit_test(test_interference_is_by_vcpu),
		cmocka_unit_test(test_vcpus_grow_by_index_to_their_bound),
		cmocka_unit_test(test_outcome_names_are_read_back),
		cmocka_unit_test(test_exit_status_worst_outcome_decides),
		cmocka_unit_test(test_counts_tell_outcomes_and_retries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
