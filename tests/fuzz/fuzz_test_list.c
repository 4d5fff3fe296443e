/*
 * What a hostile test program can make of its list. An input is raw bytes behind a good header, or lines built from small
 * choices.
 *
 * Properties: an error has a text of one line and leaves nothing behind; a list has as many tests as it promised, with names
 * that are fit and differ.
 */
#include "fuzz.h"

#include <string.h>

#include "base/buf.h"
#include "harness/test_list.h"

enum { LINES_MAX = 200 };

static void add_line(struct buf *b, struct fuzz_input *in)
{
	static const char *const values[] = { "\"a\"", "\"b/c\"", "1",  "true",
					      "-1",    "[]",      "{}", "\"\\u0000\"" };
	static const char *const keys[] = { "name",       "name",    "name",    "topology",
					    "memory_mib", "cpu_cap", "disk_fs", "perf" };
	size_t n = 1 + fuzz_u8(in) % 3;

	buf_append_str(b, "{");
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "%s\"%s\":%s", i ? "," : "", keys[fuzz_u8(in) % ARRAY_SIZE(keys)],
			   values[fuzz_u8(in) % ARRAY_SIZE(values)]);
	buf_append_str(b, "}");
	buf_append_str(b, fuzz_u8(in) == 7 ? "" : "\n");
}

static void add_named_line(struct buf *b, struct fuzz_input *in)
{
	buf_printf(b, "{\"name\":\"t%u\",\"timeout_s\":%u}\n", fuzz_u8(in) | fuzz_u8(in) << 8,
		   fuzz_u8(in));
}

static void check(const struct test_list *l, size_t promised)
{
	FUZZ_CHECK(l->n == promised);
	for (size_t i = 0; i < l->n; i++) {
		FUZZ_CHECK(test_list_is_name(l->tests[i].name));
		for (size_t k = 0; k < i; k++)
			FUZZ_CHECK(strcmp(l->tests[i].name, l->tests[k].name) != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct test_list l = { 0 };
	struct buf b = { 0 };
	struct error err;
	uint8_t kind = fuzz_u8(&in);
	size_t promised = fuzz_u8(&in) % LINES_MAX;
	uint8_t bytes[1024];

	if (kind % 4)
		buf_printf(&b, "{\"ktstr_list\":1,\"n_tests\":%zu}\n", promised);
	if (kind % 4 < 2)
		buf_append(&b, bytes, fuzz_take(&in, bytes, sizeof(bytes)));
	else
		for (size_t i = 0; i < promised; i++)
			kind % 4 == 2 ? add_line(&b, &in) : add_named_line(&b, &in);
	(void)buf_str(&b);
	if (test_list_parse((const char *)b.data, b.len, &l, &err) == 0) {
		if (kind % 4)
			check(&l, promised);
	} else {
		FUZZ_CHECK(err.code < 0 && err.text[0] && !l.tests);
	}
	test_list_fini(&l);
	buf_fini(&b);
	return 0;
}
