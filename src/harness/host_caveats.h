/* What of this host's state will be in a performance measurement, though nothing that was promised is broken. */
#pragma once

#include "base/buf.h"

struct host_state {
	uint32_t n_running;    /* tasks that run or want to, this one among them; 0: unknown */
	uint32_t n_online;     /* CPUs */
	int64_t rt_runtime_us; /* of rt_period_us; -1: real-time tasks are never throttled */
	int64_t rt_period_us;  /* 0: unknown */
};

void host_state_read(uint32_t n_online, struct host_state *ret);
/* "procs_running N" of /proc/stat; 0: not there. */
uint32_t host_state_parse_running(const char *stat);
/* Appends a line for each part of performance mode that @applied (APPLIED_* of abi/frame.h) lacks: nothing is missing unsaid. */
void missing_caveats(uint32_t applied, struct buf *to);
/* Appends a line for each; @n_taken: CPUs that the VM has to itself. */
void host_caveats(const struct host_state *s, uint32_t n_taken, struct buf *to);
