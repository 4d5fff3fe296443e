/*
 * What a VM was promised of its host, once it has started: looked at from outside, and told where it is less than it seems. For
 * whoever supervises a VM process.
 */
#pragma once

#include "cli/run_result.h"
#include "harness/reservation.h"
#include "link/link.h"

/*
 * FRAME_VM_STARTED: every vCPU has its thread and, if the VM is held, none has run. Verifies a held one against @r (NULL: nothing
 * was promised) and lets it go on. Error: a promise is broken, and the VM is still held: kill it.
 */
MUST_CHECK int promises_check(struct run_result *result, const struct frame *started, pid_t pid,
			      const struct reservation *r, struct link *link, struct error *err);
/* What the place lacks, and what of the host will be seen in the VM, as notes. */
void promises_note(const struct reservation *r, struct run_result *result);
