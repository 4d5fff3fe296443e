/*
 * One vCPU and its thread: KVM_RUN, register exits, nothing else. The thread never does file I/O
 * and never waits for the reactor but inside a device reset (virtio/virtio_mmio.h).
 *
 * Ending: whoever sees the end of the VM sets env->halting and posts; the reactor then calls
 * vcpu_kick on every vCPU. Each thread leaves at its next exit and posts env->on_left. The reactor
 * joins it afterwards, which no longer waits.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "base/id_set.h"
#include "bus/io_bus.h"

struct kvm_run;

enum vcpu_end {
	VCPU_TRIPLE_FAULT, /* KVM_EXIT_SHUTDOWN */
	/* KVM could not go on: emulation failure, entry failure, failed KVM_RUN */
	VCPU_INTERNAL_ERROR,
	VCPU_SYSTEM_RESET, /* KVM_EXIT_SYSTEM_EVENT */
	VCPU_SYSTEM_OFF,
};

/* What all vCPUs of a VM share; outlives them. */
struct vcpu_env {
	struct io_bus *mmio;
	struct io_bus *ports;
	_Atomic bool halting;
	/* Held until all threads are there and the process is confined: none runs the guest before. */
	pthread_mutex_t gate;
	bool confine; /* their capabilities go, too; constant once a thread was started */
	/* vCPU thread: this vCPU cannot go on. @text explains, valid during the call. */
	void (*on_end)(void *ctx, enum vcpu_end end, const char *text);
	/* vCPU thread: the end of an interrupt that the machine's own controller asked for. */
	void (*on_eoi)(void *ctx, uint8_t vector);
	/* vCPU thread: it has its name and its place, and now waits at the gate. Optional. */
	void (*on_ready)(void *ctx);
	/* vCPU thread, its last act. */
	void (*on_left)(void *ctx);
	/* vCPU thread: just before the first KVM_RUN. Optional. */
	void (*on_first_run)(void *ctx);
	void *ctx;
};

struct vcpu_stats {
	_Atomic uint64_t n_io, n_mmio, n_interrupted, n_other;
	/*
	 * What the host did to the thread, known at its end: time that it ran, time that it could have run and did not, and times that
	 * it was put off its CPU. has_time false: this kernel does not tell the times.
	 */
	_Atomic uint64_t run_ns, run_delay_ns, n_involuntary;
	_Atomic bool has_time;
};

/* How a vCPU's thread runs on the host. */
struct vcpu_thread {
	uint32_t cpu; /* VCPU_ANY_CPU: as the starting thread */
	bool is_fifo; /* SCHED_FIFO, priority VCPU_FIFO_PRIORITY; else as the starting thread */
};
#define VCPU_ANY_CPU UINT32_MAX
enum { VCPU_FIFO_PRIORITY = 1 };

struct vcpu {
	int fd;
	struct kvm_run *run;
	size_t run_len;
	uint32_t index;
	pthread_t thread;
	bool started;
	struct vcpu_env *env;
	struct vcpu_stats stats; /* written by the vCPU thread only */
};
#define VCPU_INIT ((struct vcpu){ .fd = -1 })

/* KVM_CREATE_VCPU with the architecture's id @id, and the shared run page. */
MUST_CHECK int vcpu_init(struct vcpu *v, int kvm_fd, int vm_fd, uint64_t id, uint32_t index,
			 struct vcpu_env *env, struct error *err);
/* Idempotent; the thread must have been joined. */
void vcpu_fini(struct vcpu *v);
/* Once per process, before the first vcpu_start: the handler of the kick signal. */
MUST_CHECK int vcpu_signal_init(struct error *err);
/* The thread has its CPU and policy from its first instruction on. */
MUST_CHECK int vcpu_start(struct vcpu *v, const struct vcpu_thread *how, struct error *err);
/*
 * Any thread: the vCPU leaves KVM_RUN soon and does not enter it again. Only once env->halting is
 * set.
 */
void vcpu_kick(struct vcpu *v);
/* After on_left. Idempotent. */
void vcpu_join(struct vcpu *v);
