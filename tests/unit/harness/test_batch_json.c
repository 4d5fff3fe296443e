/* The document of a batch: what is written is read back as it was; what is not a document is refused with a reason. */
#include "harness/batch_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/random_batch.h"

static int read_back(struct batch_result *b, const char *text, struct error *err)
{
	batch_result_init(b);
	return batch_json_read(b, text, strlen(text), err);
}

static void test_round_trip_any_batch_comes_back_as_it_was(void **state UNUSED)
{
	for (uint64_t seed = 0; seed < 500; seed++) {
		CLEANUP(batch_result_fini) struct batch_result a, b;
		CLEANUP(buf_fini) struct buf text = { 0 };
		struct error err = { 0 };
		batch_result_init(&a);
		random_batch(&a, seed, 6);
		batch_json_write(&a, &text);
		if (read_back(&b, buf_str(&text), &err) < 0)
			fail_msg("seed %d: %s", (int)seed, err.text);
		const char *difference = batch_difference(&a, &b);
		if (difference)
			fail_msg("seed %d: %s differs", (int)seed, difference);
	}
}

static void test_write_hostile_numbers_yield_a_document(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result a, b;
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct error err;

	batch_result_init(&a);
	a.overcommit = __builtin_nan("");
	a.start_us = UINT64_MAX;
	struct batch_test *t = batch_result_add(&a, "p", "t", 0);
	t->begin_us = UINT64_MAX;
	t->evidence.last_phase = 12345;
	t->evidence.has_exit = true;
	t->evidence.exit.kind = 77;
	t->resources.overcommit = __builtin_inf();
	batch_json_write(&a, &text);
	assert_int_equal(read_back(&b, buf_str(&text), &err), 0);
	assert_int_equal(b.tests[0]->begin_us, INT64_MAX);
	assert_string_equal(frame_phase_name(b.tests[0]->evidence.last_phase), "?");
}

/* A good document whose first @from is @to. */
static char *changed(const char *from, const char *to)
{
	CLEANUP(batch_result_fini) struct batch_result a;
	CLEANUP(buf_fini) struct buf text = { 0 };

	batch_result_init(&a);
	struct batch_test *t = batch_result_add(&a, "prog", "one", 0);
	t->outcome = OUTCOME_FAIL;
	batch_test_add_note(t, "note", 4);
	batch_test_add_phase(t, PHASE_INIT, 1, true);
	struct test_result *r = test_results_open(&t->results, NULL, "one");
	test_result_add_metric(r, "latency", 1.5, "us", "lower");
	assert_non_null(batch_result_add(&a, "prog", "two", 0));
	batch_json_write(&a, &text);
	const char *at = strstr(buf_str(&text), from);
	assert_non_null(at);
	return xasprintf("%.*s%s%s", (int)(at - (char *)text.data), (char *)text.data, to,
			 at + strlen(from));
}

