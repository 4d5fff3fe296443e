/* The "tests" of docs/run-json.md, written and read. */
#include "harness/test_results.h"

#include <errno.h>

static json_t *json_metrics(const struct test_result *t)
{
	json_t *list = json_array();
	struct list *node;

	list_for_each (node, &t->metrics) {
		const struct test_metric *m = container_of(node, struct test_metric, node);
		json_array_append_new(list,
				      json_pack("{s:s, s:f, s:s, s:s}", "name", m->name, "value",
						m->value, "unit", m->unit, "better", m->better));
	}
	return list;
}

/* Without an outcome it is null: whoever reads it must not take a test that died for anything else. */
static json_t *json_result(const struct test_result *t, json_t *subtests)
{
	return json_pack("{s:s, s:s?, s:s, s:f, s:o, s:o}", "name", t->name, "outcome",
			 t->has_outcome ? outcome_name(t->outcome) : NULL, "message",
			 t->message ? t->message : "", "duration_ms", t->duration_ms, "metrics",
			 json_metrics(t), "subtests", subtests);
}

static size_t depth_of(const struct test_result *t)
{
	size_t depth = 0;

	for (; t->parent; t = t->parent)
		depth++;
	return depth;
}

json_t *test_results_json(const struct test_results *r)
{
	/* [d] is the array that a result of depth d goes to. */
	json_t *lists[TEST_DEPTH_MAX + 1] = { json_array() };

	for (struct test_result *t = NULL; (t = test_results_next(r, t));) {
		size_t depth = depth_of(t);
		lists[depth + 1] = json_array();
		json_array_append_new(lists[depth], json_result(t, lists[depth + 1]));
	}
	return lists[0];
}

/* -- and back */

static int wrong(struct error *err, const char *what)
{
	return error_set_usage(err, -EINVAL, "a test's result has no good '%s'", what);
}

static int read_metrics(struct test_result *t, const json_t *array, struct error *err)
{
	size_t i;
	json_t *item;

	if (!json_is_array(array))
		return wrong(err, "metrics");
	json_array_foreach (array, i, item) {
		const char *name, *unit, *word, *better;
		double value;
		if (json_unpack(item, "{s:s, s:F, s:s, s:s}", "name", &name, "value", &value,
				"unit", &unit, "better", &word) < 0 ||
		    !test_result_parse_better(word, &better))
			return wrong(err, "metrics");
		test_result_add_metric(t, name, value, unit, better);
	}
	return 0;
}

static int read_level(struct test_results *r, struct test_result *parent, size_t depth,
		      const json_t *array, struct error *err);

/* NOLINTNEXTLINE(misc-no-recursion) */
static int read_result(struct test_results *r, struct test_result *parent, size_t depth,
		       json_t *item, struct error *err)
{
	const char *name, *message;
	json_t *word, *metrics, *subtests;
	enum outcome outcome = OUTCOME_PASS;
	double duration_ms;

	if (json_unpack(item, "{s:s, s:o, s:s, s:F, s:o, s:o}", "name", &name, "outcome", &word,
			"message", &message, "duration_ms", &duration_ms, "metrics", &metrics,
			"subtests", &subtests) < 0)
		return wrong(err, "name, outcome, message, duration_ms, metrics and subtests");
	bool has_outcome = !json_is_null(word);
	if (has_outcome &&
	    !(json_is_string(word) && test_result_parse_outcome(json_string_value(word), &outcome)))
		return wrong(err, "outcome");
	struct test_result *t = test_results_open(r, parent, name);
	if (has_outcome)
		test_result_close(t, outcome, message, duration_ms);
	int res = read_metrics(t, metrics, err);
	return res < 0 ? res : read_level(r, t, depth + 1, subtests, err);
}

/* The recursion ends at TEST_DEPTH_MAX. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static int read_level(struct test_results *r, struct test_result *parent, size_t depth,
		      const json_t *array, struct error *err)
{
	size_t i;
	json_t *item;

	if (!json_is_array(array) || (depth == TEST_DEPTH_MAX && json_array_size(array) > 0))
		return wrong(err, "subtests");
	json_array_foreach (array, i, item)
		if (read_result(r, parent, depth, item, err) < 0)
			return err->code;
	return 0;
}

int test_results_read_json(struct test_results *r, const json_t *array, struct error *err)
{
	return read_level(r, NULL, 0, array, err);
}
