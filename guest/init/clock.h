/* The two clocks of PID 1. */
#pragma once

#include <time.h>

#define NS_PER_MS 1000000
#define NS_PER_S  1000000000

/* Since the kernel started: what FRAME_PHASE carries. */
static inline uint64_t clock_boot_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* For deadlines. */
static inline int64_t clock_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / NS_PER_MS;
}
