/*
 * virtio-blk (VIRTIO 1.2, 5.2). Reactor thread, but for config_read (vCPU; constant data).
 *
 *	blk_command.c   what a request asks for, and whether it may
 *	blk_gate.c      when it may: throttle and depth
 *	blk_file.c      what the file can
 *	here            its way through the reactor
 *
 * How a request goes, each arrow behind the gate an operation of the reactor that has ended:
 *
 *	pop, parse ---> gate ---> READ ------------------------------> end: status byte, then the
 *	    |            |  +---> WRITE ---------+---> (SYNC) -------> end          used ring
 *	    |            |  +---> ALLOCATE ------+                      ^
 *	    |            |  +---> SYNC -------------------------------> end
 *	    |            +------- stop: dropped                         |
 *	    +-------------------- refused, GET_ID, no bytes ------------+
 *
 * A step repeats itself after a short transfer, MOVE_MAX bytes, EINTR and (by a timer) EAGAIN. SYNC
 * in brackets: without FLUSH in the driver's features a write is stable when it ends (5.2.6.2).
 *
 * A flush covers the writes that had ended when it came (5.2.6.2): one fdatasync, which orders
 * nothing else. Requests have their storage from the start; there are as many as the queue can have
 * in flight. On stop nothing is popped any more, what waits at the gate is dropped, and what is in
 * flight ends by itself. The gate keeps its debts over a reset, or a reset would be a way past it.
 *
 * Direct I/O needs memory and lengths that are aligned, as every Linux driver has them. For a piece
 * that is not, all that is in flight ends first, then the file is buffered for good: direct and
 * buffered I/O at the same time could lose a neighbour's bytes in the page cache.
 */
#include "virtio/virtio_blk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "virtio/blk_wire.h"
#include "virtio/virtio_wire.h"

enum {
	QUEUE_SIZE = 256,
	IOV_MAX_PER_REQUEST = QUEUE_SIZE + GUEST_MEM_MAX_RANGES - 1, /* as virtq.c's max_slices */
	SEGMENT_MAX = 1 << 20,
	GRANULARITY = 4096,  /* holes smaller than that free nothing */
	TRIES_MAX = 1000,    /* of EAGAIN a second: then it is an error as any other */
	MOVE_MAX = 16 << 20, /* bytes of one I/O; drivers' requests are shorter */
};
#define EAGAIN_DELAY_NS NS_PER_MS

#define FEATURES_DISCARD (1u << VIRTIO_BLK_F_DISCARD | 1u << VIRTIO_BLK_F_WRITE_ZEROES)
#define FEATURES                                                                                   \
	(1u << VIRTIO_BLK_F_SIZE_MAX | 1u << VIRTIO_BLK_F_SEG_MAX | 1u << VIRTIO_BLK_F_RO |        \
	 1u << VIRTIO_BLK_F_BLK_SIZE | 1u << VIRTIO_BLK_F_FLUSH | 1u << VIRTIO_BLK_F_TOPOLOGY |    \
	 FEATURES_DISCARD)

static_assert((int)VIRTIO_BLK_DEPTH_MAX == QUEUE_SIZE, "all that the queue can have");

struct request {
	struct virtio_blk *blk;
	struct reactor_op op;
	struct blk_ticket ticket;
	struct virtq_chain *chain; /* NULL: free */
	struct iovec *iov;         /* [IOV_MAX_PER_REQUEST]: what is left to move */
	unsigned n_iov;
	uint32_t moving; /* bytes of iov */
	struct blk_command command;
	enum blk_action step; /* the command's, then perhaps BLK_SYNC */
	uint64_t done;        /* bytes moved so far */
	unsigned n_tries;
	bool is_inside;  /* of the gate */
	bool is_waiting; /* the op is the timer of an EAGAIN */
};

struct virtio_blk {
	struct virtio_dev dev;
	struct reactor *reactor;
	int fd;
	bool is_stopping;
	bool is_direct; /* the descriptor has O_DIRECT */
	struct blk_file file;
	char id[VIRTIO_BLK_ID_LEN];
	struct virtio_blk_wire_config config;
	struct virtio_blk_stats stats;
	struct blk_gate gate;
	struct reactor_op gate_op; /* the timer for what the buckets hold back */
	uint64_t gate_ns;          /* its deadline; 0: it is being cancelled */
	unsigned n_free;
	uint16_t free[QUEUE_SIZE]; /* a stack: few requests touch little memory */
	struct request requests[QUEUE_SIZE];
	struct iovec *iovs; /* [QUEUE_SIZE][IOV_MAX_PER_REQUEST] */
};

