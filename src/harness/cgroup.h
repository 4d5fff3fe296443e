/*
 * A cgroup for one VM, with a cpuset: the CPUs and NUMA nodes of its plan, enforced by the kernel. Affinity masks say the same, but a
 * process may change its own, and they say nothing of memory.
 *
 *	open    cpuset.cpus, cpuset.mems, then what the kernel made of them is read back
 *	enter   the VM process itself, right after the fork: before it takes memory, and before any affinity is set, because
 *		entering sets that to all CPUs of the cgroup
 *	close   kills what is left inside (cgroup.kill), waits for that, removes it
 *
 * Where the host gives no such cgroup (version 1, no delegation, other processes in the way; cgroup_place.h) it is not active, its
 * note says why, and everything else does nothing: affinity masks remain. Names tell the owner, so that a sweep finds what a
 * killed one has left and touches nobody else's.
 */
#pragma once

#include "base/placement.h"
#include "harness/cgroup_place.h"

struct cgroup_request {
	const struct id_set *cpus; /* NULL or empty: as many as the host gives */
	const struct id_set *mems;
	bool is_required; /* anything less than asked for is an error (class skip) */
	const char *proc; /* NULL: "/proc" */
};

/*
 * Of a VM with @p. A performance run binds its memory itself: nodes in its cpuset would add nothing, and to enter one that has
 * some makes the kernel drain every CPU's lists of pages, those under another run's FIFO vCPUs too: neither SIGKILL nor anybody's
 * use of cgroups gets past that wait.
 */
static inline struct cgroup_request cgroup_request_of(const struct placement *p)
{
	return (struct cgroup_request){ .cpus = &p->cpus,
					.mems = p->is_performance ? NULL : &p->mems };
}

enum { CGROUP_NOTE_MAX = 640 };
struct cgroup {
	bool is_active;
	int procs_fd; /* for cgroup_enter; close-on-exec */
	char *folder;
	struct id_set cpus, mems;   /* effective */
	char note[CGROUP_NOTE_MAX]; /* what is less than asked for, and why; else "" */
};
#define CGROUP_INIT ((struct cgroup){ .procs_fd = -1 })

/*
 * May move this process into a child of its cgroup (cgroup_place.h): before it has children. @seq tells the cgroups of one process
 * apart; the first is 1, and sweeps before. Errors only with is_required; @ret can be closed in any case.
 */
MUST_CHECK int cgroup_open(struct cgroup *ret, const struct cgroup_request *request, uint32_t seq,
			   struct error *err);
/* The calling process enters. One system call, also right after a fork. 0, or -errno. */
MUST_CHECK int cgroup_enter(const struct cgroup *c);
/* SIGKILL to all inside. False where the kernel cannot do that (Linux before 5.14). */
bool cgroup_kill(const struct cgroup *c);
/*
 * Kills what is inside and removes it; waits at most @wait_ms for the end of the killed. False if it is still there then: the next
 * sweep after the end of this process takes it.
 */
bool cgroup_close(struct cgroup *c, int wait_ms);

struct cgroup_sweep {
	unsigned n_removed;
	unsigned n_in_use;  /* their owners live */
	unsigned n_refused; /* other users', or of other pid namespaces */
	struct buf removed; /* their folders, a line each */
};
/* Removes the cgroups of owners that are gone, with what still runs inside. @proc as above. */
void cgroup_sweep(const char *proc, struct cgroup_sweep *ret);
void cgroup_sweep_fini(struct cgroup_sweep *s);
