/*
 * A virtual machine: KVM objects, memory, devices, vCPU threads, in one explicit build list (vm.c)
 * that is torn down in reverse. It has no opinion about frames or verdicts: streams go to the sinks
 * of its config, the end to on_end.
 *
 * Owner: the thread that owns the reactor (the VM process's main thread), which becomes the I/O
 * thread.
 */
#pragma once

#include "abi/frame.h"
#include "arch/arch.h"
#include "base/placement.h"
#include "base/topology.h"
#include "reactor/reactor.h"
#include "virtio/virtio_blk.h"
#include "virtio/virtio_console.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_net.h"
#include "vmm/vm_memory.h"

struct kernel_image;
struct vcpu_stats;
struct vm;

enum vm_end {
	VM_RUNNING,
	VM_POWER_OFF,
	VM_RESET,
	VM_TRIPLE_FAULT,
	VM_KVM_ERROR, /* with a text */
	VM_STOPPED,   /* vm_stop */
};

struct vm_config {
	const struct kernel_image *kernel;
	int initrd_fd; /* -1: none */
	uint64_t initrd_len;
	const uint8_t *initrd_suffix;
	size_t initrd_suffix_len;
	const char *cmdline;
	struct topology topology;
	uint64_t memory_mib;
	enum vm_hugepages hugepages;
	bool share_memory;                      /* RAM in a memfd */
	const struct vm_host_nodes *host_nodes; /* whose RAM, per guest node; NULL: any */
	/*
	 * Of performance mode all but the I/O thread's own place, which its owner sees to (io_thread.h): pins, nodes of the memory,
	 * exits, hints. NULL: nothing.
	 */
	const struct placement *placement;
	bool is_fifo;                    /* vCPU threads run as SCHED_FIFO */
	bool hold;                       /* vCPUs wait for vm_release */
	const struct cpu_mask *cpu_mask; /* NULL: none */
	/* Asked for already; NULL: ask. */
	const struct arch_supported *supported;
	bool pit;
	bool confine; /* give up all rights that a running VM has no use for (confine.h) */
	struct virtio_console_config console;
	const struct virtio_blk_config *disk; /* NULL: none */
	const struct virtio_net_config *net;  /* NULL: none */
	/* Reactor thread; take all bytes. */
	void (*com1)(void *ctx, const uint8_t *data, size_t n);
	void (*com2)(void *ctx, const uint8_t *data, size_t n);
	/* Reactor thread, once per started VM and before on_end: every vCPU's thread is where it belongs. Optional. */
	void (*on_ready)(void *ctx);
	/*
	 * Reactor thread, once per started VM: all vCPU threads have left, nothing more comes from
	 * the guest but what vm_drain finds. @text explains VM_KVM_ERROR and VM_TRIPLE_FAULT, else
	 * "".
	 */
	void (*on_end)(void *ctx, enum vm_end end, const char *text);
	void *ctx;
};

/*
 * Everything @config points to must outlive the VM. -ENOMEM etc. as INFRA, what this host cannot as
 * class skip.
 */
MUST_CHECK int vm_new(const struct vm_config *config, struct reactor *r, struct vm **ret,
		      struct error *err);
/* Starts the vCPU threads; with confine the process has lost its rights then. On error nothing runs. */
MUST_CHECK int vm_start(struct vm *vm, struct error *err);
/* Reactor thread: lets the vCPUs of a VM run that was started on hold. Does nothing to another. */
void vm_release(struct vm *vm);
/* Reactor thread: ends a running VM; on_end follows with @end, unless the guest was faster. */
void vm_stop(struct vm *vm, enum vm_end end);
/* Reactor thread, after on_end: serves every queue and both UARTs once more. */
void vm_drain(struct vm *vm);
/*
 * Reactor thread, once, after on_end: ends the disk's I/O. @done comes from the reactor, never from
 * inside this call, when the file is not touched any more and its lock (flock) was released: also
 * without a disk.
 */
void vm_stop_disk(struct vm *vm, void (*done)(void *ctx), void *ctx);
/*
 * Reactor thread. Of a VM that ran only after on_end. Turns the reactor until every device has let
 * go of guest memory, then takes all down in reverse order. NULL is fine; returns NULL.
 */
struct vm *vm_free(struct vm *vm);

/* Of a VM that was started: what its placement came to. */
struct frame_started vm_started(const struct vm *vm);
/* Why a started VM runs with all rights though this host should be able to confine it; else NULL. */
const char *vm_confine_failure(const struct vm *vm);
/* Huge pages were to be tried, and the host has not enough. */
bool vm_lacks_hugepages(const struct vm *vm);
struct virtio_console *vm_console(struct vm *vm);
/* Registers of a vCPU as text, for whoever asks why a VM did not end; after on_end. */
void vm_describe_vcpu(const struct vm *vm, uint32_t cpu, char *text, size_t n);
/* When the first vCPU entered KVM_RUN, CLOCK_MONOTONIC; 0: not yet. */
uint64_t vm_first_run_ns(const struct vm *vm);

struct vm_stats {
	uint64_t n_io_exits, n_mmio_exits, n_interrupted, n_other_exits, n_unclaimed;
	uint64_t uart_dropped;
	struct virtio_mmio_stats console_mmio;
	struct virtio_console_stats console;
	bool has_disk;
	struct virtio_mmio_stats disk_mmio;
	struct virtio_blk_stats disk;
	bool has_net;
	struct virtio_mmio_stats net_mmio;
	struct virtio_net_stats net;
};
void vm_stats(const struct vm *vm, struct vm_stats *ret);
/* The counters of vCPU @cpu. */
const struct vcpu_stats *vm_vcpu_stats(const struct vm *vm, uint32_t cpu);
