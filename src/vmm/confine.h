/*
 * Takes from a VM process what it has no use for once its VM is built: a guest that gets control of it finds a process that can run
 * this VM, talk to its runner, and nothing else. From then on, for good:
 *
 *	system calls   those of the table in confine_list.c, with the arguments named there; any other ends the process (SIGSYS)
 *	privileges     no capability, also for root; none to be gained (no_new_privs)
 *	io_uring       sees no filter, so each ring is restricted when it is made (reactor/uring_restrict.h)
 *
 * What is left: its descriptors, its memory (none of it executable that is not yet), threads, signals to itself.
 */
#pragma once

#include "base/error.h"

/*
 * The whole process: threads that there are get the filter, those to come inherit everything. Capabilities are each thread's own:
 * the caller's go here, others have called confine_drop_capabilities. Errors: a kernel without seccomp, a policy that forbids filters.
 * What was dropped until then stays dropped.
 */
MUST_CHECK int confine(struct error *err);
/* The calling thread's; also after confine. Cannot fail: none are gained. */
void confine_drop_capabilities(void);
/* Whether confine would work here: 0, or an error that says why not. Changes nothing. */
MUST_CHECK int confine_check(struct error *err);
