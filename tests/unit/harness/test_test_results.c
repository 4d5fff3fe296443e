/* Records into a tree: what a good guest says is all there, what a bad one says changes nothing. */
#include "harness/test_results.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static int setup(void **state)
{
	struct test_results *r = xcalloc(1, sizeof(*r));

	test_results_init(r);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct test_results *r = *state;

	test_results_fini(r);
	test_results_fini(r);
	free(r);
	return 0;
}

static void add(struct test_results *r, enum frame_type type, const char *text)
{
	test_results_add(r, (uint16_t)type, text, strlen(text));
}

static void start(struct test_results *r, int depth, const char *name)
{
	CLEANUP(freep)
	char *text = xasprintf("{\"version\":1,\"depth\":%d,\"name\":\"%s\"}", depth, name);

	add(r, FRAME_SCENARIO_START, text);
}

static void metric(struct test_results *r, int depth, const char *name, const char *value)
{
	CLEANUP(freep)
	char *text = xasprintf("{\"version\":1,\"depth\":%d,\"name\":\"%s\",\"value\":%s,"
			       "\"unit\":\"us\",\"better\":\"lower\"}",
			       depth, name, value);

	add(r, FRAME_PAYLOAD_METRICS, text);
}

static void end(struct test_results *r, int depth, const char *name, const char *outcome)
{
	CLEANUP(freep)
	char *text = xasprintf("{\"version\":1,\"depth\":%d,\"name\":\"%s\",\"outcome\":\"%s\","
			       "\"message\":\"why\",\"duration_ms\":1.5}",
			       depth, name, outcome);

	add(r, depth > 0 ? FRAME_SCENARIO_END : FRAME_TEST_RESULT, text);
}

/* "name=OUTCOME" of all, in order, "?" for none, indented by depth. */
static char *tree(const struct test_results *r)
{
	struct buf text = { 0 };

	for (struct test_result *t = NULL; (t = test_results_next(r, t));) {
		for (const struct test_result *p = t->parent; p; p = p->parent)
			buf_append_str(&text, ">");
		buf_printf(&text, "%s=%s ", t->name,
			   t->has_outcome ? outcome_name(t->outcome) : "?");
	}
	(void)buf_str(&text);
	return (char *)text.data;
}

static void expect_tree(const struct test_results *r, const char *wanted)
{
	CLEANUP(freep) char *got = tree(r);

	assert_string_equal(got, wanted);
}

static void test_good_records_become_a_tree(void **state)
{
	struct test_results *r = *state;

	start(r, 0, "a");
	start(r, 1, "x");
	start(r, 2, "deep");
	metric(r, 2, "m", "2.5");
	end(r, 2, "deep", "SKIP");
	end(r, 1, "x", "PASS");
	metric(r, 0, "n", "3");
	start(r, 1, "y");
	end(r, 1, "y", "INCONCLUSIVE");
	end(r, 0, "a", "FAIL");
	start(r, 0, "b");
	end(r, 0, "b", "PASS");
	expect_tree(r, "a=FAIL >x=PASS >>deep=SKIP >y=INCONCLUSIVE b=PASS ");
	assert_int_equal(r->n_ignored, 0);
	json_t *doc = test_results_json(r);
	json_t *wanted = json_pack(
	    "[{s:s,s:s,s:s,s:f,s:[{s:s,s:f,s:s,s:s}],s:["
	    "{s:s,s:s,s:s,s:f,s:[],s:[{s:s,s:s,s:s,s:f,s:[{s:s,s:f,s:s,s:s}],s:[]}]},"
	    "{s:s,s:s,s:s,s:f,s:[],s:[]}]},{s:s,s:s,s:s,s:f,s:[],s:[]}]",
	    "name", "a", "outcome", "FAIL", "message", "why", "duration_ms", 1.5, "metrics", "name",
	    "n", "value", 3.0, "unit", "us", "better", "lower", "subtests", "name", "x", "outcome",
	    "PASS", "message", "why", "duration_ms", 1.5, "metrics", "subtests", "name", "deep",
	    "outcome", "SKIP", "message", "why", "duration_ms", 1.5, "metrics", "name", "m",
	    "value", 2.5, "unit", "us", "better", "lower", "subtests", "name", "y", "outcome",
	    "INCONCLUSIVE", "message", "why", "duration_ms", 1.5, "metrics", "subtests", "name",
	    "b", "outcome", "PASS", "message", "why", "duration_ms", 1.5, "metrics", "subtests");
	assert_non_null(wanted);
	if (!json_equal(doc, wanted))
		fail_msg("%s", json_dumps(doc, JSON_INDENT(1)));
	json_decref(doc);
	json_decref(wanted);
}

