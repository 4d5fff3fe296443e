/*
 * What a hostile guest can make of the tree of test results. An input is a row of records: mostly
 * built from small choices, so that they nest and match, some of raw bytes.
 *
 * Properties: every parent is open or was; the walk meets each result once and ends; outcomes are
 * those that a test can have; the tree is no larger than its records; its JSON can be written.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "harness/test_results.h"

enum { RECORDS_MAX = 2000 };

static const uint16_t types[] = { FRAME_SCENARIO_START, FRAME_PAYLOAD_METRICS, FRAME_SCENARIO_END,
				  FRAME_TEST_RESULT };

/* A member as a good program writes it, or as one that does not. */
static void add_member(struct buf *b, struct fuzz_input *in, const char *key,
		       const char *const values[4])
{
	uint8_t choice = fuzz_u8(in);

	if (choice < 250)
		buf_printf(b, ",\"%s\":%s", key, values[choice % 4]);
}

static void build(struct buf *b, struct fuzz_input *in)
{
	static const char *const depths[] = { "0", "1", "2", "7" };
	static const char *const names[] = { "\"a\"", "\"b\"", "\"gr\xc3\xbcn\"", "7" };
	static const char *const outcomes[] = { "\"PASS\"", "\"FAIL\"", "\"SKIP\"",
						"\"INCONCLUSIVE\"" };
	static const char *const values[] = { "0", "1.5", "-1e300", "\"x\"" };
	static const char *const units[] = { "\"\"", "\"us\"", "\"\\u0001\"", "null" };
	static const char *const betters[] = { "\"higher\"", "\"lower\"", "\"neither\"", "\"x\"" };

	buf_append_str(b, "{\"version\":1");
	add_member(b, in, "depth", depths);
	add_member(b, in, "name", names);
	add_member(b, in, "outcome", outcomes);
	add_member(b, in, "message", units);
	add_member(b, in, "duration_ms", values);
	add_member(b, in, "value", values);
	add_member(b, in, "unit", units);
	add_member(b, in, "better", betters);
	buf_append_str(b, "}");
}

static void add_record(struct test_results *r, struct fuzz_input *in)
{
	struct buf b = { 0 };
	uint8_t choice = fuzz_u8(in);

	if (choice < 230) {
		build(&b, in);
	} else {
		uint8_t bytes[256];
		size_t n = fuzz_u8(in);
		buf_append(&b, bytes, fuzz_take(in, bytes, n));
	}
	test_results_add(r, types[choice % 4], b.data, b.len);
	buf_fini(&b);
}

static size_t count_outcomes(const struct test_results *r)
{
	size_t n = 0;

	for (struct test_result *t = NULL; (t = test_results_next(r, t)); n++) {
		FUZZ_CHECK(n <= RECORDS_MAX);
		FUZZ_CHECK(t->name && (t->has_outcome == (t->message != NULL)));
		FUZZ_CHECK(t->outcome <= OUTCOME_INCONCLUSIVE);
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .p = data, .n = size };
	struct test_results r;
	size_t n = 0;

	test_results_init(&r);
	for (; in.n && n < RECORDS_MAX; n++)
		add_record(&r, &in);
	FUZZ_CHECK(count_outcomes(&r) + r.n_ignored <= n);
	json_t *doc = test_results_json(&r);
	char *text = json_dumps(doc, 0);
	FUZZ_CHECK(text);
	free(text);
	json_decref(doc);
	test_results_fini(&r);
	return 0;
}
