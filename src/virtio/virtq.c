/*
 * The split virtqueue (VIRTIO 1.2, 2.7). Reactor thread, except virtq_configure and virtq_reset of
 * an idle device.
 *
 * Invariants:
 *  - every guest field is fetched once into a local, checked, and never read again;
 *  - all positions are ours (next_avail, next_used): what the guest writes over its rings cannot
 * move them;
 *  - a walk takes at most `size` descriptors, whatever the links say;
 *  - a head is in flight at most once, so per-head storage is never shared.
 */
#include "virtio/virtq.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/num.h"
#include "virtio/virtio_wire.h"

enum { AVAIL_FLAGS = 0, AVAIL_IDX = 2, AVAIL_RING = 4 };
enum { USED_FLAGS = 0, USED_IDX = 2, USED_RING = 4 };

/* 2.7.10: the driver's used_event ends the available ring, our avail_event ends the used ring. */
static size_t used_event_off(const struct virtq *q)
{
	return AVAIL_RING + 2u * (size_t)q->size;
}

static size_t avail_event_off(const struct virtq *q)
{
	return USED_RING + 8u * (size_t)q->size;
}

/* A descriptor is a slice, and one more for each border of memory ranges that its buffers run
 * across. */
static uint32_t max_slices(const struct virtq *q)
{
	return (uint32_t)q->size_max + GUEST_MEM_MAX_RANGES - 1;
}

static size_t slices_len(const struct virtq *q)
{
	return (size_t)q->size_max * max_slices(q) * sizeof(q->slices[0]);
}

static int broken(struct virtq *q, int code, const char *why)
{
	q->why = why;
	return code;
}

void virtq_init(struct virtq *q, const struct guest_mem *mem, uint16_t size_max)
{
	ASSERT(num_is_pow2(size_max));
	*q = (struct virtq){ .mem = mem, .size_max = size_max };
	q->chains = xcalloc(size_max, sizeof(q->chains[0]));
	q->in_flight = xcalloc(size_max, sizeof(q->in_flight[0]));
	/* Only heads that a guest really uses get memory. */
	q->slices = xmap(slices_len(q));
	for (uint16_t i = 0; i < size_max; i++) {
		q->chains[i].head = i;
		q->chains[i].slices = &q->slices[(size_t)i * max_slices(q)];
	}
}

void virtq_fini(struct virtq *q)
{
	free(q->chains);
	free(q->in_flight);
	xunmap(q->slices, slices_len(q));
	*q = (struct virtq){ 0 };
}

static bool do_overlap(gpa_t a, size_t a_len, gpa_t b, size_t b_len)
{
	return a.addr < b.addr ? b.addr - a.addr < a_len : a.addr - b.addr < b_len;
}

int virtq_configure(struct virtq *q, uint32_t size, const struct virtq_areas *areas)
{
	gpa_t desc = areas->desc;
	gpa_t avail = areas->avail;
	gpa_t used = areas->used;

	ASSERT(!virtq_is_ready(q));
	if (!num_is_pow2(size) || size > q->size_max)
		return broken(q, -EINVAL, "queue size");
	uint16_t n = (uint16_t)size;
	if (desc.addr % 16 || avail.addr % 2 || used.addr % 4)
		return broken(q, -EINVAL, "queue area misaligned");
	if (guest_mem_slice(q->mem, desc, virtio_wire_desc_size(n), &q->desc) < 0 ||
	    guest_mem_slice(q->mem, avail, virtio_wire_avail_size(n), &q->avail) < 0 ||
	    guest_mem_slice(q->mem, used, virtio_wire_used_size(n), &q->used) < 0)
		return broken(q, -EFAULT, "queue area outside of guest memory");
	if (do_overlap(desc, q->desc.len, avail, q->avail.len) ||
	    do_overlap(desc, q->desc.len, used, q->used.len) ||
	    do_overlap(avail, q->avail.len, used, q->used.len))
		return broken(q, -EINVAL, "queue areas overlap");
	q->size = n;
	return 0;
}