static void test_test_that_died_has_no_outcome(void **state)
{
	struct test_results *r = *state;

	start(r, 0, "dies");
	start(r, 1, "sub");
	start(r, 2, "deep");
	start(r, 0, "next"); /* of another program in the same guest */
	end(r, 0, "next", "PASS");
	expect_tree(r, "dies=? >sub=? >>deep=? next=PASS ");
	json_t *doc = test_results_json(r);
	assert_true(json_is_null(json_object_get(json_array_get(doc, 0), "outcome")));
	json_decref(doc);
	assert_int_equal(r->n_ignored, 0);
}

static void test_result_ends_what_is_open_below_it(void **state)
{
	struct test_results *r = *state;

	start(r, 0, "a");
	start(r, 1, "sub");
	end(r, 0, "a", "FAIL"); /* exit() inside of a subtest */
	end(r, 1, "sub", "PASS");
	expect_tree(r, "a=FAIL >sub=? ");
	assert_int_equal(r->n_ignored, 1);
}

static void test_result_alone_stands_for_its_test(void **state)
{
	struct test_results *r = *state;

	end(r, 0, "over-com2", "PASS");
	expect_tree(r, "over-com2=PASS ");
	assert_int_equal(r->n_ignored, 0);
}

static void test_result_is_never_given_to_another_test(void **state)
{
	struct test_results *r = *state;

	start(r, 0, "a");
	end(r, 0, "b", "PASS");
	start(r, 1, "sub");
	end(r, 1, "bus", "PASS");
	expect_tree(r, "a=? >sub=? ");
	assert_int_equal(r->n_ignored, 2);
	assert_non_null(strstr(r->why_ignored, "'b'"));
}

static void test_records_without_a_place_are_ignored(void **state)
{
	struct test_results *r = *state;

	start(r, 1, "sub");
	metric(r, 0, "m", "1");
	end(r, 1, "sub", "PASS");
	start(r, 0, "a");
	start(r, 2, "too-deep");
	metric(r, 3, "m", "1");
	expect_tree(r, "a=? ");
	assert_int_equal(r->n_ignored, 5);
}

#define HEAD "\"version\":1,\"depth\":0,\"name\":\"a\""

static void test_malformed_records_change_nothing(void **state)
{
	static const struct {
		enum frame_type type;
		const char *text;
	} cases[] = {
		{ FRAME_SCENARIO_START, "" },
		{ FRAME_SCENARIO_START, "{" },
		{ FRAME_SCENARIO_START, "[]" },
		{ FRAME_SCENARIO_START, "\"text\"" },
		{ FRAME_SCENARIO_START, "{" HEAD "} and more" },
		{ FRAME_SCENARIO_START, "{\"version\":2,\"depth\":0,\"name\":\"b\"}" },
		{ FRAME_SCENARIO_START, "{\"version\":4294967297,\"depth\":0,\"name\":\"b\"}" },
		{ FRAME_SCENARIO_START, "{\"version\":1,\"depth\":8,\"name\":\"b\"}" },
		{ FRAME_SCENARIO_START, "{\"version\":1,\"depth\":-1,\"name\":\"b\"}" },
		{ FRAME_SCENARIO_START, "{\"version\":1,\"depth\":4294967296,\"name\":\"b\"}" },
		{ FRAME_SCENARIO_START, "{\"version\":1,\"depth\":0,\"name\":\"\"}" },
		{ FRAME_SCENARIO_START, "{\"version\":1,\"depth\":0,\"name\":7}" },
		{ FRAME_SCENARIO_START, "{\"version\":1,\"depth\":0,\"name\":\"b\\u0000c\"}" },
		{ FRAME_SCENARIO_START, "{\"version\":1,\"depth\":0,\"name\":\"b\xff\"}" },
		{ FRAME_SCENARIO_START, "{" HEAD ",\"name\":\"b\"}" },
		{ FRAME_PAYLOAD_METRICS, "{" HEAD "}" },
		{ FRAME_PAYLOAD_METRICS,
		  "{" HEAD ",\"value\":\"1\",\"unit\":\"\",\"better\":\"lower\"}" },
		{ FRAME_PAYLOAD_METRICS,
		  "{" HEAD ",\"value\":1e999,\"unit\":\"\",\"better\":\"lower\"}" },
		{ FRAME_PAYLOAD_METRICS,
		  "{" HEAD ",\"value\":NaN,\"unit\":\"\",\"better\":\"lower\"}" },
		{ FRAME_PAYLOAD_METRICS,
		  "{" HEAD ",\"value\":1,\"unit\":\"\",\"better\":\"best\"}" },
		{ FRAME_TEST_RESULT, "{" HEAD "}" },
		{ FRAME_TEST_RESULT,
		  "{" HEAD ",\"outcome\":\"PASSED\",\"message\":\"\",\"duration_ms\":1}" },
		{ FRAME_TEST_RESULT,
		  "{" HEAD ",\"outcome\":\"PANIC\",\"message\":\"\",\"duration_ms\":1}" },
		{ FRAME_TEST_RESULT,
		  "{" HEAD ",\"outcome\":0,\"message\":\"\",\"duration_ms\":1}" },
		{ FRAME_SCENARIO_END,
		  "{" HEAD ",\"outcome\":\"PASS\",\"message\":\"\",\"duration_ms\":1}" },
	};
	struct test_results *r = *state;

	start(r, 0, "a");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		add(r, cases[i].type, cases[i].text);
		if (r->n_ignored != i + 1)
			fail_msg("taken: %s", cases[i].text);
	}
	expect_tree(r, "a=? ");
	end(r, 0, "a", "PASS");
	expect_tree(r, "a=PASS ");
}

