/* What the benchmark's guest prints on COM1 (guest/bench/main.c): lines of "NAME VALUE". */
#pragma once

#include "base/error.h"
#include "bench/hist.h"

enum guest_cost {
	/* In the loop of the load, user mode where that is asked for. */
	GUEST_COST_KICK,   /* QueueNotify, nothing new in the queue */
	GUEST_COST_LEVELS, /* to kernel mode and back */
	/* In kernel mode. */
	GUEST_COST_CLOCK,     /* reading the clock twice: what the others there contain, too */
	GUEST_COST_STATUS,    /* a read of InterruptStatus */
	GUEST_COST_ACK,       /* a write of InterruptACK */
	GUEST_COST_INTERRUPT, /* an interrupt to itself, with EOI */
	N_GUEST_COSTS,
};

struct guest_text {
	uint64_t ticks; /* that the counted run took */
	uint64_t n_requests, n_bytes, n_errors, n_kicks, n_interrupts;
	struct hist latency;
	struct hist costs[N_GUEST_COSTS];
};

/*
 * Parses all of the guest's @text, which has to end with the line "done"; what follows that is
 * returned in *@ret_rest. Fills @ret, which is large. Errors: the guest's own ("error WHY"), a line
 * that cannot be, a text that was cut.
 */
MUST_CHECK int guest_text_parse(const char *text, struct guest_text *ret, const char **ret_rest,
				struct error *err);
/* Whether @text has the line @mark ("begin", "end") in it. */
bool guest_text_has(const char *text, const char *mark);
