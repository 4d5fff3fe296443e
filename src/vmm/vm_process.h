/*
 * One process per VM: a crash, rlimit and signal boundary. The runner of one VM forks it from a
 * single-threaded moment with everything it needs open and in memory; the batch runner executes a
 * program of its own for it and sends that. It opens no path afterwards but /dev/kvm.
 *
 * It dies with its runner (PR_SET_PDEATHSIG). Its verdict comes over the link before it takes its
 * VM down, so the runner need not wait for that: closing a VM costs 10-25 ms of kernel grace
 * periods.
 */
#pragma once

#include <sys/types.h>

#include "vmm/session.h"

struct vm_process {
	pid_t pid;
	/* Owned by the caller: give it to link_new with TAKE_FD. It ends (EOF) with the process */
	int link_fd;
};
#define VM_PROCESS_INIT ((struct vm_process){ .link_fd = -1 })

/*
 * Forks. @config->link_fd is set by this function; @config->relay_fd is closed in the caller on
 * success. Everything @config points to is read in the child through its copy of the memory.
 */
MUST_CHECK int vm_process_spawn(struct session_config *config, struct vm_process *ret,
				struct error *err);
/*
 * The same by executing @program_fd, whose main is vm_process_main, also where it is ktstr itself (`ktstr vmm`): nothing of the caller's memory and none of its descriptors get
 * there but those that @config names, which stay the caller's to close (@config->relay_fd, too). For callers that have
 * more than one VM: a fork would give each the others' sockets and locks.
 */
MUST_CHECK int vm_process_exec(int program_fd, const struct session_config *config,
			       struct vm_process *ret, struct error *err);
/* What that program does: takes the configuration from VM_PROCESS_LINK_FD and is the VM process. */
enum { VM_PROCESS_LINK_FD = 3 };
MUST_CHECK int vm_process_main(struct error *err);
/* SIGKILL, if it still runs. */
void vm_process_kill(const struct vm_process *p);
/* Waits for its end (waitpid); returns its wait status, or -errno. */
int vm_process_wait(struct vm_process *p);
void vm_process_fini(struct vm_process *p);
