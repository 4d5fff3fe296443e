/* Time as nanoseconds. */
#pragma once

#include <stdint.h>
#include <time.h>

#define NS_PER_US ((uint64_t)1000)
#define NS_PER_MS ((uint64_t)1000000)
#define NS_PER_S  ((uint64_t)1000000000)

/* A limit as its user gave it, for "%g s": seconds, cut to milliseconds. */
static inline double clock_limit_s(uint64_t ns)
{
	return (double)(ns / NS_PER_MS) / 1e3;
}

/* CLOCK_MONOTONIC. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}
