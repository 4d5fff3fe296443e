#include "harness/batch_junit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "harness/batch_details.h"
#include "harness/batch_json.h"

enum { LOG_LINES = 200 };

/* Clean text (base/text.h) has only characters that XML has, so that escaping is all. */
static void add_escaped(struct buf *ret, const char *text, size_t n)
{
	for (const char *p = text; p < text + n; p++)
		switch (*p) {
		case '&':
			buf_append_str(ret, "&amp;");
			break;
		case '<':
			buf_append_str(ret, "&lt;");
			break;
		case '>': /* "]]>" */
			buf_append_str(ret, "&gt;");
			break;
		case '"':
			buf_append_str(ret, "&quot;");
			break;
		default:
			buf_append(ret, p, 1);
		}
}

static void add_attribute_n(struct buf *ret, const char *name, const char *value, size_t n)
{
	buf_printf(ret, " %s=\"", name);
	add_escaped(ret, value, n);
	buf_append_str(ret, "\"");
}

static void add_attribute(struct buf *ret, const char *name, const char *value)
{
	add_attribute_n(ret, name, value, strlen(value));
}

static void add_seconds(struct buf *ret, uint64_t us)
{
	buf_printf(ret, " time=\"%" PRIu64 ".%06" PRIu64 "\"", us / 1000000, us % 1000000);
}

/* The element that tells of an outcome; NULL: none, a pass. */
static const char *element_of(uint32_t outcome)
{
	switch (outcome) {
	case OUTCOME_PASS:
		return NULL;
	case OUTCOME_FAIL:
	case OUTCOME_PANIC:
	case OUTCOME_STALL:
	case OUTCOME_TIMEOUT:
	case OUTCOME_BOOT:
		return "failure";
	case OUTCOME_INFRA:
		return "error";
	default:
		return "skipped";
	}
}

static void add_verdict(struct buf *ret, const struct batch_test *t)
{
	CLEANUP(buf_fini) struct buf body = { 0 };
	const char *element = element_of(t->outcome), *outcome = batch_outcome_name(t->outcome);
	const char *why = batch_text(t->why);

	if (!element)
		return;
	/* The outcome is in the message as well: type is not shown everywhere, and skipped has none. */
	buf_printf(&body, "%s: %.*s", outcome, (int)batch_details_cause(why), why);
	buf_printf(ret, "      <%s", element);
	add_attribute(ret, "message", buf_str(&body));
	if (strcmp(element, "skipped") == 0) {
		buf_append_str(ret, "/>\n");
		return;
	}
	add_attribute(ret, "type", outcome);
	buf_append_str(ret, ">");
	buf_append_str(&body, "\n");
	batch_details(t, LOG_LINES, &body);
	add_escaped(ret, (const char *)body.data, body.len);
	buf_printf(ret, "</%s>\n", element);
}

static void add_output(struct buf *ret, const struct batch_test *t)
{
	CLEANUP(buf_fini) struct buf body = { 0 };

	batch_details_metrics(t, &body);
	if (element_of(t->outcome) == NULL || t->outcome == OUTCOME_SKIP ||
	    t->outcome == OUTCOME_INCONCLUSIVE)
		batch_details(t, 0, &body);
	if (!body.len)
		return;
	buf_append_str(ret, "      <system-out>");
	add_escaped(ret, (const char *)body.data, body.len);
	buf_append_str(ret, "</system-out>\n");
}

/* "prog" and "name#2" of "prog/name#2". */
static void add_case(struct buf *ret, const struct batch_test *t)
{
	const char *slash = strchr(t->id, '/');
	size_t n_class = slash ? (size_t)(slash - t->id) : 0;

	buf_append_str(ret, "    <testcase");
	add_attribute_n(ret, "classname", t->id, n_class);
	add_attribute(ret, "name", slash ? slash + 1 : t->id);
	add_seconds(ret, t->duration_us);
	buf_append_str(ret, ">\n");
	add_verdict(ret, t);
	add_output(ret, t);
	buf_append_str(ret, "    </testcase>\n");
}

static void add_property(struct buf *ret, const char *name, const char *value)
{
	buf_append_str(ret, "      <property");
	add_attribute(ret, "name", name);
	add_attribute(ret, "value", batch_text(value));
	buf_append_str(ret, "/>\n");
}

static void add_properties(struct buf *ret, const struct batch_result *b)
{
	char text[64];

	buf_append_str(ret, "    <properties>\n");
	add_property(ret, "ktstr", b->version);
	add_property(ret, "host", b->host);
	add_property(ret, "kernel", b->kernel);
	add_property(ret, "release", b->release);
	(void)snprintf(text, sizeof(text), "%" PRIu64, b->seed);
	add_property(ret, "seed", text);
	if (b->n_shards) {
		(void)snprintf(text, sizeof(text), "%u/%u", b->shard, b->n_shards);
		add_property(ret, "shard", text);
	}
	if (b->interrupted) {
		(void)snprintf(text, sizeof(text), "signal %d", b->interrupted);
		add_property(ret, "interrupted", text);
	}
	buf_append_str(ret, "    </properties>\n");
}

static void add_counts(struct buf *ret, const struct batch_result *b)
{
	const struct batch_counts c = batch_count(b);
	const uint32_t *n = c.n;

	buf_printf(ret, " tests=\"%u\" failures=\"%u\" errors=\"%u\" skipped=\"%u\"", c.n_tests,
		   n[OUTCOME_FAIL] + n[OUTCOME_PANIC] + n[OUTCOME_STALL] + n[OUTCOME_TIMEOUT] +
		       n[OUTCOME_BOOT],
		   n[OUTCOME_INFRA], n[OUTCOME_SKIP] + n[OUTCOME_INCONCLUSIVE] + n[BATCH_NOT_RUN]);
	add_seconds(ret, b->duration_us);
}

void batch_junit_write(const struct batch_result *b, struct buf *ret)
{
	char start[BATCH_TIME_MAX];

	batch_time_format(b->start_us, start);
	*strchr(start, '.') = 0; /* Jenkins knows neither fractions nor the Z */
	buf_append_str(ret,
		       "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"ktstr\"");
	add_counts(ret, b);
	buf_append_str(ret, ">\n  <testsuite name=\"ktstr\"");
	add_counts(ret, b);
	add_attribute(ret, "timestamp", start);
	buf_append_str(ret, ">\n");
	add_properties(ret, b);
	for (size_t i = 0; i < b->n_tests; i++)
		add_case(ret, b->tests[i]);
	buf_append_str(ret, "  </testsuite>\n</testsuites>\n");
}
