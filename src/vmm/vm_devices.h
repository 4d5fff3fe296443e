/*
 * The devices of a VM: which there are, their interrupt lines and doorbells, how each stops. A new
 * device is one row of the list in vm_devices.c, one member here and its configuration in vm.h.
 *
 * Owner: the I/O thread. vCPU threads reach the devices through the two buses only.
 */
#pragma once

#include "bus/guest_mem.h"
#include "bus/io_bus.h"
#include "legacy/power.h"
#include "vmm/vm.h"

struct uart16550;

enum vm_line { VM_LINE_COM1, VM_LINE_COM2, VM_LINE_CONSOLE, VM_LINE_DISK, VM_LINE_NET, VM_N_LINES };

struct vm_devices_config {
	const struct vm_config *vm;
	struct reactor *reactor;
	int vm_fd;
	const struct guest_mem *mem;
	void (*on_power)(void *ctx, enum power_event event); /* vCPU threads */
	void *ctx;
};

/* A virtio device's place on the MMIO bus. */
struct vm_virtio {
	struct virtio_mmio *mmio; /* NULL: this VM does not have it */
	bool stopping;
	bool stopped;
};

struct vm_devices {
	struct vm_devices_config config;
	struct io_bus mmio;
	struct io_bus ports;
	struct arch_irqchip *irqchip; /* NULL: all of it is in the kernel */
	int irq_fds[VM_N_LINES];      /* -1: no such device, or its line leads to irqchip */

	struct uart16550 *com1;
	struct uart16550 *com2;
	struct power power;
	struct virtio_console *console;
	struct vm_virtio console_at;
	struct virtio_blk *disk; /* NULL: none */
	struct vm_virtio disk_at;
	struct virtio_net *net; /* NULL: none */
	struct vm_virtio net_at;

	/* vm_stop_disk: who waits for it, and what calls them where there is no disk. */
	void (*disk_done)(void *ctx);
	void *disk_done_ctx;
	struct reactor_deferred no_disk_work;
};

/*
 * @config's pointers must outlive @d. After an error vm_devices_fini is still due; it turns the
 * reactor until every device has let go of guest memory.
 */
MUST_CHECK int vm_devices_init(struct vm_devices *d, const struct vm_devices_config *config,
			       struct error *err);
void vm_devices_fini(struct vm_devices *d);
/* See vm.h: vm_drain, vm_stop_disk, vm_stats. */
void vm_devices_drain(struct vm_devices *d);
void vm_devices_stop_disk(struct vm_devices *d, void (*done)(void *ctx), void *ctx);
/* Adds what devices and buses counted. */
void vm_devices_stats(const struct vm_devices *d, struct vm_stats *ret);
