/*
 * AML byte code. A block is opcode, PkgLength, body; PkgLength counts itself and takes 1 to 3 bytes
 * here, so it is inserted in front of the body when the block ends.
 */
#include "arch/x86_64/aml.h"

#include <string.h>

#include "base/assert.h"

enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0A,
	OP_WORD = 0x0B,
	OP_DWORD = 0x0C,
	OP_STRING = 0x0D,
	OP_QWORD = 0x0E,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_EXT = 0x5B,
	OP_EXT_DEVICE = 0x82,

	RES_IO = 0x47,
	RES_END = 0x79,
	RES_MEMORY32 = 0x86,
	RES_INTERRUPT = 0x89,

	NAME_LEN = 4,
};

static void put_byte(struct aml *a, uint8_t v)
{
	buf_append(&a->out, &v, 1);
}

/* Little-endian, as the host. */
static void put_number(struct aml *a, uint64_t v, size_t n)
{
	buf_append(&a->out, &v, n);
}

static void put_name(struct aml *a, const char *name)
{
	ASSERT(strlen(name) == NAME_LEN);
	buf_append(&a->out, name, NAME_LEN);
}

static void put_int(struct aml *a, uint64_t v)
{
	if (v == 0) {
		put_byte(a, OP_ZERO);
	} else if (v == 1) {
		put_byte(a, OP_ONE);
	} else if (v <= UINT8_MAX) {
		put_byte(a, OP_BYTE);
		put_number(a, v, 1);
	} else if (v <= UINT16_MAX) {
		put_byte(a, OP_WORD);
		put_number(a, v, 2);
	} else if (v <= UINT32_MAX) {
		put_byte(a, OP_DWORD);
		put_number(a, v, 4);
	} else {
		put_byte(a, OP_QWORD);
		put_number(a, v, 8);
	}
}

static void begin_block(struct aml *a)
{
	ASSERT(a->depth < AML_MAX_DEPTH);
	a->block[a->depth++] = a->out.len;
}

/* PkgLength (ACPI 6.5, 20.2.4): 6 bits in one byte, or 4 bits and the count of the bytes that
 * follow. */
static size_t encode_length(size_t body, uint8_t code[3])
{
	if (body + 1 < 1u << 6) {
		code[0] = (uint8_t)(body + 1);
		return 1;
	}
	size_t n = body + 2 < 1u << 12 ? 2 : 3;
	size_t len = body + n;
	ASSERT(len < 1u << 20);
	code[0] = (uint8_t)((n - 1) << 6 | (len & 0xF));
	code[1] = (uint8_t)(len >> 4);
	code[2] = (uint8_t)(len >> 12);
	return n;
}

void aml_end(struct aml *a)
{
	uint8_t code[3];

	ASSERT(a->depth);
	size_t at = a->block[--a->depth];
	size_t body = a->out.len - at;
	size_t n = encode_length(body, code);
	buf_append_zeros(&a->out, n);
	memmove(a->out.data + at + n, a->out.data + at, body);
	memcpy(a->out.data + at, code, n);
}

void aml_fini(struct aml *a)
{
	buf_fini(&a->out);
}

void aml_begin_scope(struct aml *a, const char *name)
{
	put_byte(a, OP_SCOPE);
	begin_block(a);
	put_name(a, name);
}

void aml_begin_device(struct aml *a, const char *name)
{
	put_byte(a, OP_EXT);
	put_byte(a, OP_EXT_DEVICE);
	begin_block(a);
	put_name(a, name);
}

void aml_name_int(struct aml *a, const char *name, uint64_t value)
{
	put_byte(a, OP_NAME);
	put_name(a, name);
	put_int(a, value);
}

void aml_name_string(struct aml *a, const char *name, const char *value)
{
	put_byte(a, OP_NAME);
	put_name(a, name);
	put_byte(a, OP_STRING);
	buf_append(&a->out, value, strlen(value) + 1);
}

static unsigned hex_digit(char c)
{
	ASSERT((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'));
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Letters as 5 bits each, then the digits; big-endian inside a little-endian double word
 * (ACPI 6.5, 19.3.4). */
void aml_name_eisaid(struct aml *a, const char *name, const char *id)
{
	ASSERT(strlen(id) == 7);
	unsigned letters =
	    (unsigned)(id[0] - '@') << 10 | (unsigned)(id[1] - '@') << 5 | (unsigned)(id[2] - '@');
	put_byte(a, OP_NAME);
	put_name(a, name);
	put_byte(a, OP_DWORD);
	put_byte(a, (uint8_t)(letters >> 8));
	put_byte(a, (uint8_t)letters);
	put_byte(a, (uint8_t)(hex_digit(id[3]) << 4 | hex_digit(id[4])));
	put_byte(a, (uint8_t)(hex_digit(id[5]) << 4 | hex_digit(id[6])));
}

void aml_name_package(struct aml *a, const char *name, const uint64_t *values, size_t n)
{
	ASSERT(n <= UINT8_MAX);
	put_byte(a, OP_NAME);
	put_name(a, name);
	put_byte(a, OP_PACKAGE);
	begin_block(a);
	put_byte(a, (uint8_t)n);
	for (size_t i = 0; i < n; i++)
		put_int(a, values[i]);
	aml_end(a);
}

static void crs_put(struct aml_crs *c, uint64_t v, size_t n)
{
	ASSERT(c->n + n <= sizeof(c->bytes));
	memcpy(c->bytes + c->n, &v, n);
	c->n += n;
}

/* 6.4.2.5: 16-bit decode, fixed place. */
void aml_crs_io(struct aml_crs *c, uint16_t base, uint8_t len)
{
	crs_put(c, RES_IO, 1);
	crs_put(c, 1, 1);
	crs_put(c, base, 2);
	crs_put(c, base, 2);
	crs_put(c, 1, 1);
	crs_put(c, len, 1);
}

/* 6.4.3.4: read and write, fixed place. */
void aml_crs_memory32(struct aml_crs *c, uint32_t base, uint32_t len)
{
	crs_put(c, RES_MEMORY32, 1);
	crs_put(c, 9, 2);
	crs_put(c, 1, 1);
	crs_put(c, base, 4);
	crs_put(c, len, 4);
}

/* 6.4.3.6: consumer (bit 0), edge (bit 1); active high and exclusive are zeros. */
void aml_crs_interrupt(struct aml_crs *c, uint32_t gsi)
{
	crs_put(c, RES_INTERRUPT, 1);
	crs_put(c, 6, 2);
	crs_put(c, 1u << 0 | 1u << 1, 1);
	crs_put(c, 1, 1);
	crs_put(c, gsi, 4);
}

void aml_name_crs(struct aml *a, const struct aml_crs *c)
{
	put_byte(a, OP_NAME);
	put_name(a, "_CRS");
	put_byte(a, OP_BUFFER);
	begin_block(a);
	put_int(a, c->n + 2);
	buf_append(&a->out, c->bytes, c->n);
	put_byte(a, RES_END);
	put_byte(a, 0); /* checksum 0: not used (6.4.2.9) */
	aml_end(a);
}
