/*
 * A split virtqueue (VIRTIO 1.2, 2.7), device side. Only virtq.c knows descriptors, ring indices and
 * barriers; what comes out is a chain of guest memory slices that were checked.
 *
 *	driver                                         device
 *	writes descriptors, avail.ring[], avail.idx -> virtq_pop: a chain, valid until its push
 *	                                               (any number in flight, in any order)
 *	                           used.ring[]      <- virtq_push
 *	sees used.idx              used.idx         <- virtq_flush: several pushes, one interrupt decision
 *
 * Kicks: a queue asks for a kick only when virtq_pop found it empty; while a device is working or has
 * no use for more chains the guest is not told to kick.
 *
 * Configured on a vCPU thread while the device is idle, used by the reactor thread only.
 */
#pragma once

#include "bus/guest_mem.h"

enum virtq_result {
	VIRTQ_OK,
	VIRTQ_EMPTY, /* and the guest kicks when there is more */
};

enum chain_dir { CHAIN_READABLE, CHAIN_WRITABLE };

/* One request of the guest. Its storage belongs to the queue, one per possible head. */
struct virtq_chain {
	uint16_t head;
	uint16_t n_readable; /* slices; the readable ones come first */
	uint16_t n_writable;
	uint32_t readable_len; /* bytes */
	uint32_t writable_len;
	struct guest_slice *slices;
};

struct virtq_areas {
	gpa_t desc, avail, used;
};

struct virtq {
	const struct guest_mem *mem;
	struct guest_slice desc, avail, used;
	uint16_t size; /* 0: not configured */
	uint16_t size_max;
	bool event_idx, indirect; /* negotiated */
	bool kicks_off;           /* without EVENT_IDX: used.flags says NO_NOTIFY */
	bool is_armed;            /* a kick was asked for at next_avail */
	bool is_lazy;             /* an empty queue asks for no kick before virtq_ask_kick */
	bool is_hungry;           /* the last pop found it empty */
	uint16_t seen_avail, next_avail;
	uint16_t next_used, published_used;
	uint16_t n_in_flight;
	const char *why;            /* set with every negative result */
	struct virtq_chain *chains; /* [size_max] */
	struct guest_slice *slices; /* [size_max][virtq_max_slices] */
	bool *in_flight;            /* [size_max] */
};

/* Allocates for queues of up to @size_max (a power of two), once, for good. */
void virtq_init(struct virtq *q, const struct guest_mem *mem, uint16_t size_max);
void virtq_fini(struct virtq *q);

/*
 * Checks and takes over the three areas; from then on the queue is ready. -EINVAL: size 0, no power
 * of two or above the maximum, misaligned or overlapping areas; -EFAULT: not in guest memory.
 * q->why says which.
 */
MUST_CHECK int virtq_configure(struct virtq *q, uint32_t size, const struct virtq_areas *areas);
/* Not ready any more; forgets what is in flight. */
void virtq_reset(struct virtq *q);
static inline bool virtq_is_ready(const struct virtq *q)
{
	return q->size != 0;
}

/*
 * The next chain the guest made available. VIRTQ_OK, VIRTQ_EMPTY, or negative: the guest broke the
 * rules of the ring
 * (-EPROTO) or named memory it does not have (-EFAULT), q->why says how; the queue is then useless
 * until reset.
 */
MUST_CHECK int virtq_pop(struct virtq *q, struct virtq_chain **ret);
/* Whether virtq_pop would find something; asks for no kick. */
bool virtq_has_avail(const struct virtq *q);
/*
 * For a lazy queue: before its owner sleeps. Asks for a kick if the last pop found it empty;
 * returns whether there is something after all.
 */
bool virtq_ask_kick(struct virtq *q);
/* Gives @chain back with @written bytes in its writable part. The guest sees it at the next flush.
 */
void virtq_push(struct virtq *q, struct virtq_chain *chain, uint32_t written);
/* True while pushed chains wait for a flush. */
static inline bool virtq_has_unflushed(const struct virtq *q)
{
	return q->next_used != q->published_used;
}
/* Publishes what was pushed; returns whether the guest wants an interrupt for it. */
bool virtq_flush(struct virtq *q);

/* Copies @n bytes at @off of the readable (writable) part. -EFAULT when they are not all there. */
MUST_CHECK int chain_read(const struct virtq_chain *chain, size_t off, void *buf, size_t n);
MUST_CHECK int chain_write(const struct virtq_chain *chain, size_t off, const void *buf, size_t n);
/*
 * Copies @n bytes at @from of @src's readable part to @to of @dst's writable part, within guest
 * memory. -EFAULT when they are not all there.
 */
MUST_CHECK int chain_copy(const struct virtq_chain *dst, size_t to, const struct virtq_chain *src,
			  size_t from, size_t n);
/*
 * Bytes [off, off + len) of one part as iovecs for readv and writev: their number, -EFAULT when
 * they are not all there, -ENOSPC when @max is too few.
 */
MUST_CHECK int chain_iov(const struct virtq_chain *chain, enum chain_dir dir, size_t off,
			 size_t len, struct iovec *iov, int max);
