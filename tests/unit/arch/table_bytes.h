/* Firmware tables, read as bytes: fields of any width, checksums. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The little-endian field of @n bytes at @off. */
static inline uint64_t table_number(const uint8_t *p, size_t off, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, p + off, n);
	return v;
}

/* 0 for a good table. */
static inline uint8_t table_sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}
