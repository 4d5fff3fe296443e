/* See virtio.h. */
#include "virtio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "cpu.h"
#include "text.h"

enum { MAGIC = 0x74726976, VERSION = 2 };

static uint32_t reg_read(const struct virtio *dev, uint32_t reg)
{
	return mmio_read32(dev->mmio + reg);
}

static void reg_write(const struct virtio *dev, uint32_t reg, uint32_t v)
{
	mmio_write32(dev->mmio + reg, v);
}

static void find(const char *line, uint32_t id, unsigned nth, struct virtio *ret)
{
	for (const char *p = line; (p = text_word(p, "virtio_mmio.device"));) {
		while (*p && *p != '@')
			p++;
		p += *p ? 1 : 0;
		ret->mmio = text_parse(&p);
		p += *p == ':' ? 1 : 0;
		ret->gsi = (unsigned)text_parse(&p);
		if (ret->mmio && reg_read(ret, VIRTIO_MMIO_MAGIC_VALUE) == MAGIC &&
		    reg_read(ret, VIRTIO_MMIO_VERSION) == VERSION &&
		    reg_read(ret, VIRTIO_MMIO_DEVICE_ID) == id && nth-- == 0)
			return;
	}
	text_die("no such virtio device of version 2 on the command line");
}

static void set_status(const struct virtio *dev, uint32_t bit)
{
	reg_write(dev, VIRTIO_MMIO_STATUS, reg_read(dev, VIRTIO_MMIO_STATUS) | bit);
}

static void negotiate(struct virtio *dev, uint64_t wanted)
{
	const uint64_t needed = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX;
	uint64_t offered = 0;

	for (uint32_t word = 0; word < 2; word++) {
		reg_write(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
		offered |= (uint64_t)reg_read(dev, VIRTIO_MMIO_DEVICE_FEATURES) << 32 * word;
	}
	if ((offered & needed) != needed)
		text_die("the virtio device lacks VERSION_1 or EVENT_IDX");
	dev->features = offered & (needed | wanted);
	for (uint32_t word = 0; word < 2; word++) {
		reg_write(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
		reg_write(dev, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(dev->features >> 32 * word));
	}
	set_status(dev, VIRTIO_CONFIG_S_FEATURES_OK);
	if (!(reg_read(dev, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK))
		text_die("the virtio device refuses its own features");
}

void virtio_open(const char *line, uint32_t id, unsigned nth, uint64_t wanted, struct virtio *ret)
{
	find(line, id, nth, ret);
	reg_write(ret, VIRTIO_MMIO_STATUS, 0);
	while (reg_read(ret, VIRTIO_MMIO_STATUS))
		cpu_pause();
	set_status(ret, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	set_status(ret, VIRTIO_CONFIG_S_DRIVER);
	negotiate(ret, wanted);
}

void virtio_start(const struct virtio *dev)
{
	set_status(dev, VIRTIO_CONFIG_S_DRIVER_OK);
}

static void write_address(const struct virtio *dev, uint32_t low, uintptr_t at)
{
	reg_write(dev, low, (uint32_t)at);
	reg_write(dev, low + 4, (uint32_t)(at >> 32));
}

static volatile uint16_t *used_event(const struct vq *q)
{
	return &q->avail->ring[q->size];
}

static volatile uint16_t *avail_event(const struct vq *q)
{
	return (volatile uint16_t *)&q->used->ring[q->size];
}

/* An interrupt at a chain that is as far away as can be: none, for 65,535 chains from now. */
static void disarm(struct vq *q)
{
	*used_event(q) = (uint16_t)(q->n_taken - 1);
}

void vq_open(struct vq *q, const struct virtio *dev, uint32_t index, uint16_t size, uint8_t *memory,
	     bool want_interrupts)
{
	memset(memory, 0, VQ_MEMORY_SIZE);
	*q = (struct vq){ .mmio = dev->mmio, .index = index, .want_interrupts = want_interrupts };
	reg_write(dev, VIRTIO_MMIO_QUEUE_SEL, index);
	uint32_t max = reg_read(dev, VIRTIO_MMIO_QUEUE_NUM_MAX);
	q->size = max < size ? (uint16_t)max : size;
	if (q->size == 0)
		text_die("the virtio device has no such queue");
	/* Table 4,096 bytes, available ring 518, used ring 2,054 at most. */
	q->desc = (struct vring_desc *)memory;
	q->avail = (volatile struct vq_avail *)(memory + 4096);
	q->used = (volatile struct vq_used *)(memory + 8192);
	disarm(q);
	reg_write(dev, VIRTIO_MMIO_QUEUE_NUM, q->size);
	write_address(dev, VIRTIO_MMIO_QUEUE_DESC_LOW, (uintptr_t)q->desc);
	write_address(dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uintptr_t)q->avail);
	write_address(dev, VIRTIO_MMIO_QUEUE_USED_LOW, (uintptr_t)q->used);
	reg_write(dev, VIRTIO_MMIO_QUEUE_READY, 1);
}

void vq_post(struct vq *q, uint16_t head)
{
	q->avail->ring[q->n_posted % q->size] = head;
	compiler_barrier(); /* the entry before the index; pairs with the device's load of idx */
	q->avail->idx = ++q->n_posted;
}

void vq_kick(struct vq *q)
{
	if (q->n_posted == q->n_kicked)
		return;
	memory_barrier(); /* idx before the device's wish; pairs with its store and second look */
	bool wanted = vring_need_event(*avail_event(q), q->n_posted, q->n_kicked);
	q->n_kicked = q->n_posted;
	if (!wanted)
		return;
	q->n_kicks++;
	mmio_write32(q->mmio + VIRTIO_MMIO_QUEUE_NOTIFY, q->index);
}

bool vq_take(struct vq *q, uint16_t *ret_head, uint32_t *ret_len)
{
	if (q->used->idx == q->n_taken)
		return false;
	compiler_barrier(); /* the index before the entry; pairs with the device's store of idx */
	const volatile struct vring_used_elem *e = &q->used->ring[q->n_taken % q->size];
	*ret_head = (uint16_t)e->id;
	*ret_len = e->len;
	q->n_taken++;
	if (!q->want_interrupts)
		disarm(q);
	return true;
}

bool vq_arm(struct vq *q)
{
	*used_event(q) = q->n_taken;
	memory_barrier(); /* our wish before the index; pairs with the device's store and look */
	return q->used->idx != q->n_taken;
}
