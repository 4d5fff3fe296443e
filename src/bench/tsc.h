/* The processor's time stamp counter, in which the guest measures. */
#pragma once

/* Ticks per second, by the monotonic clock over 50 ms. Guests see the same rate: no VMM here scales it. */
double tsc_hz(void);
