/* What virtio-blk has on the wire (VIRTIO 1.2, 5.2), checked against the standard. */
#pragma once

#include <assert.h>

/*
 * The kernel's header has a struct virtio_blk_config, and so have we: theirs is the configuration
 * space.
 */
#define virtio_blk_config virtio_blk_wire_config
#include <linux/virtio_blk.h>
#undef virtio_blk_config

static_assert(sizeof(struct virtio_blk_outhdr) == 16, "5.2.6");
static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16, "5.2.6");
static_assert(offsetof(struct virtio_blk_wire_config, blk_size) == 20, "5.2.4");
static_assert(offsetof(struct virtio_blk_wire_config, physical_block_exp) == 24, "5.2.4");
static_assert(offsetof(struct virtio_blk_wire_config, max_discard_sectors) == 36, "5.2.4");
static_assert(offsetof(struct virtio_blk_wire_config, write_zeroes_may_unmap) == 56, "5.2.4");
