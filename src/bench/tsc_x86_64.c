/* See tsc.h. */
#include "bench/tsc.h"

#include <time.h>
#include <x86intrin.h>

#include "base/clock.h"

enum { N_TRIES = 5 };

struct moment {
	uint64_t ns, ticks;
};

/* The try with the least time between its readings: no interrupt came in. */
static struct moment now(void)
{
	struct moment best = { 0 };
	uint64_t best_ticks = UINT64_MAX;

	for (int i = 0; i < N_TRIES; i++) {
		uint64_t before = __rdtsc();
		uint64_t ns = clock_now_ns();
		uint64_t after = __rdtsc();

		if (after - before >= best_ticks)
			continue;
		best_ticks = after - before;
		best = (struct moment){ ns, before + best_ticks / 2 };
	}
	return best;
}

double tsc_hz(void)
{
	const struct timespec pause = { .tv_nsec = 50 * NS_PER_MS };
	struct moment a = now();

	(void)nanosleep(&pause, NULL); /* cut short by a signal: less exact */
	struct moment b = now();
	return (double)(b.ticks - a.ticks) / ((double)(b.ns - a.ns) / (double)NS_PER_S);
}
