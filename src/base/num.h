/* Checked arithmetic and number parsing. */
#pragma once

#include "base/error.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)

static inline bool num_add_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_add_overflow(a, b, ret);
}

static inline bool num_mul_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_mul_overflow(a, b, ret);
}

static inline bool num_is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* @align is a power of two. */
static inline uint64_t num_align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

/* @align is a power of two; wraps for v near 2^64, so bound v first. */
static inline uint64_t num_align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline uint64_t num_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t num_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * A whole decimal number without sign, space or rest, min..max.
 * Errors (class usage) name @what and the range: "--memory: '12x' is not a number".
 */
MUST_CHECK int num_parse_u64(const char *what, const char *text, uint64_t min, uint64_t max,
			     uint64_t *ret, struct error *err);
/* A number with or without a fraction, "2" or "0.5", and nothing else that strtod(3) takes; the same errors. */
MUST_CHECK int num_parse_real(const char *what, const char *text, double min, double max,
			      double *ret, struct error *err);
/*
 * The same for bytes: K, M, G or T behind the number are powers of 1024. "--disk: size: '1X' is no
 * number of bytes (as 512, 64K, 10M, 1G)".
 */
MUST_CHECK int num_parse_bytes(const char *what, const char *text, uint64_t min, uint64_t max,
			       uint64_t *ret, struct error *err);
/* A time: "500ms", "90s" or "90", "10m", "2h"; at most @max_ms. "--wait: '1x' is no time such as 500ms, 90s, 10m". */
MUST_CHECK int num_parse_duration_ms(const char *what, const char *text, uint64_t max_ms,
				     uint64_t *ret_ms, struct error *err);
/* Such a text for @bytes, as short as it is exact: "64K". */
enum { NUM_BYTES_TEXT_MAX = 24 };
const char *num_format_bytes(uint64_t bytes, char text[static NUM_BYTES_TEXT_MAX]);
