/*
 * The scale of the benchmark guest's histograms, in which it counts latencies and the host reads them: linear below
 * 2^BENCH_HIST_BITS, then as many equal steps to each power of two. A step is at most 1/64 of its value.
 */
#pragma once

enum {
	BENCH_HIST_BITS = 6,
	BENCH_HIST_STEPS = 1 << BENCH_HIST_BITS,
	BENCH_HIST_SIZE = (64 - BENCH_HIST_BITS + 1) * BENCH_HIST_STEPS,
};

static inline unsigned bench_hist_index(uint64_t value)
{
	if (value < BENCH_HIST_STEPS)
		return (unsigned)value;
	unsigned shift = 63 - (unsigned)__builtin_clzll(value) - BENCH_HIST_BITS;

	return (shift + 1) * BENCH_HIST_STEPS + (unsigned)(value >> shift) % BENCH_HIST_STEPS;
}

/* The smallest value of step @index. */
static inline uint64_t bench_hist_value(unsigned index)
{
	unsigned shift = index / BENCH_HIST_STEPS;

	if (shift == 0)
		return index;
	return (uint64_t)(BENCH_HIST_STEPS + index % BENCH_HIST_STEPS) << (shift - 1);
}
