/*
 * A driver of virtio over MMIO (VIRTIO 1.2, 2.7 and 4.2), for one device with split queues and EVENT_IDX. Descriptors
 * are written once by the owner; what goes round are chain heads.
 */
#pragma once

#include <linux/virtio_ring.h>

enum { VQ_SIZE_MAX = 256 };

struct vq_avail {
	uint16_t flags;
	uint16_t idx;
	uint16_t ring[];
};

struct vq_used {
	uint16_t flags;
	uint16_t idx;
	struct vring_used_elem ring[];
};

struct vq {
	struct vring_desc *desc;
	volatile struct vq_avail *avail;
	volatile struct vq_used *used;
	uintptr_t mmio;
	uint32_t index;
	uint16_t size;
	uint16_t n_posted, n_kicked, n_taken;
	bool want_interrupts;
	uint64_t n_kicks; /* writes of QueueNotify */
};

struct virtio {
	uintptr_t mmio;
	unsigned gsi;
	uint64_t features; /* negotiated */
};

/*
 * Finds the @nth device of type @id among the words "virtio_mmio.device=SIZE@ADDRESS:GSI" of the command line, resets it
 * and takes those of @wanted that it offers, besides VERSION_1 and EVENT_IDX, which it must. Ends the guest without one.
 */
void virtio_open(const char *line, uint32_t id, unsigned nth, uint64_t wanted, struct virtio *ret);
/* Queue @index of at most @size entries, which live at @memory (page-aligned, VQ_MEMORY_SIZE). */
enum { VQ_MEMORY_SIZE = 16384 };
void vq_open(struct vq *q, const struct virtio *dev, uint32_t index, uint16_t size, uint8_t *memory,
	     bool want_interrupts);
void virtio_start(const struct virtio *dev); /* DRIVER_OK */

/* Makes the chain at @head available; not kicked yet. */
void vq_post(struct vq *q, uint16_t head);
/* Kicks for all that was posted, if the device asks for it. */
void vq_kick(struct vq *q);
/* The next chain that came back. */
bool vq_take(struct vq *q, uint16_t *ret_head, uint32_t *ret_len);
/* Asks for an interrupt at the next used chain; true: there is one already. */
bool vq_arm(struct vq *q);
