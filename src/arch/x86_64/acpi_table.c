#include "arch/x86_64/acpi_table.h"

#include <string.h>

#include "base/assert.h"
#include "base/num.h"

/* 5.2.6: common header */
enum { HEADER_LENGTH = 4, HEADER_CHECKSUM = 9 };

void acpi_put(struct buf *b, uint64_t v, size_t n)
{
	buf_append(b, &v, n);
}

void acpi_poke(struct buf *b, size_t off, uint64_t v, size_t n)
{
	ASSERT(off <= b->len && n <= b->len - off);
	memcpy(b->data + off, &v, n);
}

uint8_t acpi_checksum(const struct buf *b, size_t off, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + b->data[off + i]);
	return (uint8_t)-sum;
}

size_t acpi_table_begin(struct buf *b, const char *signature, uint8_t revision)
{
	buf_append_zeros(b, (size_t)num_align_up(b->len, ACPI_TABLE_ALIGN) - b->len);
	size_t table = b->len;
	buf_append(b, signature, 4);
	acpi_put(b, 0, 4); /* length */
	acpi_put(b, revision, 1);
	acpi_put(b, 0, 1); /* checksum */
	buf_append(b, "KTSTR ", 6);
	buf_append(b, "KTSTRVM ", 8);
	acpi_put(b, 1, 4);
	buf_append(b, "KTST", 4);
	acpi_put(b, 1, 4);
	ASSERT(b->len - table == ACPI_HEADER_LEN);
	return table;
}

void acpi_table_end(struct buf *b, size_t table)
{
	size_t len = b->len - table;

	acpi_poke(b, table + HEADER_LENGTH, len, 4);
	acpi_poke(b, table + HEADER_CHECKSUM, acpi_checksum(b, table, len), 1);
}