static struct virtio_blk *blk_of(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_blk, dev);
}

static size_t iovs_len(void)
{
	return (size_t)QUEUE_SIZE * IOV_MAX_PER_REQUEST * sizeof(struct iovec);
}

/* The end of a request. */

static unsigned n_in_flight(const struct virtio_blk *b)
{
	return QUEUE_SIZE - b->n_free;
}

static void count_end(struct virtio_blk *b, const struct request *r, uint8_t status)
{
	struct virtio_blk_stats *s = &b->stats;
	uint32_t type = r->command.type;

	if (type == VIRTIO_BLK_T_IN)
		s->bytes_read += r->done;
	if (type == VIRTIO_BLK_T_OUT)
		s->bytes_written += r->done;
	if (status == VIRTIO_BLK_S_UNSUPP)
		s->n_unsupported++;
	else if (status != VIRTIO_BLK_S_OK)
		s->n_errors++;
	else if (type == VIRTIO_BLK_T_IN)
		s->n_reads++;
	else if (type == VIRTIO_BLK_T_OUT)
		s->n_writes++;
	else if (type == VIRTIO_BLK_T_FLUSH)
		s->n_flushes++;
	else if (type == VIRTIO_BLK_T_DISCARD)
		s->n_discards++;
	else if (type == VIRTIO_BLK_T_WRITE_ZEROES)
		s->n_write_zeroes++;
}

/*
 * How far the writable part is filled from its beginning (2.7.8.2): with a hole before the status
 * byte, up to that.
 */
static uint32_t written_len(const struct request *r)
{
	uint32_t type = r->command.type;
	uint32_t data_len = r->chain->writable_len - 1;
	uint64_t filled = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID ? r->done : 0;

	return filled == data_len ? data_len + 1 : (uint32_t)filled;
}

static void stop_if_drained(struct virtio_blk *b)
{
	if (!b->is_stopping || n_in_flight(b) > 0 || !reactor_op_is_idle(&b->gate_op))
		return;
	b->is_stopping = false;
	virtio_dev_stopped(&b->dev);
}

static void request_free(struct request *r)
{
	struct virtio_blk *b = r->blk;

	r->chain = NULL;
	b->free[b->n_free++] = (uint16_t)(r - b->requests);
}

static void pump(struct virtio_blk *b);

static void request_end(struct request *r, uint8_t status)
{
	struct virtio_blk *b = r->blk;
	int res = chain_write(r->chain, r->chain->writable_len - 1, &status, 1);

	ASSERT(res == 0); /* there is a writable byte: request_begin */
	count_end(b, r, status);
	virtio_dev_push(&b->dev, 0, r->chain, written_len(r));
	if (r->is_inside)
		blk_gate_leave(&b->gate);
	request_free(r);
	if (b->is_stopping)
		stop_if_drained(b);
	else
		pump(b);
}

/* One step: arm it, look at what came. */

static void request_on_done(struct reactor_op *op, int res, bool more);

/* What is left to move, as pieces of the guest's memory. */
static void request_cut(struct request *r)
{
	bool is_read = r->command.action == BLK_READ;
	int n = chain_iov(r->chain, is_read ? CHAIN_WRITABLE : CHAIN_READABLE,
			  (is_read ? 0 : BLK_HEADER_LEN) + r->done, r->command.len - r->done,
			  r->iov, IOV_MAX_PER_REQUEST);

	ASSERT(n > 0); /* something is left, inside the part, and no chain has more pieces */
	r->n_iov = (unsigned)n;
}

/* Of it what one I/O moves: a guest's request of 4 GiB must hold up neither the loop nor a stop. */
static void request_limit(struct request *r)
{
	size_t room = MOVE_MAX;
	unsigned n = 0;

	for (; n < r->n_iov && room > 0; n++) {
		r->iov[n].iov_len = num_min(r->iov[n].iov_len, room);
		room -= r->iov[n].iov_len;
	}
	r->n_iov = n;
	r->moving = (uint32_t)(MOVE_MAX - room);
}