void virtq_reset(struct virtq *q)
{
	q->size = 0;
	q->event_idx = q->indirect = false;
	q->kicks_off = q->is_armed = q->is_lazy = q->is_hungry = false;
	q->seen_avail = q->next_avail = 0;
	q->next_used = q->published_used = 0;
	q->n_in_flight = 0;
	q->why = NULL;
	for (uint16_t i = 0; i < q->size_max; i++)
		q->in_flight[i] = false;
}

/* Looks for new entries. Acquire pairs with the driver's write barrier between the ring entry and
 * avail.idx (2.7.13.3). */
static bool fetch_avail(struct virtq *q)
{
	q->seen_avail = guest_slice_load16_acquire(q->avail, AVAIL_IDX);
	return q->seen_avail != q->next_avail;
}

/*
 * The queue looks empty: ask for a kick, then look once more, for an entry that came before the
 * driver could see that we asked (2.7.10.1). Returns whether there is one after all.
 */
static bool arm_kick(struct virtq *q)
{
	if (q->is_armed)
		return false;
	if (q->event_idx)
		guest_slice_store16(q->used, avail_event_off(q), q->next_avail);
	else
		guest_slice_store16(q->used, USED_FLAGS, 0);
	q->kicks_off = false;
	q->is_armed = true;
	/* Pairs with the driver's full barrier between storing avail.idx and reading our event
	 * (2.7.13.4). */
	atomic_thread_fence(memory_order_seq_cst);
	return fetch_avail(q);
}

/* Work has begun: without EVENT_IDX a flag keeps the driver from kicking; with it the event left
 * behind does. */
static void disarm_kick(struct virtq *q)
{
	q->is_armed = false;
	if (q->event_idx || q->kicks_off)
		return;
	guest_slice_store16(q->used, USED_FLAGS, VRING_USED_F_NO_NOTIFY);
	q->kicks_off = true;
}

/* Where a walk stands: the queue's own table, or an indirect one. */
struct walk {
	struct guest_slice table;
	uint32_t n_entries;
	uint32_t n_taken;
	bool is_indirect;
};

/* 2.7.5.3: the chain goes on at entry 0 of a table of its own, and ends there. */
static int enter_indirect(struct virtq *q, struct walk *w, const struct vring_desc *d)
{
	if (!q->indirect)
		return broken(q, -EPROTO, "indirect descriptor, not negotiated");
	if (w->is_indirect)
		return broken(q, -EPROTO, "indirect table inside an indirect table");
	if (d->flags & VRING_DESC_F_NEXT)
		return broken(q, -EPROTO, "indirect descriptor with NEXT");
	if (d->len == 0 || d->len % sizeof(struct vring_desc))
		return broken(q, -EPROTO, "indirect table length");
	if (guest_mem_slice(q->mem, GPA(d->addr), d->len, &w->table) < 0)
		return broken(q, -EFAULT, "indirect table outside of guest memory");
	w->n_entries = d->len / (uint32_t)sizeof(struct vring_desc);
	w->is_indirect = true;
	return 0;
}

/* Adds the slices of one descriptor's buffer. */
static int add_buffer(struct virtq *q, struct virtq_chain *chain, const struct vring_desc *d)
{
	bool writable = d->flags & VRING_DESC_F_WRITE;
	uint32_t *total = writable ? &chain->writable_len : &chain->readable_len;
	gpa_t gpa = GPA(d->addr);
	gpa_t end;

	if (d->len == 0)
		return broken(q, -EPROTO, "zero-length descriptor");
	if (!writable && chain->n_writable)
		return broken(q, -EPROTO, "readable descriptor after a writable one");
	if (!gpa_add(gpa, d->len, &end))
		return broken(q, -EFAULT, "buffer wraps around");
	if (__builtin_add_overflow(*total, d->len, total))
		return broken(q, -EPROTO, "chain of 4 GiB or more");
	for (uint64_t left = d->len; left > 0;) {
		uint32_t n = (uint32_t)chain->n_readable + chain->n_writable;
		struct guest_slice s;

		if (n == max_slices(q))
			return broken(q, -EPROTO, "chain in too many pieces");
		if (guest_mem_slice_prefix(q->mem, gpa, left, &s) < 0)
			return broken(q, -EFAULT, "buffer outside of guest memory");
		chain->slices[n] = s;
		if (writable)
			chain->n_writable++;
		else
			chain->n_readable++;
		left -= s.len;
		gpa = GPA(gpa.addr + s.len); /* no wrap: checked above for the whole buffer */
	}
	return 0;
}

