#include "harness/batch_tap.h"

#include <inttypes.h>
#include <string.h>

#include "harness/batch_details.h"

enum { INDENT = 4, LOG_LINES = 40 };

/* A description or a reason: one line, in which '#' and '\' mean themselves. */
static void add_words(struct buf *ret, const char *text)
{
	for (const char *p = text; *p && *p != '\n'; p++) {
		if (*p == '#' || *p == '\\')
			buf_append_str(ret, "\\");
		buf_append(ret, p, 1);
	}
}

/* One line in single quotes: YAML has no escapes in them, and simple readers of it take them. */
static void add_quoted(struct buf *ret, const char *text, size_t n)
{
	buf_append_str(ret, "'");
	for (const char *p = text; p < text + n; p++) {
		if (*p == '\'')
			buf_append_str(ret, "'");
		buf_append(ret, p, 1);
	}
	buf_append_str(ret, "'");
}

/*
 * The YAML block of a point. The details are a literal whose first line, the outcome, has no blank in front, because that
 * line says how far all are indented.
 */
static void add_yaml(struct buf *ret, int indent, const char *outcome, const char *why,
		     const char *rest)
{
	size_t cause = batch_details_cause(why);

	buf_printf(ret, "%*s  ---\n%*s  message: ", indent, "", indent, "");
	add_quoted(ret, why, cause);
	buf_printf(ret, "\n%*s  outcome: '%s'\n%*s  details: |\n%*s    %s: %.*s\n", indent, "",
		   outcome, indent, "", indent, "", outcome, (int)cause, why);
	while (*rest) {
		size_t n = strcspn(rest, "\n");
		buf_printf(ret, "%*s    %.*s\n", indent, "", (int)n, rest);
		rest += n + (rest[n] == '\n');
	}
	buf_printf(ret, "%*s  ...\n", indent, "");
}

/* "ok 3 - name # SKIP why"; with an outcome that is no verdict in front of the reason. */
static void add_point(struct buf *ret, int indent, uint32_t number, const char *name,
		      uint32_t outcome, const char *why)
{
	bool skipped =
	    outcome == OUTCOME_SKIP || outcome == OUTCOME_INCONCLUSIVE || outcome == BATCH_NOT_RUN;

	buf_printf(ret, "%*s%s %u - ", indent, "",
		   skipped || outcome == OUTCOME_PASS ? "ok" : "not ok", number);
	add_words(ret, name);
	if (skipped) {
		buf_append_str(ret, " # SKIP ");
		if (outcome != OUTCOME_SKIP)
			buf_printf(ret, "%s: ", batch_outcome_name(outcome));
		add_words(ret, why);
	}
	buf_append_str(ret, "\n");
}

/* -- what a test said of itself; the recursion ends at TEST_DEPTH_MAX */

static void add_subtests(struct buf *ret, int indent, const char *name,
			 const struct list *subtests);

/* NOLINTNEXTLINE(misc-no-recursion) */
static void add_subtest(struct buf *ret, int indent, uint32_t number, const struct test_result *r)
{
	const char *message = batch_text(r->message);

	add_subtests(ret, indent + INDENT, r->name, &r->subtests);
	if (!r->has_outcome)
		message = "came to no result";
	add_point(ret, indent, number, r->name, r->has_outcome ? r->outcome : OUTCOME_FAIL,
		  message);
	if (r->has_outcome && r->outcome == OUTCOME_PASS)
		return;
	size_t cause = batch_details_cause(message);
	add_yaml(ret, indent, batch_details_outcome(r), message,
		 message + cause + (message[cause] == '\n'));
}

/* NOLINTNEXTLINE(misc-no-recursion) */
static void add_subtests(struct buf *ret, int indent, const char *name, const struct list *subtests)
{
	struct list *node;
	uint32_t n = 0;

	list_for_each (node, subtests)
		n++;
	if (!n)
		return;
	buf_printf(ret, "%*s# Subtest: ", indent, "");
	add_words(ret, name);
	buf_printf(ret, "\n%*s1..%u\n", indent, "", n);
	n = 0;
	list_for_each (node, subtests)
		add_subtest(ret, indent, ++n, container_of(node, struct test_result, node));
}

/* -- the test */

/* The test itself is the point; a program that reported several tests has its first shown. */
static const struct list *subtests_of(const struct batch_test *t)
{
	static const struct list none = { (struct list *)(uintptr_t)&none,
					  (struct list *)(uintptr_t)&none };
	const struct test_result *r = test_results_next(&t->results, NULL);

	return r ? &r->subtests : &none;
}

static void add_diagnosis(struct buf *ret, const struct batch_test *t)
{
	CLEANUP(buf_fini) struct buf details = { 0 };

	batch_details_metrics(t, &details);
	if (t->outcome == OUTCOME_PASS && !details.len)
		return;
	if (t->outcome != OUTCOME_PASS)
		batch_details(t, LOG_LINES, &details);
	add_yaml(ret, 0, batch_outcome_name(t->outcome), batch_text(t->why), buf_str(&details));
}

void batch_tap_begin(uint32_t n_tests, struct buf *ret)
{
	buf_printf(ret, "TAP version 14\n1..%u\n", n_tests);
}

void batch_tap_test(uint32_t number, const struct batch_test *t, struct buf *ret)
{
	add_subtests(ret, INDENT, t->id, subtests_of(t));
	add_point(ret, 0, number, t->id, t->outcome, batch_text(t->why));
	add_diagnosis(ret, t);
}

void batch_tap_end(const struct batch_result *b, struct buf *ret)
{
	if (b->interrupted)
		buf_printf(ret, "Bail out! interrupted by signal %d\n", b->interrupted);
}

void batch_tap_write(const struct batch_result *b, struct buf *ret)
{
	batch_tap_begin((uint32_t)b->n_tests, ret);
	for (size_t i = 0; i < b->n_tests; i++)
		batch_tap_test((uint32_t)i + 1, b->tests[i], ret);
	batch_tap_end(b, ret);
}