static void request_arm(struct request *r)
{
	const struct blk_command *c = &r->command;
	struct virtio_blk *b = r->blk;

	switch (r->step) {
	case BLK_READ:
		reactor_readv(b->reactor, &r->op, b->fd, r->iov, r->n_iov, c->offset + r->done,
			      request_on_done);
		break;
	case BLK_WRITE:
		reactor_writev(b->reactor, &r->op, b->fd, r->iov, r->n_iov, c->offset + r->done,
			       request_on_done);
		break;
	case BLK_ALLOCATE:
		reactor_fallocate(b->reactor, &r->op, b->fd, c->mode, c->offset, c->len,
				  request_on_done);
		break;
	case BLK_SYNC:
		reactor_fsync(b->reactor, &r->op, b->fd, request_on_done);
		break;
	case BLK_DONE:
		ASSERT(r->step != BLK_DONE); /* such a request never comes here */
	}
}

static void request_on_timer(struct reactor_op *op, int res UNUSED, bool more UNUSED)
{
	struct request *r = container_of(op, struct request, op);
	struct virtio_blk *b = r->blk;

	virtio_dev_enter(&b->dev);
	r->is_waiting = false;
	if (b->is_stopping)
		request_end(r, VIRTIO_BLK_S_IOERR); /* the driver that could learn of it has gone */
	else
		request_arm(r);
	virtio_dev_leave(&b->dev);
}

/* Whether @res is worth another try, which is then on its way. */
static bool request_retry(struct request *r, int res)
{
	struct virtio_blk *b = r->blk;

	if (res != -EINTR && (res != -EAGAIN || b->is_stopping))
		return false;
	if (r->n_tries++ == TRIES_MAX)
		return false;
	b->stats.n_retries++;
	if (res == -EINTR) {
		request_arm(r);
		return true;
	}
	/* At once would be a busy loop. */
	r->is_waiting = true;
	reactor_timer(b->reactor, &r->op, clock_now_ns() + EAGAIN_DELAY_NS, request_on_timer);
	return true;
}

/* The file has what it was to get. */
static void request_on_stored(struct request *r)
{
	if (r->step == BLK_READ || virtio_dev_has_feature(&r->blk->dev, VIRTIO_BLK_F_FLUSH)) {
		request_end(r, VIRTIO_BLK_S_OK);
		return;
	}
	r->step = BLK_SYNC;
	r->n_tries = 0;
	request_arm(r);
}

static void request_on_moved(struct request *r, int n)
{
	bool is_short = (uint32_t)n < r->moving;

	r->n_tries = 0;
	r->done += (uint32_t)n;
	if (r->done == r->command.len) {
		request_on_stored(r);
	} else if (n == 0 || (r->blk->is_stopping && !is_short)) {
		/* The file ends before the capacity: it was cut. Or nobody waits for the rest. */
		request_end(r, VIRTIO_BLK_S_IOERR);
	} else {
		r->blk->stats.n_continued += is_short;
		request_cut(r);
		request_limit(r);
		request_arm(r);
	}
}

