/* See fake_driver.h. Barriers as a guest needs them: the tests run driver and device on two
 * threads, too. */
#include "support/fake_driver.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/num.h"
#include "virtio/virtio_wire.h"

void fake_driver_init(struct fake_driver *d, const struct guest_mem *mem, struct io_region *region,
		      gpa_t arena)
{
	*d = (struct fake_driver){ .mem = mem, .region = region, .doorbell_fd = -1 };
	d->arena = arena.addr;
}

gpa_t fake_driver_alloc(struct fake_driver *d, uint64_t len, uint64_t align)
{
	gpa_t gpa = GPA(num_align_up(d->arena, align));
	struct guest_slice s;
	int res = guest_mem_slice(d->mem, gpa, len, &s);

	ASSERT(res == 0); /* the test's memory is too small */
	res = guest_slice_fill(s, 0, 0, s.len);
	ASSERT(res == 0);
	d->arena = gpa.addr + len;
	return gpa;
}

uint32_t fake_driver_read(struct fake_driver *d, uint32_t reg)
{
	return (uint32_t)d->region->ops->read(d->region, reg, 4);
}

void fake_driver_write(struct fake_driver *d, uint32_t reg, uint32_t value)
{
	d->region->ops->write(d->region, reg, 4, value);
}

uint64_t fake_driver_offered(struct fake_driver *d)
{
	uint64_t features;

	fake_driver_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)fake_driver_read(d, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	fake_driver_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | fake_driver_read(d, VIRTIO_MMIO_DEVICE_FEATURES);
}

uint32_t fake_driver_negotiate(struct fake_driver *d, uint64_t features)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	fake_driver_write(d, VIRTIO_MMIO_STATUS, 0);
	fake_driver_write(d, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	fake_driver_write(d, VIRTIO_MMIO_STATUS, status);
	d->features = features | 1ull << VIRTIO_F_VERSION_1;
	fake_driver_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	fake_driver_write(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(d->features >> 32));
	fake_driver_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	fake_driver_write(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)d->features);
	fake_driver_write(d, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_FEATURES_OK);
	return fake_driver_read(d, VIRTIO_MMIO_STATUS);
}

static struct guest_slice slice_at(struct fake_driver *d, gpa_t gpa, uint64_t len)
{
	struct guest_slice s;
	int res = guest_mem_slice(d->mem, gpa, len, &s);

	ASSERT(res == 0);
	return s;
}

void fake_driver_layout(struct fake_driver *d, uint32_t q_idx, uint16_t size)
{
	struct fake_queue *q = &d->queues[q_idx];
	gpa_t desc = q->desc_gpa;
	gpa_t avail = q->avail_gpa;
	gpa_t used = q->used_gpa;

	ASSERT(size <= FAKE_QUEUE_SIZE_MAX);
	if (q->size != size) {
		desc = fake_driver_alloc(d, virtio_wire_desc_size(size), 16);
		avail = fake_driver_alloc(d, virtio_wire_avail_size(size), 2);
		used = fake_driver_alloc(d, virtio_wire_used_size(size), 4);
	}
	*q = (struct fake_queue){ .size = size };
	q->desc_gpa = desc;
	q->avail_gpa = avail;
	q->used_gpa = used;
	q->desc = slice_at(d, desc, virtio_wire_desc_size(size));
	q->avail = slice_at(d, avail, virtio_wire_avail_size(size));
	q->used = slice_at(d, used, virtio_wire_used_size(size));
	int res = guest_slice_fill(q->avail, 0, 0, q->avail.len);
	ASSERT(res == 0);
	res = guest_slice_fill(q->used, 0, 0, q->used.len);
	ASSERT(res == 0);
	for (uint16_t i = 0; i < size; i++)
		q->free[q->n_free++] = (uint16_t)(size - 1 - i);
}

void fake_driver_set_queue(struct fake_driver *d, uint32_t q_idx)
{
	const struct fake_queue *q = &d->queues[q_idx];

	fake_driver_write(d, VIRTIO_MMIO_QUEUE_SEL, q_idx);
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_NUM, q->size);
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)q->desc_gpa.addr);
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(q->desc_gpa.addr >> 32));
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)q->avail_gpa.addr);
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(q->avail_gpa.addr >> 32));
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)q->used_gpa.addr);
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(q->used_gpa.addr >> 32));
	fake_driver_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
}

