#include "image/decompress.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "kernel_maker.h"

static const enum compression all[] = { COMPRESSION_GZIP, COMPRESSION_BZIP2, COMPRESSION_LZMA,
					COMPRESSION_XZ,   COMPRESSION_LZ4,   COMPRESSION_ZSTD };

struct collect {
	struct decompress_out out;
	struct buf got;
	int fail_with;
};

static int collect_write(struct decompress_out *out, const uint8_t *data, size_t n,
			 struct error *err)
{
	struct collect *c = container_of(out, struct collect, out);

	if (c->fail_with)
		return error_set(err, c->fail_with, "sink");
	buf_append(&c->got, data, n);
	return 0;
}

static int run(enum compression compression, const struct buf *in, size_t n, struct collect *c,
	       struct error *err)
{
	c->out.write = collect_write;
	if (!c->out.limit)
		c->out.limit = 1 << 30;
	return decompress(compression, in->data, n, &c->out, err);
}

static void test_decompress_every_format_gives_the_input(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_fini) struct buf in = { 0 };
		CLEANUP(buf_fini) struct buf packed = { 0 };
		struct collect c = { 0 };
		struct error err;
		maker_elf(&in);
		maker_compress(all[i], &in, &packed);
		assert_int_equal(compression_detect(packed.data, packed.len), all[i]);
		assert_int_equal(run(all[i], &packed, packed.len, &c, &err), 0);
		assert_int_equal(c.out.len, in.len);
		assert_int_equal(c.got.len, in.len);
		assert_memory_equal(c.got.data, in.data, in.len);
		buf_fini(&c.got);
	}
}

/* More than one lz4 block, and more than one output buffer of every other. */
static void test_decompress_large_input_crosses_blocks(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_fini) struct buf in = { 0 };
		CLEANUP(buf_fini) struct buf packed = { 0 };
		buf_append_zeros(&in, all[i] == COMPRESSION_LZ4 ? 9 << 20 : 600 << 10);
		for (size_t k = 0; k < in.len; k += 512)
			in.data[k] = (uint8_t)(k >> 9);
		struct collect c = { 0 };
		struct error err;
		maker_compress(all[i], &in, &packed);
		assert_int_equal(run(all[i], &packed, packed.len, &c, &err), 0);
		assert_int_equal(c.got.len, in.len);
		assert_memory_equal(c.got.data, in.data, in.len);
		buf_fini(&c.got);
	}
}

static void test_decompress_cut_input_is_an_error(void **state)
{
	CLEANUP(buf_fini) struct buf in = { 0 };

	maker_elf(&in);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_fini) struct buf packed = { 0 };
		maker_compress(all[i], &in, &packed);
		const size_t cuts[] = { 5, 6, 20, packed.len / 2, packed.len - 1 };
		for (size_t k = 0; k < ARRAY_SIZE(cuts); k++) {
			struct collect c = { 0 };
			struct error err = { 0 };
			assert_int_equal(run(all[i], &packed, cuts[k], &c, &err), -EBADMSG);
			assert_int_equal(err.class, ERROR_USAGE);
			assert_non_null(strstr(err.text, compression_name(all[i])));
			buf_fini(&c.got);
		}
	}
}

static void test_decompress_damaged_input_never_gives_the_input(void **state)
{
	CLEANUP(buf_fini) struct buf in = { 0 };

	maker_elf(&in);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_fini) struct buf packed = { 0 };
		struct collect c = { 0 };
		struct error err;
		maker_compress(all[i], &in, &packed);
		for (size_t at = packed.len / 2; at < packed.len / 2 + 64; at++)
			packed.data[at] ^= 0x5a;
		int r = run(all[i], &packed, packed.len, &c, &err);
		assert_true(r == -EBADMSG || c.got.len != in.len ||
			    memcmp(c.got.data, in.data, in.len) != 0);
		buf_fini(&c.got);
	}
}

static void test_decompress_bomb_stops_at_the_limit(void **state)
{
	CLEANUP(buf_fini) struct buf in = { 0 };

	buf_append_zeros(&in, 2 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_fini) struct buf packed = { 0 };
		struct collect c = { .out.limit = 1 << 20 };
		struct error err;
		maker_compress(all[i], &in, &packed);
		assert_int_equal(run(all[i], &packed, packed.len, &c, &err), -EFBIG);
		assert_non_null(strstr(err.text, "beyond 1 MiB"));
		assert_true(c.got.len <= 1 << 20);
		buf_fini(&c.got);
	}
}

static void test_decompress_sink_failure_ends_the_work(void **state)
{
	CLEANUP(buf_fini) struct buf in = { 0 };

	maker_elf(&in);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_fini) struct buf packed = { 0 };
		struct collect c = { .fail_with = ENOSPC };
		struct error err;
		maker_compress(all[i], &in, &packed);
		assert_int_equal(run(all[i], &packed, packed.len, &c, &err), -ENOSPC);
	}
}

static void test_detect_short_or_foreign_data_is_none(void **state)
{
	const uint8_t gzip[] = { 0x1f, 0x8b, 0x08, 0, 0, 0 };
	const uint8_t lzo[] = { 0x89, 'L', 'Z', 'O', 0, 0x0d };

	assert_int_equal(compression_detect(gzip, 6), COMPRESSION_GZIP);
	assert_int_equal(compression_detect(gzip, 5), COMPRESSION_NONE);
	assert_int_equal(compression_detect(lzo, 6), COMPRESSION_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decompress_every_format_gives_the_input),
		cmocka_unit_test(test_decompress_large_input_crosses_blocks),
		cmocka_unit_test(test_decompress_cut_input_is_an_error),
		cmocka_unit_test(test_decompress_damaged_input_never_gives_the_input),
		cmocka_unit_test(test_decompress_bomb_stops_at_the_limit),
		cmocka_unit_test(test_decompress_sink_failure_ends_the_work),
		cmocka_unit_test(test_detect_short_or_foreign_data_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