static void test_read_wrong_documents_name_what_is_wrong(void **state UNUSED)
{
	static const struct {
		const char *from, *to, *want;
	} cases[] = {
		{ "\"version\": 1", "\"version\": 2", "'version' is not 1" },
		{ "\"ktstr-batch\"", "\"other\"", "'format'" },
		{ "\"host\": \"\"", "\"host\": 7", "'host' is no text" },
		{ "\"host\": \"\",", "", "'host' is missing" },
		{ "\"jobs\": 0", "\"jobs\": -1", "'jobs' is no integer in its range" },
		{ "\"jobs\": 0", "\"jobs\": 4294967296", "'jobs'" },
		{ "\"jobs\": 0", "\"jobs\": 99999999999999999999", "no JSON: line" },
		{ "\"seed\": \"0\"", "\"seed\": \"-1\"", "'seed'" },
		{ "\"seed\": \"0\"", "\"seed\": 5", "'seed' is no text" },
		{ "1970-01-01", "1970-13-01", "'start'" },
		{ "1970-01-01", "1970-02-30", "'start'" },
		{ "\"shard\": null", "\"shard\": {\"index\": 3, \"count\": 2}", "'shard'" },
		{ "\"interrupted\": 0", "\"interrupted\": 65", "'interrupted'" },
		{ "\"FAIL\": 1", "\"FAIL\": 0", "'counts' is not what its tests are" },
		{ "\"prog/one\"", "\"prog/two\"", "'id' is there twice" },
		{ "\"prog/one\"", "\"\"", "'id' is empty" },
		{ "\"outcome\": \"FAIL\"", "\"outcome\": \"fail\"",
		  "test 'prog/one': 'outcome' is unknown" },
		{ "\"outcome\": \"FAIL\", ", "", "test 'prog/one': 'outcome' is missing" },
		{ "\"perf\": false", "\"perf\": 0", "'perf' is neither" },
		{ "\"notes\": [\"note\"]", "\"notes\": [1]", "'notes' is no array of texts" },
		{ "\"notes\": [\"note\"]", "\"notes\": {}", "'notes' is no array" },
		{ "\"side\": \"guest\"", "\"side\": \"moon\"", "'side' is neither" },
		{ "\"timeline\": [{", "\"timeline\": [7, {", "is missing" },
		{ "\"exit\": null", "\"exit\": {\"kind\": \"status\", \"value\": 4294967296}",
		  "'value'" },
		{ "\"exit\": null", "\"exit\": 7", "'value' is missing" },
		{ "\"counters\": {}", "\"counters\": {\"a\": -1}", "'counters'" },
		{ "\"counters\": {}", "\"counters\": []", "'counters' is no object" },
		{ "\"better\": \"lower\"", "\"better\": \"x\"", "'tests'" },
		{ "\"subtests\": []", "\"subtests\": [1]", "'tests'" },
		{ "\"value\": 1.5", "\"value\": 1e999", "no JSON: line" },
		{ "\"host\": \"\"", "\"host\": \"\\u0000\"", "no JSON: line" },
		{ "\"host\": \"\"", "\"host\": \"\", \"host\": \"\"", "no JSON: line" },
		{ "\"host\": \"\"", "\"host\": \"\xff\"", "no JSON: line" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(batch_result_fini) struct batch_result b;
		CLEANUP(freep) char *text = changed(cases[i].from, cases[i].to);
		struct error err = { 0 };
		if (read_back(&b, text, &err) == 0 || !strstr(err.text, cases[i].want))
			fail_msg("%s for %s: '%s'", cases[i].to, cases[i].from, err.text);
		assert_int_equal(err.class, ERROR_USAGE);
	}
}

static void test_read_cut_documents_are_refused(void **state UNUSED)
{
	CLEANUP(freep) char *text = changed("FAIL", "FAIL");

	for (size_t n = strlen(text) - 2; n > 0; n -= n > 50 ? 41 : 1) {
		CLEANUP(batch_result_fini) struct batch_result b;
		struct error err;
		batch_result_init(&b);
		assert_true(batch_json_read(&b, text, n, &err) < 0);
	}
}

static void test_read_unknown_members_are_for_newer_versions(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b;
	CLEANUP(freep)
	char *text = changed("\"host\": \"\"", "\"host\": \"h\", \"new\": {\"x\": [1]}");
	struct error err;

	assert_int_equal(read_back(&b, text, &err), 0);
	assert_string_equal(b.host, "h");
}

static void test_read_deep_results_are_refused(void **state UNUSED)
{
	CLEANUP(buf_fini) struct buf deep = { 0 };
	CLEANUP(batch_result_fini) struct batch_result b;
	const char *open = "{\"name\":\"a\",\"outcome\":null,\"message\":\"\",\"duration_ms\":0,"
			   "\"metrics\":[],\"subtests\":[";
	struct error err;

	buf_append_str(&deep, "\"subtests\": [");
	for (int i = 0; i < 8; i++)
		buf_append_str(&deep, open);
	for (int i = 0; i < 8; i++)
		buf_append_str(&deep, "]}");
	buf_append_str(&deep, "]");
	CLEANUP(freep) char *text = changed("\"subtests\": []", buf_str(&deep));
	assert_true(read_back(&b, text, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip_any_batch_comes_back_as_it_was),
		cmocka_unit_test(test_write_hostile_numbers_yield_a_document),
		cmocka_unit_test(test_read_wrong_documents_name_what_is_wrong),
		cmocka_unit_test(test_read_cut_documents_are_refused),
		cmocka_unit_test(test_read_unknown_members_are_for_newer_versions),
		cmocka_unit_test(test_read_deep_results_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