void fake_driver_start(struct fake_driver *d, uint64_t features, uint32_t n_queues, uint16_t size)
{
	uint32_t status = fake_driver_negotiate(d, features);

	ASSERT(status & VIRTIO_CONFIG_S_FEATURES_OK);
	for (uint32_t i = 0; i < n_queues; i++) {
		fake_driver_layout(d, i, size);
		fake_driver_set_queue(d, i);
	}
	fake_driver_write(d, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
}

void fake_driver_reset(struct fake_driver *d)
{
	fake_driver_write(d, VIRTIO_MMIO_STATUS, 0);
}

static int table_write(struct guest_slice table, uint16_t i, const struct vring_desc *desc)
{
	return guest_slice_write(table, i * sizeof(*desc), desc, sizeof(*desc));
}

static void publish(struct fake_queue *q, uint16_t head)
{
	guest_slice_store16(q->avail, 4 + 2 * (size_t)(q->avail_idx % q->size), head);
	q->avail_idx++;
	guest_slice_store16_release(q->avail, 2, q->avail_idx);
}

static uint16_t seg_flags(const struct fake_seg *seg, bool has_next)
{
	return (uint16_t)((seg->is_writable ? VRING_DESC_F_WRITE : 0) |
			  (has_next ? VRING_DESC_F_NEXT : 0));
}

int fake_driver_add(struct fake_driver *d, uint32_t q_idx, const struct fake_seg *segs, uint16_t n)
{
	struct fake_queue *q = &d->queues[q_idx];

	if (q->n_free < n)
		return -ENOSPC;
	uint16_t head = q->free[q->n_free - 1];
	for (uint16_t i = 0; i < n; i++) {
		uint16_t at = q->free[--q->n_free];
		bool has_next = i + 1 < n;
		struct vring_desc desc = {
			.addr = segs[i].gpa.addr,
			.len = segs[i].len,
			.flags = seg_flags(&segs[i], has_next),
			.next = has_next ? q->free[q->n_free - 1] : 0,
		};

		q->chain[at] = desc.next;
		int res = table_write(q->desc, at, &desc);
		ASSERT(res == 0);
	}
	q->chain_len[head] = n;
	publish(q, head);
	return head;
}

int fake_driver_add_indirect(struct fake_driver *d, uint32_t q_idx, const struct fake_seg *segs,
			     uint16_t n)
{
	struct fake_queue *q = &d->queues[q_idx];
	gpa_t table = fake_driver_alloc(d, 16u * (uint64_t)n, 16);

	if (q->n_free == 0)
		return -ENOSPC;
	for (uint16_t i = 0; i < n; i++)
		fake_driver_raw_table(d, table, i, segs[i].gpa.addr, segs[i].len,
				      seg_flags(&segs[i], i + 1 < n), (uint16_t)(i + 1));
	uint16_t head = q->free[--q->n_free];
	fake_driver_raw_desc(d, q_idx, head, table.addr, 16u * (uint32_t)n, VRING_DESC_F_INDIRECT,
			     0);
	q->chain_len[head] = 1;
	publish(q, head);
	return head;
}

int fake_driver_add_best(struct fake_driver *d, uint32_t q_idx, const struct fake_seg *segs,
			 uint16_t n)
{
	return d->features >> VIRTIO_RING_F_INDIRECT_DESC & 1
		   ? fake_driver_add_indirect(d, q_idx, segs, n)
		   : fake_driver_add(d, q_idx, segs, n);
}

uint16_t fake_segs_cut(struct fake_seg *segs, gpa_t gpa, uint32_t n, uint16_t pieces,
		       bool is_writable)
{
	uint16_t i = 0;

	while (n > 0) {
		uint32_t len = i + 1 == pieces ? n : (uint32_t)num_min(n, n / pieces | 1);

		segs[i++] = (struct fake_seg){ gpa, len, is_writable };
		gpa.addr += len;
		n -= len;
	}
	return i;
}

bool fake_driver_kick(struct fake_driver *d, uint32_t q_idx)
{
	struct fake_queue *q = &d->queues[q_idx];
	uint16_t old = q->kicked_idx;
	bool is_wanted;

	q->kicked_idx = q->avail_idx;
	/* Between publishing and reading what the device asked for: virtq.c, arm_kick. */
	atomic_thread_fence(memory_order_seq_cst);
	if (d->features >> VIRTIO_RING_F_EVENT_IDX & 1)
		is_wanted = vring_need_event(guest_slice_load16(q->used, 4 + 8 * (size_t)q->size),
					     q->avail_idx, old);
	else
		is_wanted = !(guest_slice_load16(q->used, 0) & VRING_USED_F_NO_NOTIFY);
	if (!is_wanted)
		return false;
	d->n_kicks++;
	if (d->doorbell_fd >= 0) {
		static const uint64_t one = 1;
		ssize_t n = write(d->doorbell_fd, &one, sizeof(one));

		ASSERT(n == sizeof(one));
	} else if (d->region) {
		fake_driver_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, q_idx);
	}
	return true;
}

