/* Histograms of the benchmark's guest, on the scale of abi/bench_hist.h, in its ticks. */
#pragma once

#include "abi/bench_hist.h"

struct hist {
	uint64_t count[BENCH_HIST_SIZE];
	uint64_t n;
};

/* False: no such step, or more than fits. */
MUST_CHECK bool hist_add(struct hist *h, uint64_t index, uint64_t count);
/*
 * The value below which @p percent (0..100) lie, by nearest rank: the middle of the step of that
 * sample. NAN when empty.
 */
double hist_percentile(const struct hist *h, double p);