static int walk_chain(struct virtq *q, struct virtq_chain *chain)
{
	struct walk w = { .table = q->desc, .n_entries = q->size };
	uint32_t i = chain->head;

	for (;;) {
		struct vring_desc d;
		int res = guest_slice_read(w.table, i * sizeof(d), &d, sizeof(d));

		ASSERT(res == 0); /* i < n_entries, and the table has that many */
		if (d.flags & VRING_DESC_F_INDIRECT) {
			res = enter_indirect(q, &w, &d);
			if (res < 0)
				return res;
			i = 0;
			continue;
		}
		if (w.n_taken++ == q->size)
			return broken(q, -EPROTO, "chain longer than the queue, or a loop");
		res = add_buffer(q, chain, &d);
		if (res < 0)
			return res;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		if (d.next >= w.n_entries)
			return broken(q, -EPROTO, "descriptor index out of range");
		i = d.next;
	}
}

int virtq_pop(struct virtq *q, struct virtq_chain **ret)
{
	ASSERT(virtq_is_ready(q));
	q->is_hungry =
	    q->seen_avail == q->next_avail && !fetch_avail(q) && (q->is_lazy || !arm_kick(q));
	if (q->is_hungry)
		return VIRTQ_EMPTY;
	if ((uint16_t)(q->seen_avail - q->next_avail) > q->size)
		return broken(q, -EPROTO, "available index ran away");
	if (q->n_in_flight == q->size)
		return broken(q, -EPROTO, "more chains than the queue has descriptors");
	size_t slot = q->next_avail % q->size;
	uint16_t head = guest_slice_load16(q->avail, AVAIL_RING + 2 * slot);
	if (head >= q->size)
		return broken(q, -EPROTO, "chain head out of range");
	if (q->in_flight[head])
		return broken(q, -EPROTO, "chain made available twice");

	struct virtq_chain *chain = &q->chains[head];
	*chain = (struct virtq_chain){ .head = head, .slices = chain->slices };
	int res = walk_chain(q, chain);
	if (res < 0)
		return res;
	disarm_kick(q);
	q->next_avail++;
	q->in_flight[head] = true;
	q->n_in_flight++;
	*ret = chain;
	return VIRTQ_OK;
}

bool virtq_has_avail(const struct virtq *q)
{
	return virtq_is_ready(q) && (q->seen_avail != q->next_avail ||
				     guest_slice_load16(q->avail, AVAIL_IDX) != q->next_avail);
}

bool virtq_ask_kick(struct virtq *q)
{
	return q->is_hungry && arm_kick(q);
}

void virtq_push(struct virtq *q, struct virtq_chain *chain, uint32_t written)
{
	size_t at = USED_RING + 8 * (size_t)(q->next_used % q->size);

	ASSERT(chain == &q->chains[chain->head] && q->in_flight[chain->head]);
	ASSERT(written <= chain->writable_len);
	guest_slice_store32(q->used, at, chain->head);
	guest_slice_store32(q->used, at + 4, written);
	q->in_flight[chain->head] = false;
	q->n_in_flight--;
	q->next_used++;
}