bool fake_driver_get_used(struct fake_driver *d, uint32_t q_idx, uint16_t *ret_head,
			  uint32_t *ret_len)
{
	struct fake_queue *q = &d->queues[q_idx];

	if (guest_slice_load16_acquire(q->used, 2) == q->used_idx)
		return false;
	size_t at = 4 + 8 * (size_t)(q->used_idx % q->size);
	uint16_t head = (uint16_t)guest_slice_load32(q->used, at);
	uint32_t len = guest_slice_load32(q->used, at + 4);
	ASSERT(head < q->size);
	uint16_t i = head;
	for (uint16_t n = q->chain_len[head]; n > 0; n--) {
		q->free[q->n_free++] = i;
		i = q->chain[i];
	}
	q->used_idx++;
	*ret_head = head;
	*ret_len = len;
	return true;
}

void fake_driver_want_interrupt(struct fake_driver *d, uint32_t q_idx, uint16_t after)
{
	struct fake_queue *q = &d->queues[q_idx];

	if (d->features >> VIRTIO_RING_F_EVENT_IDX & 1)
		guest_slice_store16(q->avail, 4 + 2 * (size_t)q->size,
				    (uint16_t)(q->used_idx + after));
	else
		guest_slice_store16(q->avail, 0, 0);
	atomic_thread_fence(memory_order_seq_cst);
}

void fake_driver_want_no_interrupt(struct fake_driver *d, uint32_t q_idx)
{
	struct fake_queue *q = &d->queues[q_idx];

	if (d->features >> VIRTIO_RING_F_EVENT_IDX & 1)
		guest_slice_store16(q->avail, 4 + 2 * (size_t)q->size, (uint16_t)(q->used_idx - 1));
	else
		guest_slice_store16(q->avail, 0, VRING_AVAIL_F_NO_INTERRUPT);
}

void fake_driver_raw_desc(struct fake_driver *d, uint32_t q_idx, uint16_t i, uint64_t addr,
			  uint32_t len, uint16_t flags, uint16_t next)
{
	fake_driver_raw_table(d, d->queues[q_idx].desc_gpa, i, addr, len, flags, next);
}

void fake_driver_raw_table(struct fake_driver *d, gpa_t table, uint16_t i, uint64_t addr,
			   uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc desc = { .addr = addr, .len = len, .flags = flags, .next = next };
	int res = guest_mem_write(d->mem, GPA(table.addr + 16u * (uint64_t)i), &desc, sizeof(desc));

	ASSERT(res == 0);
}

void fake_driver_raw_avail(struct fake_driver *d, uint32_t q_idx, uint16_t head)
{
	publish(&d->queues[q_idx], head);
}

void fake_driver_raw_avail_idx(struct fake_driver *d, uint32_t q_idx, uint16_t idx)
{
	d->queues[q_idx].avail_idx = idx;
	guest_slice_store16_release(d->queues[q_idx].avail, 2, idx);
}
