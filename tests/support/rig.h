/*
 * One virtio device as a test sees it: guest memory, a reactor, the device behind its registers, its
 * interrupt line. Owned by the test's main thread, which is the reactor's; register writes that wait
 * for the reactor run on a thread of their own. What cannot fail in a good test asserts.
 *
 *	rig_open, make a device on rig.reactor, rig_attach
 *	rig_detach, free the device, rig_close
 */
#pragma once

#include <pthread.h>

#include "reactor/reactor.h"
#include "virtio/virtio_mmio.h"

struct rig {
	struct guest_mem mem;
	struct reactor *reactor;
	bool is_guest_of_reactor; /* another rig's */
	struct virtio_mmio *mmio;
	int irq_fd;
	bool is_stopped;
	/* Optional: after each turn of a wait, for hosts that must do something to end it. */
	void (*on_wait)(void *ctx);
	void *ctx;
};

/* @mem_len bytes of memory at 0; a test may map more before it attaches. */
void rig_open(struct rig *r, enum reactor_backend backend, uint64_t mem_len);
/* The same on the reactor of @other, which is closed later. */
void rig_open_beside(struct rig *r, const struct rig *other, uint64_t mem_len);
/* @doorbell NULL: kicks by register exits. */
void rig_attach(struct rig *r, struct virtio_dev *dev, const struct doorbell_host *doorbell);
/* Stops the device for good, unless rig_stop did; then nothing knows it any more. */
void rig_detach(struct rig *r);
void rig_close(struct rig *r);

/* Begins the stop; it has ended when is_stopped. */
void rig_stop_begin(struct rig *r);
void rig_stop(struct rig *r);

struct io_region *rig_region(struct rig *r);
uint64_t rig_read(struct rig *r, uint64_t off, unsigned size);
/* On this thread: must not be one that waits for the reactor. */
void rig_write(struct rig *r, uint64_t off, unsigned size, uint64_t value);

/* A write of 4 bytes by a vCPU of its own. */
struct rig_vcpu {
	struct rig *rig;
	uint64_t off;
	uint32_t value;
	void (*after)(void *ctx); /* optional: on that vCPU, at once after the write */
	void *ctx;
	bool is_done; /* as the reactor knows */
	struct reactor_msg done_msg;
	pthread_t thread;
};
void rig_vcpu_begin(struct rig_vcpu *v);
/* Turns the reactor until it is done. */
void rig_vcpu_end(struct rig_vcpu *v);
/* Any register write, on a vCPU of its own where it may wait. */
void rig_write_any(struct rig *r, uint64_t off, unsigned size, uint64_t value);
void rig_reset(struct rig *r);

void rig_turns(struct rig *r, int n); /* without waiting in any */
/* One turn that may wait a millisecond; asserts when @deadline_ns has passed. */
void rig_wait(struct rig *r, uint64_t deadline_ns);
uint64_t rig_deadline(void); /* from now, generous */

/* Pulses of the interrupt line since the last call. */
uint64_t rig_interrupts(struct rig *r);
bool rig_needs_reset(struct rig *r);
struct virtio_mmio_stats rig_stats(const struct rig *r);
