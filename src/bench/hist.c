/* See hist.h. */
#include "bench/hist.h"

#include <math.h>

bool hist_add(struct hist *h, uint64_t index, uint64_t count)
{
	uint64_t n;

	if (index >= BENCH_HIST_SIZE || __builtin_add_overflow(h->n, count, &n))
		return false;
	h->n = n;
	h->count[index] += count;
	return true;
}

/* Steps of one value lie at it, wider ones in their middle. */
static double middle(unsigned index)
{
	uint64_t low = bench_hist_value(index);
	uint64_t width = index + 1 < BENCH_HIST_SIZE ? bench_hist_value(index + 1) - low : 1;

	return (double)low + (double)(width - 1) / 2;
}

double hist_percentile(const struct hist *h, double p)
{
	double rank = fmax(1, ceil(p / 100 * (double)h->n));
	double seen = 0;

	for (unsigned i = 0; i < BENCH_HIST_SIZE; i++) {
		seen += (double)h->count[i];
		if (h->count[i] && seen >= rank)
			return middle(i);
	}
	return NAN;
}
