/*
 * What a fuzz target is made of. One input, one call: no state may survive it, and a broken
 * property ends the process by FUZZ_CHECK. Inputs that a target cannot use are simply returned
 * from.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* libFuzzer's name; returns 0 */

#define FUZZ_CHECK(cond) ((cond) ? (void)0 : fuzz_broken(#cond, __FILE__, __LINE__))

static inline NORETURN void fuzz_broken(const char *cond, const char *file, int line)
{
	fprintf(stderr, "%s:%d: broken: %s\n", file, line, cond);
	abort();
}

/* Consumes an input from its front; past its end everything reads as zero. */
struct fuzz_input {
	const uint8_t *p;
	size_t n;
};

static inline size_t fuzz_take(struct fuzz_input *in, void *to, size_t n)
{
	size_t take = n < in->n ? n : in->n;
	if (take)
		memcpy(to, in->p, take);
	memset((uint8_t *)to + take, 0, n - take);
	in->p += take;
	in->n -= take;
	return take;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	uint8_t v;
	fuzz_take(in, &v, sizeof(v));
	return v;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t v;
	fuzz_take(in, &v, sizeof(v));
	return v;
}

static inline uint32_t fuzz_u32(struct fuzz_input *in)
{
	uint32_t v;
	fuzz_take(in, &v, sizeof(v));
	return v;
}

static inline uint64_t fuzz_u64(struct fuzz_input *in)
{
	uint64_t v;
	fuzz_take(in, &v, sizeof(v));
	return v;
}
