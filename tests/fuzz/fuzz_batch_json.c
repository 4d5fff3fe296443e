/*
 * What a hostile document does to `ktstr report`. An input is a document as it is, or (first byte 0xff) a seed of a
 * random batch, whose document is then patched: offset, bytes.
 *
 * Properties: a document that is read is written, read back, and the same; all other writers yield clean text; merged
 * with another it is an error or has all tests of both; compared with itself no outcome differs.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "base/text.h"
#include "harness/batch_compare.h"
#include "harness/batch_json.h"
#include "harness/batch_junit.h"
#include "harness/batch_merge.h"
#include "harness/batch_tap.h"
#include "support/random_batch.h"

static void make_document(struct fuzz_input *in, struct buf *ret)
{
	CLEANUP(batch_result_fini) struct batch_result b = { 0 };

	if (!in->n || in->p[0] != 0xff) {
		buf_append(ret, in->p, in->n);
		return;
	}
	(void)fuzz_u8(in);
	batch_result_init(&b);
	random_batch(&b, fuzz_u16(in), 3);
	batch_json_write(&b, ret);
	while (in->n) {
		uint8_t bytes[16];
		size_t at = fuzz_u32(in) % ret->len, n = fuzz_u8(in) % sizeof(bytes);
		fuzz_take(in, bytes, n);
		memcpy(ret->data + at, bytes, n < ret->len - at ? n : ret->len - at);
	}
}

static void check_writers(const struct batch_result *b)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	const struct batch_summary_style style = { .width = 40 };

	batch_junit_write(b, &text);
	batch_tap_write(b, &text);
	batch_summary_write(b, &style, &text);
	FUZZ_CHECK(text_is_clean(text.data, text.len));
}

static void check_comparison(const struct batch_result *b)
{
	CLEANUP(batch_comparison_fini) struct batch_comparison c = { 0 };
	const struct batch_compare_gates gates = { 0 };

	batch_compare(b, b, &gates, &c);
	FUZZ_CHECK(c.n == 0);
}

static void check_merge(struct batch_result *a, struct batch_result *b)
{
	CLEANUP(batch_result_fini) struct batch_result into;
	CLEANUP(batch_merge_fini) struct batch_merge m;
	struct error err;
	size_t n = a->n_tests + b->n_tests;

	batch_result_init(&into);
	batch_merge_init(&m, &into);
	if (batch_merge_add(&m, a, "a", &err) == 0 && batch_merge_add(&m, b, "b", &err) == 0)
		FUZZ_CHECK(into.n_tests == n);
	check_writers(&into);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(batch_result_fini) struct batch_result a, b;
	CLEANUP(buf_fini) struct buf text = { 0 };
	CLEANUP(buf_fini) struct buf again = { 0 };
	struct fuzz_input in = { .p = data, .n = size };
	struct error err;

	batch_result_init(&a);
	batch_result_init(&b);
	make_document(&in, &text);
	if (batch_json_read(&a, text.data, text.len, &err) < 0) {
		FUZZ_CHECK(err.class == ERROR_USAGE && *err.text);
		return 0;
	}
	batch_json_write(&a, &again);
	FUZZ_CHECK(batch_json_read(&b, again.data, again.len, &err) == 0);
	FUZZ_CHECK(batch_difference(&a, &b) == NULL);
	check_writers(&a);
	check_comparison(&a);
	check_merge(&a, &b);
	return 0;
}