bool virtq_flush(struct virtq *q)
{
	uint16_t old = q->published_used;

	if (!virtq_has_unflushed(q))
		return false;
	/* Release pairs with the driver's read barrier between used.idx and the ring entries
	 * (2.7.14). */
	guest_slice_store16_release(q->used, USED_IDX, q->next_used);
	q->published_used = q->next_used;
	/*
	 * Pairs with the driver's full barrier between enabling interrupts (used_event or
	 * avail.flags) and its last look at used.idx (2.7.14): one of us sees the other's store.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (!q->event_idx)
		return !(guest_slice_load16(q->avail, AVAIL_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(guest_slice_load16(q->avail, used_event_off(q)), q->next_used, old);
}

/* Calls for each piece of [off, off + len) of one part. */
struct piece_iter {
	const struct guest_slice *slices;
	uint32_t n;
	size_t off;
	size_t len;
};

static int pieces_of(const struct virtq_chain *chain, enum chain_dir dir, size_t off, size_t len,
		     struct piece_iter *ret)
{
	bool writable = dir == CHAIN_WRITABLE;
	size_t total = writable ? chain->writable_len : chain->readable_len;

	if (len > total || off > total - len)
		return -EFAULT;
	ret->slices = chain->slices + (writable ? chain->n_readable : 0);
	ret->n = writable ? chain->n_writable : chain->n_readable;
	ret->off = off;
	ret->len = len;
	return 0;
}

/* The next non-empty piece; false at the end. */
static bool next_piece(struct piece_iter *it, struct guest_slice *ret)
{
	if (it->len == 0)
		return false;
	while (it->off >= it->slices->len) {
		ASSERT(it->n > 1);
		it->off -= it->slices->len;
		it->slices++;
		it->n--;
	}
	size_t n = num_min(it->len, it->slices->len - it->off);
	int res = guest_slice_sub(*it->slices, it->off, n, ret);
	ASSERT(res == 0);
	it->off += n;
	it->len -= n;
	return true;
}

int chain_read(const struct virtq_chain *chain, size_t off, void *buf, size_t n)
{
	struct piece_iter it;
	struct guest_slice s;
	uint8_t *p = buf;
	int res = pieces_of(chain, CHAIN_READABLE, off, n, &it);

	while (res == 0 && next_piece(&it, &s)) {
		res = guest_slice_read(s, 0, p, s.len);
		p += s.len;
	}
	return res;
}

int chain_write(const struct virtq_chain *chain, size_t off, const void *buf, size_t n)
{
	struct piece_iter it;
	struct guest_slice s;
	const uint8_t *p = buf;
	int res = pieces_of(chain, CHAIN_WRITABLE, off, n, &it);

	while (res == 0 && next_piece(&it, &s)) {
		res = guest_slice_write(s, 0, p, s.len);
		p += s.len;
	}
	return res;
}

/* The rest of @s behind its first @n bytes. */
static struct guest_slice rest_of(struct guest_slice s, size_t n)
{
	struct guest_slice rest;
	int res = guest_slice_sub(s, n, s.len - n, &rest);

	ASSERT(res == 0);
	return rest;
}

int chain_copy(const struct virtq_chain *dst, size_t to, const struct virtq_chain *src, size_t from,
	       size_t n)
{
	struct piece_iter out_it, in_it;
	struct guest_slice out = { 0 }, in = { 0 };
	int res = pieces_of(dst, CHAIN_WRITABLE, to, n, &out_it);

	if (res == 0)
		res = pieces_of(src, CHAIN_READABLE, from, n, &in_it);
	while (res == 0 && (out.len > 0 || next_piece(&out_it, &out)) &&
	       (in.len > 0 || next_piece(&in_it, &in))) {
		size_t len = num_min(out.len, in.len);

		res = guest_slice_copy(out, in, len);
		out = rest_of(out, len);
		in = rest_of(in, len);
	}
	return res;
}

int chain_iov(const struct virtq_chain *chain, enum chain_dir dir, size_t off, size_t len,
	      struct iovec *iov, int max)
{
	struct piece_iter it;
	struct guest_slice s;
	int n = 0;
	int res = pieces_of(chain, dir, off, len, &it);

	if (res < 0)
		return res;
	while (next_piece(&it, &s)) {
		if (n == max)
			return -ENOSPC;
		iov[n++] = guest_slice_iovec(s);
	}
	return n;
}
