/*
 * What is known of one VM's run: its outcome, phases, notes, streams, and what its tests said. Filled by a collector,
 * read by reports. One thread.
 */
#pragma once

#include "abi/frame.h"
#include "base/buf.h"
#include "cli/sink.h"
#include "harness/test_results.h"
#include "harness/verify.h"

enum { RUN_RESULT_MAX_PHASES = 32, RUN_RESULT_MAX_NOTES = 32 };

struct run_phase {
	uint64_t time_ns; /* CLOCK_MONOTONIC here; phases of the guest are moved to it */
	uint32_t phase;
	bool is_guest;
};

struct run_result {
	bool has_outcome;
	struct frame_outcome outcome;
	struct buf why;
	int signal;   /* the run was interrupted by it; 0: was not */
	bool is_left; /* `ktstr shell` was left by its escape key */
	struct run_phase phases[RUN_RESULT_MAX_PHASES];
	size_t n_phases;
	char *notes[RUN_RESULT_MAX_NOTES];
	size_t n_notes;
	struct buf stats; /* "key value" lines */
	struct buf crash; /* FRAME_CRASH texts */
	struct sink console, com2, tty, dmesg, frames;
	uint64_t n_frames[256]; /* by type */
	struct test_results tests;
	bool has_started;
	struct frame_started started; /* what the placement came to */
	struct verification verification;
	uint64_t result_bytes; /* payload of the test's own frames: below FRAME_STDOUT, not EXIT */
};

void run_result_init(struct run_result *r); /* not to be moved from then on */
void run_result_fini(struct run_result *r);
void run_result_add_phase(struct run_result *r, uint32_t phase, uint64_t time_ns, bool is_guest);
void run_result_add_note(struct run_result *r, const char *text, size_t n);
/* Our own trouble, or the VM process's end, as the outcome (INFRA), unless there is one already. */
void run_result_fail(struct run_result *r, const char *why);
