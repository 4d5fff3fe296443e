/* The "tests" of docs/run-json.md. */
#include "harness/test_results.h"

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
