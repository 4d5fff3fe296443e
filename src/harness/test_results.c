#include "harness/test_results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

/* The members of a record; texts but the name are the document's. */
struct record {
	size_t n;
	size_t depth;
	char *name; /* clean, its own */
	enum outcome outcome;
	const char *message;
	double duration_ms;
	double value;
	const char *unit;
	const char *better;
};

void test_results_init(struct test_results *r)
{
	*r = (struct test_results){ 0 };
	list_init(&r->tests);
}

/* -- the tree */

static struct list *siblings_of(const struct test_results *r, const struct test_result *t)
{
	return t->parent ? &t->parent->subtests : (struct list *)(uintptr_t)&r->tests;
}

static struct test_result *result_of(struct list *node)
{
	return container_of(node, struct test_result, node);
}

struct test_result *test_results_next(const struct test_results *r, const struct test_result *t)
{
	if (!t)
		return list_is_empty(&r->tests) ? NULL : result_of(r->tests.next);
	if (!list_is_empty(&t->subtests))
		return result_of(t->subtests.next);
	for (; t; t = t->parent)
		if (t->node.next != siblings_of(r, t))
			return result_of(t->node.next);
	return NULL;
}

static void free_result(struct test_result *t)
{
	struct list *node;

	while ((node = list_pop(&t->metrics))) {
		struct test_metric *m = container_of(node, struct test_metric, node);
		freep(&m->name);
		freep(&m->unit);
		freep(&m);
	}
	freep(&t->name);
	freep(&t->message);
	freep(&t);
}

void test_results_fini(struct test_results *r)
{
	struct list *node;

	while ((node = list_pop(&r->tests))) {
		struct test_result *t = result_of(node);
		list_move_all(&r->tests, &t->subtests);
		free_result(t);
	}
	memset(r->open, 0, sizeof(r->open));
}

struct test_result *test_results_open(struct test_results *r, struct test_result *parent,
				      const char *name)
{
	struct test_result *t = xcalloc(1, sizeof(*t));

	t->parent = parent;
	list_init(&t->subtests);
	list_init(&t->metrics);
	t->name = text_line(name, TEST_NAME_MAX - 1);
	list_add_tail(siblings_of(r, t), &t->node);
	return t;
}

void test_result_add_metric(struct test_result *t, const char *name, double value, const char *unit,
			    const char *better)
{
	struct test_metric *m = xcalloc(1, sizeof(*m));

	m->name = text_line(name, TEST_NAME_MAX - 1);
	m->unit = text_line(unit, TEST_NAME_MAX - 1);
	m->better = better;
	m->value = value;
	list_add_tail(&t->metrics, &m->node);
}

void test_result_close(struct test_result *t, enum outcome outcome, const char *message,
		       double duration_ms)
{
	freep(&t->message);
	t->has_outcome = true;
	t->outcome = outcome;
	t->message = text_head(message, strlen(message), TEST_RECORD_MAX);
	t->duration_ms = duration_ms > 0 ? duration_ms : 0;
}

/* -- records */

static void ignore(struct test_results *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void ignore(struct test_results *r, const char *fmt, ...)
{
	va_list ap;

	if (r->n_ignored++ > 0)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(r->why_ignored, sizeof(r->why_ignored), fmt, ap);
	va_end(ap);
}

/* Whether there is room for @rec; it is taken then. */
static bool take_room(struct test_results *r, const struct record *rec)
{
	if (rec->n > TEST_RESULTS_MAX - r->n_bytes) {
		ignore(r, "more than %d MiB of them", TEST_RESULTS_MAX >> 20);
		return false;
	}
	r->n_bytes += rec->n;
	return true;
}

static void close_from(struct test_results *r, size_t depth)
{
	for (; depth < TEST_DEPTH_MAX; depth++)
		r->open[depth] = NULL;
}

static void on_start(struct test_results *r, const struct record *rec)
{
	close_from(r, rec->depth);
	if (rec->depth > 0 && !r->open[rec->depth - 1])
		ignore(r, "subtest '%.80s' begins outside of a test", rec->name);
	else if (take_room(r, rec))
		r->open[rec->depth] = test_results_open(
		    r, rec->depth > 0 ? r->open[rec->depth - 1] : NULL, rec->name);
}

static void on_metric(struct test_results *r, const struct record *rec)
{
	struct test_result *t = r->open[rec->depth];

	if (!t) {
		ignore(r, "metric '%.80s' is of no test", rec->name);
		return;
	}
	if (take_room(r, rec))
		test_result_add_metric(t, rec->name, rec->value, rec->unit, rec->better);
}

static void on_end(struct test_results *r, const struct record *rec)
{
	struct test_result *t = r->open[rec->depth];

	/* Over COM2 there are results only. */
	if (!t && rec->depth == 0 && take_room(r, rec))
		t = test_results_open(r, NULL, rec->name);
	if (!t || strcmp(t->name, rec->name) != 0) {
		ignore(r, "the result of '%.80s' belongs to no test that runs", rec->name);
		return;
	}
	/* The outcome always has room: a verdict must not be lost to much text. */
	test_result_close(t, rec->outcome, take_room(r, rec) ? rec->message : "", rec->duration_ms);
	close_from(r, rec->depth);
}

bool test_result_parse_outcome(const char *text, enum outcome *ret)
{
	static const enum outcome known[] = { OUTCOME_PASS, OUTCOME_FAIL, OUTCOME_SKIP,
					      OUTCOME_INCONCLUSIVE };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(text, outcome_name(known[i])) == 0) {
			*ret = known[i];
			return true;
		}
	return false;
}

