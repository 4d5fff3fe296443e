/* The I/O thread's own place on the host: where the VM process runs, and how. */
#pragma once

#include "base/error.h"
#include "base/placement.h"

enum {
	IO_THREAD_FIFO_PRIORITY = 2
}; /* above the vCPUs': they never wait for each other, all of them wait for it */

/*
 * Puts the calling thread on its CPUs, and so all threads that it makes from then on: into the cgroup of @cgroup_fd (a cgroup.procs;
 * NULL: none), then on all CPUs of @p (NULL: any), or, in performance mode, on the service CPU and under SCHED_FIFO. @ret_is_fifo
 * false: this user may not have that policy. @ret_worker_cpus: where the kernel's workers for this thread belong; empty: anywhere.
 * Errors: the CPUs are not to be had (taken offline or out of the cpuset since they were planned), or the cgroup.
 */
MUST_CHECK int io_thread_place(const struct placement *p, const int *cgroup_fd, bool *ret_is_fifo,
			       struct id_set *ret_worker_cpus, struct error *err);
