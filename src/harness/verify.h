/*
 * What a placement promised, looked at from outside: the threads of a VM process, its memory, and the locks, as the kernel tells
 * them. Asks nobody inside.
 */
#pragma once

#include <sys/types.h>

#include "abi/frame.h"
#include "harness/reservation.h"

struct verification {
	bool is_done;
	uint32_t n_threads; /* of the VM process, all on CPUs that are theirs */
	uint32_t n_vcpus;   /* vCPU threads among them */
	uint32_t n_locks;   /* held by the runner, as /proc/locks has it */
	uint64_t
	    n_pages; /* of guest memory there so far, all on nodes that are theirs; 0 where nothing is bound */
};

/*
 * @pid's VM was started and its vCPU threads exist. 0, or -EPROTO (class infra): @err names the promise that does not hold, what
 * was promised and what is; or another error of reading /proc.
 */
MUST_CHECK int verify_vm(pid_t pid, const struct reservation *r,
			 const struct frame_started *started, struct verification *ret,
			 struct error *err);

/* The parts of it that are pure, for tests. */

struct verify_thread {
	int tid;
	char name[32];
	struct id_set cpus;
	int policy;
	int priority;
};
/* @pid is the process's own, whose thread is the I/O thread. */
MUST_CHECK int verify_thread(const struct verify_thread *t, pid_t pid, const struct placement *p,
			     uint32_t applied, struct error *err);
/* Of @text, /proc/PID/numa_maps, the mappings within guest memory. Adds up the pages. */
MUST_CHECK int verify_memory(const char *text, const struct placement *p,
			     const struct frame_started *started, uint64_t *ret_pages,
			     struct error *err);
