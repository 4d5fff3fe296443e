/* What a session tells its runner at the end, before the verdict: notes on what was not as it should be, and all counters. */
#pragma once

#include "abi/frame.h"
#include "link/link.h"
#include "vmm/judge.h"
#include "vmm/vm.h"

/* What the session counted itself; the VM's counters are the VM's. */
struct session_counts {
	uint64_t tty_dropped;    /* bytes */
	uint64_t serial_dropped; /* bytes */
	uint64_t forged_frames;
};

struct session_account {
	struct session_counts counts;
	const struct frame_decoder *decoder; /* of port 1 */
	const struct judge *judge;
	const struct vm *vm; /* ended */
	uint32_t n_vcpus;
	enum vm_end end;
};

/* A line of at most 511 bytes; more is cut. At any time. */
void session_note(struct link *link, const char *fmt, ...) PRINTF_LIKE(2, 3);
void session_send_notes(struct link *link, const struct session_account *a);
void session_send_stats(struct link *link, const struct session_account *a);
