/* Where a program was, from outside: registers, its memory, its mappings. */
#pragma once

#include "core.h"
#include "maps.h"

enum {
	BACKTRACE_MAX = 32,
};

struct backtrace_entry {
	uint64_t addr; /* a return address, but for the first */
	bool is_guess; /* found on the stack, but not on the chain of frame pointers */
};

/*
 * Walks the stack of a stopped process through @mem_fd (its /proc/PID/mem). Returns the number of
 * entries, at most BACKTRACE_MAX; the first is regs->ip. Any memory contents are safe.
 */
size_t backtrace_walk(const struct core_regs *regs, int mem_fd, const struct maps *maps,
		      struct backtrace_entry ret[BACKTRACE_MAX]);
/* "name+0x12 (libfoo.so+0x1234)" as far as known. Returns snprintf's value, cut to what fits. */
size_t backtrace_format(const struct backtrace_entry *e, size_t idx, const struct maps *maps,
			char *out, size_t n);
