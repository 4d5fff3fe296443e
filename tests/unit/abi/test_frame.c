/* Checksums, header layout and limits, names. */
#include "abi/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_header(const struct frame_header *h, const struct frame_header *want)
{
	assert_int_equal(h->type, want->type);
	assert_int_equal(h->flags, want->flags);
	assert_int_equal(h->sequence, want->sequence);
	assert_int_equal(h->length, want->length);
	assert_int_equal(h->payload_crc, want->payload_crc);
}

/* Sums of other implementations: zlib's crc32 over the same bytes. */
static void test_crc32_known_inputs_known_sums(void **state UNUSED)
{
	assert_int_equal(frame_crc32(0, "", 0), 0);
	assert_int_equal(frame_crc32(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(frame_crc32(0, "The quick brown fox jumps over the lazy dog", 43),
			 0x414fa339);
	uint8_t zero[64] = { 0 };
	assert_int_equal(frame_crc32(0, zero, 64), 0x758d6336);
}

static uint32_t crc_bit_by_bit(const uint8_t *p, size_t n)
{
	uint32_t crc = 0xffffffffu;
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int b = 0; b < 8; b++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
	}
	return ~crc;
}

static void test_crc32_any_length_and_split_equals_definition(void **state UNUSED)
{
	uint8_t data[300];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 167 + (i >> 3));
	for (size_t n = 0; n <= sizeof(data); n++) {
		uint32_t want = crc_bit_by_bit(data, n);
		assert_int_equal(frame_crc32(0, data, n), want);
		size_t cut = n / 3;
		assert_int_equal(frame_crc32(frame_crc32(0, data, cut), data + cut, n - cut), want);
	}
}

/* The layout is a contract with other programs: spelled here once in bytes. */
static void test_header_encode_known_header_is_the_documented_bytes(void **state UNUSED)
{
	const struct frame_header h = { .type = 0x1213,
					.flags = 0x41424344,
					.sequence = 0x2122232425262728,
					.length = 0x00343536,
					.payload_crc = 0x51525354 };
	static const uint8_t want[28] = {
		'K',  'T',  'S',  '1',  1,    0,    0x13, 0x12, 0x28, 0x27, 0x26, 0x25, 0x24, 0x23,
		0x22, 0x21, 0x36, 0x35, 0x34, 0x00, 0x54, 0x53, 0x52, 0x51, 0x44, 0x43, 0x42, 0x41,
	};
	uint8_t out[FRAME_HEADER_SIZE];
	frame_header_encode(&h, out);
	assert_memory_equal(out, want, sizeof(want));
	uint32_t crc = crc_bit_by_bit(want, sizeof(want));
	assert_memory_equal(out + 28, &crc, 4);
	struct frame_header back;
	assert_true(frame_header_decode(out, &back));
	check_header(&back, &h);
}

static void test_header_length_limits_exact(void **state UNUSED)
{
	uint8_t out[FRAME_HEADER_SIZE];
	struct frame_header h = { .type = FRAME_STDOUT, .length = FRAME_PAYLOAD_MAX }, back;
	frame_header_encode(&h, out);
	assert_true(frame_header_decode(out, &back));
	h.length++;
	frame_header_encode(&h, out);
	assert_false(frame_header_decode(out, &back));
	uint8_t *payload = calloc(1, FRAME_PAYLOAD_MAX);
	assert_non_null(payload);
	assert_true(frame_encode_header_for(1, 0, payload, FRAME_PAYLOAD_MAX, out));
	assert_false(frame_encode_header_for(1, 0, payload, FRAME_PAYLOAD_MAX + 1, out));
	free(payload);
}

static void test_names_unknown_values_are_not_an_error(void **state UNUSED)
{
	assert_null(frame_type_name(0));
	assert_null(frame_type_name(0xffff));
	assert_string_equal(frame_phase_name(PHASE_COMMAND), "command");
	assert_string_equal(frame_phase_name(9999), "?");
	assert_string_equal(outcome_name(OUTCOME_STALL), "STALL");
	assert_string_equal(outcome_name(77), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32_known_inputs_known_sums),
		cmocka_unit_test(test_crc32_any_length_and_split_equals_definition),
		cmocka_unit_test(test_header_encode_known_header_is_the_documented_bytes),
		cmocka_unit_test(test_header_length_limits_exact),
		cmocka_unit_test(test_names_unknown_values_are_not_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
