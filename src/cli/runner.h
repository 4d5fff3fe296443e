/*
 * The runner's half of a VM: supervises one VM process over its link until the verdict is there,
 * passes the command's output on, keeps consoles and logs. One thread, one reactor.
 *
 * Signals: the first SIGINT, SIGTERM or SIGHUP asks the VM process to stop, the second (or 2 s)
 * kills it.
 */
#pragma once

#include "abi/frame.h"
#include "base/buf.h"
#include "cli/sink.h"
#include "harness/test_results.h"
#include "reactor/reactor.h"
#include "vmm/vm_process.h"

enum { RUNNER_MAX_PHASES = 32, RUNNER_MAX_NOTES = 32 };

struct runner_phase {
	uint64_t time_ns; /* CLOCK_MONOTONIC here; phases of the guest are moved to it */
	uint32_t phase;
	bool is_guest;
};

struct runner_config {
	enum reactor_backend backend;
	bool interactive;     /* stdin and stdout are hvc0 */
	bool forward_stdin;   /* stdin is the command's */
	uint64_t deadline_ns; /* the VM process should have ended by then; UINT64_MAX: no limit */
};

struct run_result {
	bool has_outcome;
	struct frame_outcome outcome;
	struct buf why;
	int signal;   /* the run was interrupted by it; 0: was not */
	bool is_left; /* `ktstr shell` was left by its escape key */
	struct runner_phase phases[RUNNER_MAX_PHASES];
	size_t n_phases;
	char *notes[RUNNER_MAX_NOTES];
	size_t n_notes;
	struct buf stats; /* "key value" lines */
	struct buf crash; /* FRAME_CRASH texts */
	struct sink console, com2, tty, dmesg, frames;
	uint64_t n_frames[256]; /* by type */
	struct test_results tests;
	uint64_t result_bytes; /* payload of the test's own frames: below FRAME_STDOUT, not EXIT */
};

void run_result_init(struct run_result *r); /* not to be moved from then on */
void run_result_fini(struct run_result *r);
void run_result_add_phase(struct run_result *r, uint32_t phase, uint64_t time_ns, bool is_guest);
void run_result_add_note(struct run_result *r, const char *text, size_t n);

/*
 * Takes over @process's link. On return the process is killed, ending, or gone. Error: our own
 * set-up only.
 */
MUST_CHECK int runner_run(const struct runner_config *config, struct vm_process *process,
			  struct run_result *result, struct error *err);
