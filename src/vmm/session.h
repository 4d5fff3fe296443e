/*
 * What happens inside a VM process: one VM, its frame stream, its judge, its time limits, and the
 * link to the runner. Main thread = I/O thread = owner of everything here.
 *
 *	guest port 1 --> decoder --> judge, acknowledge EXIT --> link --> runner
 *	COM1, COM2 ----> judge ------------------------------> link
 *	hvc0 ------------------------------------------------> link
 *
 * Back-pressure: while the link is congested port 1 stays in guest memory; serial ports and hvc0
 * cannot wait: they are kept to a bound, then dropped and counted.
 */
#pragma once

#include "vmm/vm.h"

struct session_config {
	/* console, com1, com2, on_end, is_fifo, ctx and confine are the session's; the rest is as in vm_config. */
	struct vm_config vm;
	enum reactor_backend backend;
	int link_fd;  /* owned by session_run */
	int relay_fd; /* owned by session_run: listening socket, -1: none */
	uint16_t rows, cols;
	uint64_t timeout_ns;         /* for the whole run; 0: none */
	uint64_t boot_timeout_ns;    /* until PID 1's first frame; 0: none */
	uint64_t command_timeout_ns; /* from PID 1's frame that the command starts; 0: none */
	/* The guest has a PID 1, or something that speaks like it, also where it is no Linux: to power off is no pass. */
	bool has_init;
	/*
	 * Descriptors of the locks on the CPUs of this process: its own copies, so that these CPUs stay taken whatever becomes
	 * of its runner. session_run closes them when no vCPU needs those CPUs any more.
	 */
	const int *lock_fds;
	size_t n_lock_fds;
	const int
	    *cgroup_fd; /* of a cgroup.procs that this process enters first of all; NULL: none */
	bool confine;   /* as in vm_config */
};

/*
 * Builds, runs and judges the VM, sends the verdict, takes everything down. Returns when the runner
 * has the verdict (or is gone) and the VM is freed: 0, or -errno when the link itself failed. All
 * other failures travel as FRAME_VM_OUTCOME.
 */
int session_run(struct session_config *config);
