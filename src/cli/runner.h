/*
 * The runner's half of a VM: supervises one VM process over its link until the verdict is there,
 * passes the command's output on, keeps consoles and logs. One thread, one reactor.
 *
 * Signals: the first SIGINT, SIGTERM or SIGHUP asks the VM process to stop, the second (or 2 s)
 * kills it.
 */
#pragma once

#include "cli/collector.h"
#include "harness/reservation.h"
#include "reactor/reactor.h"
#include "vmm/vm_process.h"

struct runner_config {
	enum reactor_backend backend;
	bool interactive;   /* stdin and stdout are hvc0 */
	bool forward_stdin; /* stdin is the command's */
	/* What the VM was promised, to be looked at when it has started; NULL: nothing. */
	const struct reservation *reservation;
	uint64_t deadline_ns; /* the VM process should have ended by then; UINT64_MAX: no limit */
};

/*
 * Takes over @process's link. On return the process is killed, ending, or gone. Error: our own
 * set-up only.
 */
MUST_CHECK int runner_run(const struct runner_config *config, struct vm_process *process,
			  struct run_result *result, struct error *err);
