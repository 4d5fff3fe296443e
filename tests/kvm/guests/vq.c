/*
 * Driver's side of virtio-mmio and split queues (vq.h). x86 keeps stores in order and loads in
 * order: only a store before a load of what the other side writes needs a fence; the rest are
 * compiler barriers.
 */
#include "vq.h"

#include <assert.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

enum { MAGIC = 0x74726976, VERSION = 2, STATUS_NEEDS_RESET = 0x40, RESET_POLLS = 1000 * 1000 };

static_assert(offsetof(struct vq_ring, avail) == sizeof(struct vring_desc[VQ_SIZE]),
	      "the avail area follows the table");
static_assert(sizeof(((struct vq_ring *)0)->avail) == 6 + 2 * VQ_SIZE, "VIRTIO 1.2, 2.7.6");
static_assert(offsetof(struct vq_ring, used.avail_event) - offsetof(struct vq_ring, used) ==
		  4 + 8 * VQ_SIZE,
	      "VIRTIO 1.2, 2.7.8");

static void set_status(uintptr_t mmio, uint32_t bit)
{
	mmio_write32(mmio + VIRTIO_MMIO_STATUS, mmio_read32(mmio + VIRTIO_MMIO_STATUS) | bit);
}

void vq_device_reset(uintptr_t mmio)
{
	mmio_write32(mmio + VIRTIO_MMIO_STATUS, 0);
	for (int i = 0; mmio_read32(mmio + VIRTIO_MMIO_STATUS); i++)
		if (i == RESET_POLLS)
			guest_die("virtio: Status does not become 0");
}

static void negotiate(uintptr_t mmio, uint64_t features)
{
	for (uint32_t word = 0; word < 2; word++) {
		uint32_t want = (uint32_t)(features >> 32 * word);
		mmio_write32(mmio + VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
		if (want & ~mmio_read32(mmio + VIRTIO_MMIO_DEVICE_FEATURES))
			guest_die("virtio: a wanted feature is not offered");
		mmio_write32(mmio + VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
		mmio_write32(mmio + VIRTIO_MMIO_DRIVER_FEATURES, want);
	}
	set_status(mmio, VIRTIO_CONFIG_S_FEATURES_OK);
	if (!(mmio_read32(mmio + VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK))
		guest_die("virtio: FEATURES_OK refused");
}

void vq_device_init(uintptr_t mmio, uint32_t device_id, uint64_t features)
{
	if (mmio_read32(mmio + VIRTIO_MMIO_MAGIC_VALUE) != MAGIC ||
	    mmio_read32(mmio + VIRTIO_MMIO_VERSION) != VERSION ||
	    mmio_read32(mmio + VIRTIO_MMIO_DEVICE_ID) != device_id)
		guest_die("virtio: no such device");
	vq_device_reset(mmio);
	set_status(mmio, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	set_status(mmio, VIRTIO_CONFIG_S_DRIVER);
	negotiate(mmio, features);
}

static void write_address(uintptr_t low, const volatile void *area)
{
	uint64_t at = (uint64_t)area;
	mmio_write32(low, (uint32_t)at);
	mmio_write32(low + 4, (uint32_t)(at >> 32));
}

void vq_enable(struct vq *q, uintptr_t mmio, uint32_t index)
{
	q->mmio = mmio;
	q->index = index;
	q->last_used = q->last_kick = 0;
	memset((void *)(uintptr_t)q->ring, 0, sizeof(*q->ring));
	q->ring->avail.flags = q->want_interrupts ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
	q->ring->avail.used_event =
	    q->want_interrupts ? 0 : UINT16_MAX; /* never, for 65535 buffers */

	mmio_write32(mmio + VIRTIO_MMIO_QUEUE_SEL, index);
	if (mmio_read32(mmio + VIRTIO_MMIO_QUEUE_READY))
		guest_die("virtio: queue is ready before it was set up");
	if (mmio_read32(mmio + VIRTIO_MMIO_QUEUE_NUM_MAX) < VQ_SIZE)
		guest_die("virtio: queue too small");
	mmio_write32(mmio + VIRTIO_MMIO_QUEUE_NUM, VQ_SIZE);
	write_address(mmio + VIRTIO_MMIO_QUEUE_DESC_LOW, &q->ring->desc);
	write_address(mmio + VIRTIO_MMIO_QUEUE_AVAIL_LOW, &q->ring->avail);
	write_address(mmio + VIRTIO_MMIO_QUEUE_USED_LOW, &q->ring->used);
	mmio_write32(mmio + VIRTIO_MMIO_QUEUE_READY, 1);
}

void vq_device_start(uintptr_t mmio)
{
	set_status(mmio, VIRTIO_CONFIG_S_DRIVER_OK);
}

bool vq_device_needs_reset(uintptr_t mmio)
{
	return mmio_read32(mmio + VIRTIO_MMIO_STATUS) & STATUS_NEEDS_RESET;
}

void vq_post_chain(struct vq *q, uint16_t first, const struct vq_piece *pieces, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		volatile struct vring_desc *d = &q->ring->desc[first + i];
		bool has_next = i + 1 < n;

		d->addr = (uint64_t)pieces[i].data;
		d->len = pieces[i].size;
		d->flags = (uint16_t)((pieces[i].write ? VRING_DESC_F_WRITE : 0) |
				      (has_next ? VRING_DESC_F_NEXT : 0));
		d->next = (uint16_t)(has_next ? first + i + 1 : 0);
	}
	q->ring->avail.ring[q->ring->avail.idx % VQ_SIZE] = first;
	compiler_barrier(); /* the entry before the index; pairs with the device's load of idx */
	q->ring->avail.idx++;
}

void vq_post(struct vq *q, uint16_t n, const void *data, uint32_t size, bool write)
{
	vq_post_chain(q, n, &(struct vq_piece){ data, size, write }, 1);
}

void vq_kick(struct vq *q)
{
	memory_barrier(); /* idx before the device's wish; pairs with the device's store of it and
			     re-read of idx */
	uint16_t now = q->ring->avail.idx;
	bool wanted = q->event_idx ? vring_need_event(q->ring->used.avail_event, now, q->last_kick)
				   : !(q->ring->used.flags & VRING_USED_F_NO_NOTIFY);
	q->last_kick = now;
	if (wanted)
		mmio_write32(q->mmio + VIRTIO_MMIO_QUEUE_NOTIFY, q->index);
}

bool vq_take(struct vq *q, uint16_t *ret_n, uint32_t *ret_written)
{
	if (q->ring->used.idx == q->last_used)
		return false;
	compiler_barrier(); /* the index before the entry and the buffer; pairs with the device's
			       store of idx */
	const volatile struct vring_used_elem *e = &q->ring->used.ring[q->last_used % VQ_SIZE];
	if (e->id >= VQ_SIZE)
		guest_die("virtio: used buffer out of range");
	*ret_n = (uint16_t)e->id;
	*ret_written = e->len;
	q->last_used++;
	/* Stays one behind, which an index reaches only after a whole turn. */
	if (!q->want_interrupts)
		q->ring->avail.used_event = (uint16_t)(q->last_used - 1);
	return true;
}

bool vq_arm(struct vq *q)
{
	q->ring->avail.used_event = q->last_used;
	memory_barrier(); /* our wish before the index; pairs with the device's store of idx and
			     load of the wish */
	return q->ring->used.idx != q->last_used;
}
