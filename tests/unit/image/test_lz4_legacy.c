#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/lz4_legacy.h"
#include "scratch.h"
#include "unpack_model.h"

enum content { ZEROS, COUNTING, NOISE };

static void fill(struct buf *b, size_t n, enum content content)
{
	uint64_t x = 88172645463325252ull;
	uint8_t *p = buf_reserve(b, n + 1);

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = content == ZEROS ? 0 : content == COUNTING ? (uint8_t)(i >> 8) : (uint8_t)x;
	}
	b->len += n;
}

/* In writes of @chunk bytes. */
static void compress(const struct buf *in, size_t chunk, uint64_t align, struct buf *ret)
{
	struct lz4_legacy z;
	struct error err;
	size_t before = ret->len;

	assert_int_equal(lz4_legacy_init(&z, -1, ret, &err), 0);
	for (size_t i = 0; i < in->len; i += chunk) {
		size_t n = in->len - i < chunk ? in->len - i : chunk;
		assert_int_equal(lz4_legacy_write(&z, in->data + i, n, &err), 0);
	}
	assert_int_equal(lz4_legacy_finish(&z, align, &err), 0);
	assert_int_equal(z.len, ret->len - before);
	lz4_legacy_fini(&z);
}

static void assert_same(const struct buf *a, const struct buf *b)
{
	assert_int_equal(a->len, b->len);
	assert_int_equal(a->len ? memcmp(a->data, b->data, a->len) : 0, 0);
}

static void test_roundtrip_all_sizes_and_contents_gives_input(void **state)
{
	static const size_t sizes[] = { 0, 1, 4095, 65537, 8 << 20, (8 << 20) + 1, (16 << 20) + 5 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (int c = ZEROS; c <= NOISE; c++) {
			CLEANUP(buf_fini) struct buf in = { 0 };
			CLEANUP(buf_fini) struct buf packed = { 0 };
			CLEANUP(buf_fini) struct buf out = { 0 };
			fill(&in, sizes[i], (enum content)c);
			compress(&in, 1 << 20, 4, &packed);
			if (sizes[i])
				assert_true(unpack_model_decode(packed.data, packed.len, &out));
			assert_same(&in, &out);
		}
	}
}

static void test_write_any_chunking_gives_same_stream(void **state)
{
	CLEANUP(buf_fini) struct buf in = { 0 };
	CLEANUP(buf_fini) struct buf whole = { 0 };
	CLEANUP(buf_fini) struct buf pieces = { 0 };

	fill(&in, (8 << 20) + 4711, COUNTING);
	compress(&in, in.len, 4, &whole);
	compress(&in, 1009, 4, &pieces);
	assert_same(&whole, &pieces);
}

static void test_finish_pads_with_at_least_four_zeros_to_alignment(void **state)
{
	for (size_t n = 1; n < 70; n++) {
		CLEANUP(buf_fini) struct buf in = { 0 };
		CLEANUP(buf_fini) struct buf packed = { 0 };
		fill(&in, n, NOISE);
		compress(&in, n, 4096, &packed);
		assert_int_equal(packed.len % 4096, 0);
		static const uint8_t zeros[4];
		assert_memory_equal(packed.data + packed.len - 4, zeros, 4);
	}
}

static void test_two_streams_in_a_row_unpack_as_one(void **state)
{
	CLEANUP(buf_fini) struct buf first = { 0 };
	CLEANUP(buf_fini) struct buf second = { 0 };
	CLEANUP(buf_fini) struct buf packed = { 0 };
	CLEANUP(buf_fini) struct buf out = { 0 };

	fill(&first, (8 << 20) + 100, NOISE);
	fill(&second, 321, COUNTING);
	compress(&first, 1 << 20, 4096, &packed);
	compress(&second, 1 << 20, 4, &packed);
	assert_true(unpack_model_decode(packed.data, packed.len, &out));
	buf_append(&first, second.data, second.len);
	assert_same(&first, &out);
}

static void test_lz4_tool_reads_stream(void **state)
{
	struct scratch s;
	CLEANUP(buf_fini) struct buf in = { 0 };
	struct lz4_legacy z;
	struct error err;

	scratch_init(&s);
	scratch_need(&s, "lz4");
	CLEANUP(freep) char *raw = scratch_file(&s, "raw", "", 0644);
	CLEANUP(freep) char *packed = scratch_file(&s, "packed.lz4", "", 0644);
	fill(&in, (8 << 20) + 77, NOISE);
	fill(&in, 5 << 20, COUNTING);
	int fd = open(raw, O_WRONLY | O_CLOEXEC);
	assert_int_equal(fd_write_all(fd, in.data, in.len), 0);
	fd_closep(&fd);
	fd = open(packed, O_WRONLY | O_CLOEXEC);
	assert_int_equal(lz4_legacy_init(&z, fd, NULL, &err), 0);
	assert_int_equal(lz4_legacy_write(&z, in.data, in.len, &err), 0);
	assert_int_equal(lz4_legacy_finish(&z, 4, &err), 0);
	lz4_legacy_fini(&z);
	fd_closep(&fd);
	assert_int_equal(scratch_run(&s, "lz4 -dc packed.lz4 2>lz4.log | cmp - raw"), 0);
	scratch_fini(&s);
}

static void test_write_full_disk_reports_error(void **state)
{
	struct lz4_legacy z = { 0 };
	struct error err = { 0 };
	CLEANUP(fd_closep) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(lz4_legacy_init(&z, fd, NULL, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "No space left"));
	lz4_legacy_fini(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_roundtrip_all_sizes_and_contents_gives_input),
		cmocka_unit_test(test_write_any_chunking_gives_same_stream),
		cmocka_unit_test(test_finish_pads_with_at_least_four_zeros_to_alignment),
		cmocka_unit_test(test_two_streams_in_a_row_unpack_as_one),
		cmocka_unit_test(test_lz4_tool_reads_stream),
		cmocka_unit_test(test_write_full_disk_reports_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
