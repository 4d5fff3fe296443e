/* What a measurement counts, and how it gets out. One at a time. */
#pragma once

#include "virtio.h"

/* Reads "warm" and "ticks" of the command line, in TSC ticks: a run of the first uncounted, then one of the second. */
void meter_init(const char *line);
/*
 * Looks at the clock, which is @now; @kicks: of all queues so far. As the counted run begins and ends, the line "begin"
 * or "end" goes out, by which the host samples what its threads have used. False: it is over.
 */
bool meter_goes_on(uint64_t now, uint64_t kicks);
/* A request, posted at @posted, that ended at @now; counted if the run has begun by then. */
void meter_add(uint64_t posted, uint64_t now, uint64_t n_bytes);
void meter_add_error(void);
/* The totals and the histogram. CPL 0. */
void meter_print(void);

/* A cost that is measured by itself: a sample, and its histogram under a name, which starts the next one. */
void meter_add_cost(uint64_t ticks);
void meter_print_cost(const char *name);

/* The interrupt of a device: handler at CPL 0, which reads InterruptStatus and writes InterruptACK, and counts. */
void meter_take_interrupts(const struct virtio *dev);