bool test_result_parse_better(const char *text, const char **ret)
{
	static const char *const known[] = { "higher", "lower", "neither" };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(text, known[i]) == 0) {
			*ret = known[i];
			return true;
		}
	return false;
}

/* What @type has besides the members of all. NULL: good; else what is wrong with it. */
static const char *parse_rest(json_t *doc, uint16_t type, struct record *rec)
{
	const char *word;

	if (type == FRAME_PAYLOAD_METRICS) {
		if (json_unpack(doc, "{s:F, s:s, s:s}", "value", &rec->value, "unit", &rec->unit,
				"better", &word) < 0)
			return "a metric without value, unit or better";
		return test_result_parse_better(word, &rec->better)
			   ? NULL
			   : "a metric with an unknown better";
	}
	if (type != FRAME_SCENARIO_END && type != FRAME_TEST_RESULT)
		return NULL;
	if (json_unpack(doc, "{s:s, s:s, s:F}", "outcome", &word, "message", &rec->message,
			"duration_ms", &rec->duration_ms) < 0)
		return "a result without outcome, message or duration_ms";
	if ((rec->depth == 0) != (type == FRAME_TEST_RESULT))
		return "a result with the depth of another";
	return test_result_parse_outcome(word, &rec->outcome) ? NULL
							      : "a result with an unknown outcome";
}

static const char *parse(json_t *doc, uint16_t type, struct record *rec)
{
	json_int_t version = 0, depth = 0;
	const char *name;

	if (json_unpack(doc, "{s:I, s:I, s:s}", "version", &version, "depth", &depth, "name",
			&name) < 0)
		return "no object with version, depth and name";
	if (version != TEST_PROTOCOL_VERSION)
		return "of another version than 1: libktstr and ktstr do not fit";
	if (depth < 0 || depth >= TEST_DEPTH_MAX)
		return "an impossible depth";
	if (!*name || strlen(name) >= TEST_NAME_MAX)
		return "an empty or too long name";
	rec->name = text_line(name, TEST_NAME_MAX - 1);
	rec->depth = (size_t)depth;
	return parse_rest(doc, type, rec);
}

static void dispatch(struct test_results *r, uint16_t type, const struct record *rec)
{
	switch (type) {
	case FRAME_SCENARIO_START:
		on_start(r, rec);
		break;
	case FRAME_PAYLOAD_METRICS:
		on_metric(r, rec);
		break;
	case FRAME_SCENARIO_END:
	case FRAME_TEST_RESULT:
		on_end(r, rec);
		break;
	default:
		break;
	}
}

void test_results_add(struct test_results *r, uint16_t type, const void *payload, size_t n)
{
	struct record rec = { .n = n };
	json_error_t error;

	if (type != FRAME_SCENARIO_START && type != FRAME_PAYLOAD_METRICS &&
	    type != FRAME_SCENARIO_END && type != FRAME_TEST_RESULT)
		return;
	if (n > TEST_RECORD_MAX) {
		ignore(r, "%zu bytes, above the limit of %d", n, TEST_RECORD_MAX);
		return;
	}
	json_t *doc = json_loadb(payload, n, JSON_REJECT_DUPLICATES, &error);
	const char *what = doc ? parse(doc, type, &rec) : error.text;
	if (what)
		ignore(r, "%s", what);
	else
		dispatch(r, type, &rec);
	freep(&rec.name);
	json_decref(doc);
}