static void test_unknown_members_are_of_a_newer_library(void **state)
{
	struct test_results *r = *state;

	add(r, FRAME_SCENARIO_START, "{" HEAD ",\"new\":{\"a\":[1,2]}}");
	expect_tree(r, "a=? ");
	assert_int_equal(r->n_ignored, 0);
}

static void test_frames_of_other_types_are_nothing(void **state)
{
	struct test_results *r = *state;

	add(r, FRAME_STDOUT, "{" HEAD "}");
	add(r, FRAME_RAW_PAYLOAD_OUTPUT, "bytes");
	add(r, FRAME_EXIT, "");
	expect_tree(r, "");
	assert_int_equal(r->n_ignored, 0);
}

static void test_flood_is_bounded_and_the_outcome_still_counts(void **state)
{
	struct test_results *r = *state;
	size_t n_kept = 0;

	start(r, 0, "a");
	for (int i = 0; i < 100000; i++)
		metric(r, 0, "m", "1");
	end(r, 0, "a", "FAIL");
	expect_tree(r, "a=FAIL ");
	struct test_result *a = test_results_next(r, NULL);
	for (struct list *node; (node = a->metrics.next) != &a->metrics && n_kept < 100000;
	     n_kept++) {
		struct test_metric *m = container_of(node, struct test_metric, node);
		list_remove(node);
		free(m->name);
		free(m->unit);
		free(m);
	}
	assert_in_range(n_kept, TEST_RESULTS_MAX / 100, TEST_RESULTS_MAX / 50);
	assert_in_range(r->n_ignored, 100000 - n_kept, 100000 - n_kept + 3);
	assert_non_null(strstr(r->why_ignored, "4 MiB"));
}

static void test_oversize_record_is_ignored(void **state)
{
	struct test_results *r = *state;
	struct buf text = { 0 };

	buf_append_str(&text, "{" HEAD ",\"fill\":\"");
	while (text.len < TEST_RECORD_MAX)
		buf_append_str(&text, "0123456789");
	buf_append_str(&text, "\"}");
	test_results_add(r, FRAME_SCENARIO_START, text.data, text.len);
	assert_int_equal(r->n_ignored, 1);
	expect_tree(r, "");
	buf_fini(&text);
}

#define WITH_RESULTS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RESULTS(test_good_records_become_a_tree),
		WITH_RESULTS(test_test_that_died_has_no_outcome),
		WITH_RESULTS(test_result_ends_what_is_open_below_it),
		WITH_RESULTS(test_result_alone_stands_for_its_test),
		WITH_RESULTS(test_result_is_never_given_to_another_test),
		WITH_RESULTS(test_records_without_a_place_are_ignored),
		WITH_RESULTS(test_malformed_records_change_nothing),
		WITH_RESULTS(test_unknown_members_are_of_a_newer_library),
		WITH_RESULTS(test_frames_of_other_types_are_nothing),
		WITH_RESULTS(test_flood_is_bounded_and_the_outcome_still_counts),
		WITH_RESULTS(test_oversize_record_is_ignored),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
