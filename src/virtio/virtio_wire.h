/*
 * The wire formats of virtio, from the kernel's headers, with the layout that VIRTIO 1.2 gives them
 * pinned down. Fields are little-endian; both architectures we run on are, asserted here once.
 */
#pragma once

#include <assert.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "virtio fields are used as they are");

/* VIRTIO 1.2, 2.7.5 descriptor table, 2.7.6 available ring, 2.7.8 used ring. */
static_assert(sizeof(struct vring_desc) == 16, "2.7.5");
static_assert(offsetof(struct vring_desc, len) == 8, "2.7.5");
static_assert(offsetof(struct vring_desc, flags) == 12, "2.7.5");
static_assert(offsetof(struct vring_desc, next) == 14, "2.7.5");
static_assert(offsetof(struct vring_avail, ring) == 4, "2.7.6");
static_assert(sizeof(struct vring_used_elem) == 8, "2.7.8");
static_assert(offsetof(struct vring_used, ring) == 4, "2.7.8");

/* 4.2.2: what a driver reads first. */
enum { VIRTIO_WIRE_MAGIC = 0x74726976, VIRTIO_WIRE_MMIO_VERSION = 2 };

/* 2.7: sizes of the areas; both rings end with the other side's event index (2.7.10). */
static inline size_t virtio_wire_desc_size(uint16_t queue_size)
{
	return 16u * (size_t)queue_size;
}

static inline size_t virtio_wire_avail_size(uint16_t queue_size)
{
	return 6u + 2u * (size_t)queue_size;
}

static inline size_t virtio_wire_used_size(uint16_t queue_size)
{
	return 6u + 8u * (size_t)queue_size;
}
