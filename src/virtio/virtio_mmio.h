/*
 * virtio-mmio transport, version 2 (VIRTIO 1.2, 4.2.2): the register file between a vCPU thread and
 * one device.
 *
 * vCPU threads enter by io_bus; InterruptStatus and InterruptACK are answered from an atomic, all
 * else under the device's lock. Kicks arrive as one eventfd per device (doorbell_host: any 4-byte
 * write to QueueNotify), polled on the reactor; every queue of the device is then looked at.
 * Without a doorbell host QueueNotify exits to the vCPU thread, which posts the kick.
 *
 * A write of 0 to Status or QueueReady returns only when no host I/O touches guest memory any more:
 * the vCPU posts "stop" and waits without the lock.
 */
#pragma once

#include "base/error.h"
#include "bus/doorbell.h"
#include "bus/guest_mem.h"
#include "bus/io_bus.h"
#include "bus/irq_line.h"
#include "reactor/reactor.h"

struct virtio_dev;

enum { VIRTIO_MMIO_LEN = 0x1000 };

struct virtio_mmio_config {
	gpa_t base;
	const struct guest_mem *mem;   /* borrowed, outlives the transport */
	struct reactor *reactor;       /* borrowed */
	struct doorbell_host doorbell; /* attach == NULL: kicks by register exits */
	int irq_fd;                    /* borrowed eventfd; -1: irq_sink, if there is one */
	struct irq_sink irq_sink;
};

struct virtio_mmio; /* heap: virtio_mmio_new */

/* Set-up thread (= reactor thread). Borrows @dev until virtio_mmio_free. */
MUST_CHECK int virtio_mmio_new(const struct virtio_mmio_config *config, struct virtio_dev *dev,
			       struct virtio_mmio **ret, struct error *err);
/*
 * Reactor thread, after virtio_mmio_stop's callback and after the vCPU threads were joined. NULL is
 * fine.
 */
struct virtio_mmio *virtio_mmio_free(struct virtio_mmio *t);
/* For io_bus_add. */
struct io_region *virtio_mmio_region(struct virtio_mmio *t);

/*
 * Reactor thread, vCPUs stopped: looks at every ready queue once more, as if each had been kicked,
 * so that nothing the guest queued before it powered off is lost.
 */
void virtio_mmio_drain(struct virtio_mmio *t);

/*
 * Reactor thread, at the end of a VM: stops the device for good (reset with I/O in flight drained,
 * polls cancelled) and releases any vCPU that waits for a reset. @done is called exactly once, from
 * a reactor callback or deferred work, never from inside this call. Register accesses after it read
 * 0 and are ignored.
 */
void virtio_mmio_stop(struct virtio_mmio *t, void (*done)(void *ctx), void *ctx);

/* Counters for the run's statistics; any thread, approximate while running. */
struct virtio_mmio_stats {
	uint64_t n_kicks;          /* doorbell wake-ups on the reactor (coalesced) */
	uint64_t n_looks;          /* times that new buffers were found without a kick */
	uint64_t n_notify_exits;   /* kicks that exited to user space: 0 with a doorbell host */
	uint64_t n_register_exits; /* all register accesses */
	uint64_t n_interrupts;
	uint64_t n_interrupts_suppressed; /* EVENT_IDX or NO_INTERRUPT */
	uint64_t n_guest_faults;          /* virtio_dev_fail calls */
};
void virtio_mmio_stats(const struct virtio_mmio *t, struct virtio_mmio_stats *ret);
