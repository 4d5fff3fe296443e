/*
 * The driver's side of virtio-mmio version 2 and of a split queue (VIRTIO 1.2, 4.2 and 2.7), for
 * one device of a micro-guest. One descriptor per buffer; a buffer is known by its descriptor's
 * number, a chain of them by that of its first.
 */
#pragma once

#include "guest.h"

#include <linux/virtio_ring.h>

enum { VQ_SIZE = 32 };

/* The three areas, laid out as the device reads them. */
struct vq_ring {
	struct vring_desc desc[VQ_SIZE] __attribute__((aligned(16)));
	struct {
		uint16_t flags;
		uint16_t idx;
		uint16_t ring[VQ_SIZE];
		uint16_t used_event;
	} avail;
	struct {
		uint16_t flags;
		uint16_t idx;
		struct vring_used_elem ring[VQ_SIZE];
		uint16_t avail_event;
	} used __attribute__((aligned(4)));
};

struct vq {
	volatile struct vq_ring *ring;
	uintptr_t mmio; /* of its device */
	uint32_t index;
	uint16_t last_used, last_kick;
	bool event_idx, want_interrupts;
};

/* Resets the device and negotiates: all of @features must be offered. Leaves it at FEATURES_OK. */
void vq_device_init(uintptr_t mmio, uint32_t device_id, uint64_t features);
/* Gives queue @index to the device, empty. @q->ring, event_idx and want_interrupts are set by the
 * caller. */
void vq_enable(struct vq *q, uintptr_t mmio, uint32_t index);
void vq_device_start(uintptr_t mmio); /* DRIVER_OK */
void vq_device_reset(uintptr_t mmio); /* Status = 0, then waits until it reads 0 */
bool vq_device_needs_reset(uintptr_t mmio);

/* Makes buffer @n available (not kicked yet). @write: the device writes it. */
void vq_post(struct vq *q, uint16_t n, const void *data, uint32_t size, bool write);
/* A chain of @n pieces in the descriptors from @first on; it comes back as @first. */
struct vq_piece {
	const void *data;
	uint32_t size;
	bool write;
};
void vq_post_chain(struct vq *q, uint16_t first, const struct vq_piece *pieces, uint16_t n);
void vq_kick(struct vq *q); /* unless the device said that it does not need it */
/* The next buffer that the device gave back; false: none. */
bool vq_take(struct vq *q, uint16_t *ret_n, uint32_t *ret_written);
/* Asks for an interrupt at the next used buffer. True: there is one already. */
bool vq_arm(struct vq *q);