static void request_on_done(struct reactor_op *op, int res, bool more UNUSED)
{
	struct request *r = container_of(op, struct request, op);
	struct virtio_dev *dev = &r->blk->dev;

	virtio_dev_enter(dev);
	if (request_retry(r, res)) {
		/* another callback follows */
	} else if (res < 0) {
		request_end(r, res == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
	} else if (r->step == BLK_READ || r->step == BLK_WRITE) {
		request_on_moved(r, res);
	} else if (r->step == BLK_ALLOCATE) {
		request_on_stored(r);
	} else {
		request_end(r, VIRTIO_BLK_S_OK);
	}
	virtio_dev_leave(dev);
}

/* The gate. */

/* Nothing is in flight. */
static void leave_direct(struct virtio_blk *b)
{
	if (!b->is_direct)
		return;
	b->is_direct = false;
	b->stats.n_direct_ends++;
	int flags = fcntl(b->fd, F_GETFL);
	int res = fcntl(b->fd, F_SETFL, flags & ~O_DIRECT);
	log_debug("virtio-blk: misaligned memory: buffered from here on (%d)", res);
}

static void on_gate_timer(struct reactor_op *op, int res UNUSED, bool more UNUSED)
{
	struct virtio_blk *b = container_of(op, struct virtio_blk, gate_op);

	virtio_dev_enter(&b->dev);
	if (b->is_stopping)
		stop_if_drained(b);
	else
		pump(b);
	virtio_dev_leave(&b->dev);
}

static void ask_again(struct virtio_blk *b, uint64_t at_ns)
{
	if (at_ns == UINT64_MAX)
		return;
	if (reactor_op_is_idle(&b->gate_op)) {
		b->gate_ns = at_ns;
		reactor_timer(b->reactor, &b->gate_op, at_ns, on_gate_timer);
	} else if (at_ns < b->gate_ns) { /* what came since waits for less; armed again then */
		b->gate_ns = 0;
		reactor_cancel(b->reactor, &b->gate_op);
	}
}

/* Starts all that may start. */
static void pump(struct virtio_blk *b)
{
	uint64_t now_ns = blk_gate_is_timed(&b->gate) ? clock_now_ns() : 0;
	struct blk_ticket *t;
	uint64_t ask_ns;

	while ((t = blk_gate_next(&b->gate, now_ns, &ask_ns))) {
		struct request *r = container_of(t, struct request, ticket);

		r->is_inside = true;
		if (t->is_alone)
			leave_direct(b);
		request_arm(r);
	}
	ask_again(b, ask_ns);
}

/* The beginning. */

static bool is_aligned(const struct request *r)
{
	const struct blk_file *f = &r->blk->file;
	uint64_t lengths = r->command.offset;
	uintptr_t addresses = 0;

	for (unsigned i = 0; i < r->n_iov; i++) {
		addresses |= (uintptr_t)r->iov[i].iov_base;
		lengths |= r->iov[i].iov_len;
	}
	return addresses % f->memory_align == 0 && lengths % f->block_size == 0;
}

static void request_begin(struct virtio_blk *b, struct virtq_chain *chain)
{
	const struct blk_rules rules = {
		.n_sectors = b->config.capacity,
		.read_only = b->dev.offered >> VIRTIO_BLK_F_RO & 1,
		.discards = virtio_dev_has_feature(&b->dev, VIRTIO_BLK_F_DISCARD),
		.write_zeroes = virtio_dev_has_feature(&b->dev, VIRTIO_BLK_F_WRITE_ZEROES),
		.id = b->id,
	};

	if (chain->writable_len == 0) { /* nowhere to say what is wrong with it */
		virtio_dev_fail(&b->dev, "block request without a status byte");
		return;
	}
	ASSERT(b->n_free > 0); /* the queue has no more in flight than we have requests */
	struct request *r = &b->requests[b->free[--b->n_free]];
	*r = (struct request){ .blk = b, .chain = chain, .iov = r->iov };
	uint8_t status = blk_command_parse(&rules, chain, &r->command);
	r->step = r->command.action;
	if (status != VIRTIO_BLK_S_OK || r->step == BLK_DONE) {
		r->done = status == VIRTIO_BLK_S_OK ? r->command.len : 0; /* GET_ID's answer */
		request_end(r, status);
		return;
	}
	r->ticket.n_bytes = blk_command_bytes(&r->command);
	if (r->ticket.n_bytes > 0) {
		request_cut(r);
		r->ticket.is_alone = b->is_direct && !is_aligned(r);
		request_limit(r);
	}
	blk_gate_enter(&b->gate, &r->ticket);
}

/* The device. */

static void blk_start(struct virtio_dev *dev)
{
	/* Nothing: the driver speaks first. */
}

static void blk_notify(struct virtio_dev *dev, uint32_t q_idx)
{
	struct virtq_chain *chain;

	while (virtio_dev_pop(dev, q_idx, &chain) == VIRTQ_OK)
		request_begin(blk_of(dev), chain);
	pump(blk_of(dev));
}

static void blk_stop(struct virtio_dev *dev)
{
	struct virtio_blk *b = blk_of(dev);
	struct blk_ticket *t;

	b->is_stopping = true;
	while ((t = blk_gate_expel(&b->gate)))
		request_free(container_of(t, struct request, ticket)); /* its chain is void soon */
	if (!reactor_op_is_idle(&b->gate_op))
		reactor_cancel(b->reactor, &b->gate_op);
	for (unsigned i = 0; i < QUEUE_SIZE; i++)
		if (b->requests[i].is_waiting)
			reactor_cancel(b->reactor, &b->requests[i].op);
	stop_if_drained(b);
}

static void blk_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t n)
{
	memcpy(buf, (const uint8_t *)&blk_of(dev)->config + off, n);
}

