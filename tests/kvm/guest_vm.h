/*
 * A VM of ours with a micro-guest in it, on this machine's /dev/kvm, for tests: COM1 and the three console ports are
 * recorded, a time limit ends what hangs. One thread: the test's, which is the reactor's.
 */
#pragma once

#include "base/buf.h"
#include "image/kernel_image.h"
#include "vmm/vm.h"

struct guest_vm;

struct guest_vm_config {
	const char *guest; /* "hello": one of tests/kvm/guests */
	const char *cmdline;
	const void *initrd;
	size_t initrd_len;
	uint32_t n_cpus;                      /* 0: 1 */
	const struct topology *topology;      /* NULL: n_cpus in one LLC */
	uint64_t memory_mib;                  /* 0: 64 */
	const struct virtio_blk_config *disk; /* NULL: none */
	const struct virtio_net_config *net;  /* NULL: none */
	/* After new bytes of @port; NULL: they are only recorded in port[].out. */
	void (*on_output)(struct guest_vm *g, unsigned port);
	/* The guest opened @port; NULL: nobody asks. */
	void (*on_open)(struct guest_vm *g, unsigned port);
	/* At most this many bytes of port 1 are taken per call and one call per millisecond; 0: no limit. */
	size_t frames_pace;
	void *ctx;
};

struct guest_vm {
	const struct guest_vm_config *config;
	struct reactor *reactor;
	struct kernel_image kernel;
	struct vm *vm;
	int initrd_fd;
	struct buf com1;
	struct guest_vm_port {
		struct guest_vm *owner;
		struct buf out, in;
	} port[VIRTIO_CONSOLE_N_PORTS];
	struct reactor_op limit, pace;
	size_t frames_room;
	bool ended;
	enum vm_end end;
	char end_text[512];
	struct vm_stats stats;
};

/*
 * Builds the VM, runs it to its end (or for @limit_ms, then end is VM_STOPPED), drains and closes it. What it said stays
 * in @g until guest_vm_fini. Fails the running test when the VM cannot be built.
 */
void guest_vm_run(struct guest_vm *g, const struct guest_vm_config *config, uint64_t limit_ms);
void guest_vm_fini(struct guest_vm *g);
/* Queues bytes for a port of the guest; they go as it has room. */
void guest_vm_send(struct guest_vm *g, unsigned port, const void *data, size_t n);
/* First thing in main: exits 77 (skip) with the reason where there is no usable /dev/kvm. */
void guest_vm_skip_without_kvm(void);
