/*
 * CRC-32 of IEEE 802.3 (reflected, polynomial 0xEDB88320), eight bytes per step ("slicing by 8"):
 * slice k of the table holds what a byte contributes that is followed by k more bytes. A CRC is
 * linear in its input's bits, so each slice is spelled by the contributions of its eight single
 * bits and the preprocessor writes the other 248 entries: a const table, without a generator and
 * without 2,048 literals to trust.
 */
#include "abi/frame.h"

#include <assert.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames and CRC loads are little-endian");

#define BIT(i, b, v) ((((i) >> (b)) & 1) ? (v) : 0u)
#define ENTRY(i, b0, b1, b2, b3, b4, b5, b6, b7)                                                   \
	(BIT(i, 0, b0) ^ BIT(i, 1, b1) ^ BIT(i, 2, b2) ^ BIT(i, 3, b3) ^ BIT(i, 4, b4) ^           \
	 BIT(i, 5, b5) ^ BIT(i, 6, b6) ^ BIT(i, 7, b7))
#define ROW4(i, ...)                                                                               \
	ENTRY((i), __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__),         \
	    ENTRY((i) + 3, __VA_ARGS__)
#define ROW16(i, ...)                                                                              \
	ROW4((i), __VA_ARGS__), ROW4((i) + 4, __VA_ARGS__), ROW4((i) + 8, __VA_ARGS__),            \
	    ROW4((i) + 12, __VA_ARGS__)
#define ROW64(i, ...)                                                                              \
	ROW16((i), __VA_ARGS__), ROW16((i) + 16, __VA_ARGS__), ROW16((i) + 32, __VA_ARGS__),       \
	    ROW16((i) + 48, __VA_ARGS__)
#define SLICE(...)                                                                                 \
	ROW64(0, __VA_ARGS__), ROW64(64, __VA_ARGS__), ROW64(128, __VA_ARGS__),                    \
	    ROW64(192, __VA_ARGS__)

/* clang-format off */
static const uint32_t crc_table[8][256] = {
	{ SLICE(0x77073096, 0xee0e612c, 0x076dc419, 0x0edb8832, 0x1db71064, 0x3b6e20c8, 0x76dc4190, 0xedb88320) },
	{ SLICE(0x191b3141, 0x32366282, 0x646cc504, 0xc8d98a08, 0x4ac21251, 0x958424a2, 0xf0794f05, 0x3b83984b) },
	{ SLICE(0x01c26a37, 0x0384d46e, 0x0709a8dc, 0x0e1351b8, 0x1c26a370, 0x384d46e0, 0x709a8dc0, 0xe1351b80) },
	{ SLICE(0xb8bc6765, 0xaa09c88b, 0x8f629757, 0xc5b428ef, 0x5019579f, 0xa032af3e, 0x9b14583d, 0xed59b63b) },
	{ SLICE(0x3d6029b0, 0x7ac05360, 0xf580a6c0, 0x30704bc1, 0x60e09782, 0xc1c12f04, 0x58f35849, 0xb1e6b092) },
	{ SLICE(0xcb5cd3a5, 0x4dc8a10b, 0x9b914216, 0xec53826d, 0x03d6029b, 0x07ac0536, 0x0f580a6c, 0x1eb014d8) },
	{ SLICE(0xa6770bb4, 0x979f1129, 0xf44f2413, 0x33ef4e67, 0x67de9cce, 0xcfbd399c, 0x440b7579, 0x8816eaf2) },
	{ SLICE(0xccaa009e, 0x4225077d, 0x844a0efa, 0xd3e51bb5, 0x7cbb312b, 0xf9766256, 0x299dc2ed, 0x533b85da) },
};
/* clang-format on */

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;
	/* The builtin stays one load where -ffreestanding would make memcpy a call. */
	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

uint32_t frame_crc32(uint32_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;
	crc = ~crc;
	for (; n >= 8; n -= 8, p += 8) {
		uint64_t x = load64(p) ^ crc;
		crc = crc_table[7][x & 0xff] ^ crc_table[6][x >> 8 & 0xff] ^
		      crc_table[5][x >> 16 & 0xff] ^ crc_table[4][x >> 24 & 0xff] ^
		      crc_table[3][x >> 32 & 0xff] ^ crc_table[2][x >> 40 & 0xff] ^
		      crc_table[1][x >> 48 & 0xff] ^ crc_table[0][x >> 56];
	}
	for (; n; n--, p++)
		crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 0xff];
	return ~crc;
}