static const struct virtio_dev_ops blk_ops = {
	.name = "virtio-blk",
	.device_id = VIRTIO_ID_BLOCK,
	.features = FEATURES,
	.n_queues = 1,
	.queue_size_max = QUEUE_SIZE,
	.config_size = offsetof(struct virtio_blk_wire_config, write_zeroes_may_unmap) + 4,
	.start = blk_start,
	.notify = blk_notify,
	.stop = blk_stop,
	.config_read = blk_config_read,
};

static void fill_config(struct virtio_blk *b)
{
	struct virtio_blk_wire_config *c = &b->config;

	c->capacity = b->file.capacity / VIRTIO_BLK_SECTOR;
	c->size_max = SEGMENT_MAX;
	c->seg_max = QUEUE_SIZE - 2; /* header and status */
	c->blk_size = b->file.block_size;
	if (b->dev.offered & 1u << VIRTIO_BLK_F_TOPOLOGY)
		c->physical_block_exp =
		    (uint8_t)__builtin_ctz(b->file.physical_block_size / b->file.block_size);
	if (!(b->dev.offered & FEATURES_DISCARD))
		return;
	uint32_t granularity = (uint32_t)num_max(GRANULARITY, b->file.physical_block_size);
	c->max_discard_sectors = BLK_RANGE_SECTORS_MAX;
	c->max_discard_seg = 1;
	c->discard_sector_alignment = granularity / VIRTIO_BLK_SECTOR;
	c->max_write_zeroes_sectors = BLK_RANGE_SECTORS_MAX;
	c->max_write_zeroes_seg = 1;
	c->write_zeroes_may_unmap = 1;
}

static void init_requests(struct virtio_blk *b)
{
	b->iovs = xmap(iovs_len());
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		b->requests[i].iov = &b->iovs[(size_t)i * IOV_MAX_PER_REQUEST];
		b->free[b->n_free++] = (uint16_t)(QUEUE_SIZE - 1 - i);
	}
}

static int check_file(const struct blk_file *f, struct error *err)
{
	if (f->capacity % VIRTIO_BLK_SECTOR || f->capacity > INT64_MAX - GRANULARITY)
		return error_set_text(err, -EINVAL, "disk: a capacity of %llu bytes cannot be",
				      (unsigned long long)f->capacity);
	ASSERT(num_is_pow2(f->block_size) && f->block_size >= VIRTIO_BLK_SECTOR);
	ASSERT(!f->is_direct || num_is_pow2(f->memory_align));
	return 0;
}

int virtio_blk_new(const struct virtio_blk_config *config, struct reactor *reactor,
		   struct virtio_blk **ret, struct error *err)
{
	if (check_file(&config->file, err) < 0)
		return err->code;
	struct virtio_blk *b = xcalloc(1, sizeof(*b));
	virtio_dev_init(&b->dev, &blk_ops, reactor);
	b->reactor = reactor;
	b->fd = config->fd;
	b->file = config->file;
	b->is_direct = config->file.is_direct;
	memcpy(b->id, config->id, strnlen(config->id, sizeof(b->id)));
	if (!config->read_only)
		b->dev.offered &= ~(1ull << VIRTIO_BLK_F_RO);
	if (config->read_only || !config->file.discards)
		b->dev.offered &= ~(uint64_t)FEATURES_DISCARD;
	if (config->file.physical_block_size <= config->file.block_size)
		b->dev.offered &= ~(1ull << VIRTIO_BLK_F_TOPOLOGY);
	fill_config(b);
	blk_gate_init(&b->gate, &config->limits);
	init_requests(b);
	*ret = b;
	return 0;
}

struct virtio_blk *virtio_blk_free(struct virtio_blk *b)
{
	if (!b)
		return NULL;
	ASSERT(n_in_flight(b) == 0 && reactor_op_is_idle(&b->gate_op));
	virtio_dev_fini(&b->dev);
	xunmap(b->iovs, iovs_len());
	free(b);
	return NULL;
}

struct virtio_dev *virtio_blk_dev(struct virtio_blk *b)
{
	return &b->dev;
}

void virtio_blk_stats(const struct virtio_blk *b, struct virtio_blk_stats *ret)
{
	*ret = b->stats;
	ret->gate = b->gate.stats;
}
