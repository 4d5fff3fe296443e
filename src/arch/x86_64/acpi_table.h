/*
 * Tables as bytes in one image: a header is begun, fields are put behind each other or at the
 * offsets that the specification gives, and the end fills in length and checksum.
 */
#pragma once

#include "base/buf.h"

enum { ACPI_HEADER_LEN = 36, ACPI_TABLE_ALIGN = 16 };

/* Appends the low @n bytes of @v. */
void acpi_put(struct buf *b, uint64_t v, size_t n);
/* Overwrites @n bytes at @off, which are there. */
void acpi_poke(struct buf *b, size_t off, uint64_t v, size_t n);
/* The byte that makes the sum of [off, off + n) zero, given that the checksum field is zero now. */
uint8_t acpi_checksum(const struct buf *b, size_t off, size_t n);

/* Begins a table behind the last one; returns its offset in the image. */
size_t acpi_table_begin(struct buf *b, const char *signature, uint8_t revision);
void acpi_table_end(struct buf *b, size_t table);
