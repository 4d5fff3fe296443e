/*
 * virtio-blk (VIRTIO 1.2, 5.2). Reactor thread, but for config_read (vCPU; constant data).
 *
 *	5.2.6    readable: header (16), data to write    writable: data read, status (last byte)
 *
 * How a request goes, each arrow but the first an operation of the reactor that has ended:
 *
 *	pop, begin ---> READ ------------------------------> end: status byte, then the used ring
 *	        |  ---> WRITE ---------+---> (SYNC) -------> end
 *	        |  ---> FALLOCATE -----+                      ^
 *	        |  ---> SYNC -------------------------------> end
 *	        +------ refused, GET_ID ----------------------+
 *
 * A step repeats itself after a short transfer, EINTR and (by a timer) EAGAIN. SYNC in brackets:
 * without FLUSH in the driver's features a write is stable when it ends (5.2.6.2).
 *
 * A flush covers the writes that had ended when it came (5.2.6.2): one fdatasync, which orders
 * nothing else. Requests have their storage from the start; there are as many as the queue can have
 * in flight. On stop nothing is popped any more, and what is in flight ends by itself.
 *
 * The limits in the configuration space are advice to the driver. What is enforced: the queue's own
 * bound of pieces, the capacity, one range per DISCARD and WRITE_ZEROES of at most
 * RANGE_SECTORS_MAX.
 */
#include "virtio/virtio_blk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "virtio/virtio_wire.h"

/*
 * The kernel's header and ours both have a struct of this name: theirs is the configuration space.
 */
#define virtio_blk_config virtio_blk_wire_config
#include <linux/virtio_blk.h>
#undef virtio_blk_config

static_assert(sizeof(struct virtio_blk_outhdr) == 16, "VIRTIO 1.2, 5.2.6");
static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16, "5.2.6");
static_assert(offsetof(struct virtio_blk_wire_config, blk_size) == 20, "5.2.4");
static_assert(offsetof(struct virtio_blk_wire_config, max_discard_sectors) == 36, "5.2.4");
static_assert(offsetof(struct virtio_blk_wire_config, write_zeroes_may_unmap) == 56, "5.2.4");
static_assert((int)VIRTIO_BLK_ID_LEN == VIRTIO_BLK_ID_BYTES, "5.2.6");

enum {
	QUEUE_SIZE = 256,
	IOV_MAX_PER_REQUEST = QUEUE_SIZE + GUEST_MEM_MAX_RANGES - 1, /* as virtq.c's max_slices */
	SEGMENT_MAX = 1 << 20,
	RANGE_SECTORS_MAX = 1 << 21, /* 1 GiB: one call must not hold up a stop for long */
	GRANULARITY = 4096,          /* holes smaller than that free nothing */
	TRIES_MAX = 1000,            /* of EAGAIN a second: then it is an error as any other */
};
#define EAGAIN_DELAY_NS NS_PER_MS

#define FEATURES_DISCARD (1u << VIRTIO_BLK_F_DISCARD | 1u << VIRTIO_BLK_F_WRITE_ZEROES)
#define FEATURES                                                                                   \
	(1u << VIRTIO_BLK_F_SIZE_MAX | 1u << VIRTIO_BLK_F_SEG_MAX | 1u << VIRTIO_BLK_F_RO |        \
	 1u << VIRTIO_BLK_F_BLK_SIZE | 1u << VIRTIO_BLK_F_FLUSH | FEATURES_DISCARD)

enum step { STEP_READ, STEP_WRITE, STEP_FALLOCATE, STEP_SYNC };

struct request {
	struct virtio_blk *blk;
	struct reactor_op op;
	struct virtq_chain *chain; /* NULL: free */
	struct iovec *iov;         /* [IOV_MAX_PER_REQUEST] */
	enum step step;
	uint32_t type;   /* VIRTIO_BLK_T_* */
	uint64_t offset; /* in the file */
	uint64_t len;    /* bytes to move, zero or discard */
	uint64_t done;   /* bytes moved so far */
	int mode;        /* fallocate's */
	unsigned n_tries;
	bool is_waiting; /* the op is the timer of an EAGAIN */
};

struct virtio_blk {
	struct virtio_dev dev;
	struct reactor *reactor;
	int fd;
	bool read_only;
	bool is_stopping;
	uint64_t n_sectors;
	char id[VIRTIO_BLK_ID_LEN];
	struct virtio_blk_wire_config config;
	struct virtio_blk_stats stats;
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

	if (r->type == VIRTIO_BLK_T_IN)
		s->bytes_read += r->done;
	if (r->type == VIRTIO_BLK_T_OUT)
		s->bytes_written += r->done;
	if (status != VIRTIO_BLK_S_OK)
		s->n_errors++;
	else if (r->type == VIRTIO_BLK_T_IN)
		s->n_reads++;
	else if (r->type == VIRTIO_BLK_T_OUT)
		s->n_writes++;
	else if (r->type == VIRTIO_BLK_T_FLUSH)
		s->n_flushes++;
	else if (r->type == VIRTIO_BLK_T_DISCARD)
		s->n_discards++;
	else if (r->type == VIRTIO_BLK_T_WRITE_ZEROES)
		s->n_write_zeroes++;
}

/*
 * How far the writable part is filled from its beginning (2.7.8.2): with a hole before the status
 * byte, up to that.
 */
static uint32_t written_len(const struct request *r)
{
	uint32_t data_len = r->chain->writable_len - 1;
	uint64_t filled =
	    r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_GET_ID ? r->done : 0;

	return filled == data_len ? data_len + 1 : (uint32_t)filled;
}

static void stop_if_drained(struct virtio_blk *b)
{
	if (!b->is_stopping || n_in_flight(b) > 0)
		return;
	b->is_stopping = false;
	virtio_dev_stopped(&b->dev);
}

static void request_end(struct request *r, uint8_t status)
{
	struct virtio_blk *b = r->blk;
	int res = chain_write(r->chain, r->chain->writable_len - 1, &status, 1);

	ASSERT(res == 0); /* there is a writable byte: request_begin */
	count_end(b, r, status);
	virtio_dev_push(&b->dev, 0, r->chain, written_len(r));
	r->chain = NULL;
	b->free[b->n_free++] = (uint16_t)(r - b->requests);
	stop_if_drained(b);
}

/* One step: arm it, look at what came. */

static void request_on_done(struct reactor_op *op, int res, bool more);

static unsigned request_iov(struct request *r, enum chain_dir dir, size_t header_len)
{
	int n = chain_iov(r->chain, dir, header_len + r->done, r->len - r->done, r->iov,
			  IOV_MAX_PER_REQUEST);

	ASSERT(n > 0); /* something is left, inside the part, and no chain has more pieces */
	return (unsigned)n;
}

static void request_arm(struct request *r)
{
	struct virtio_blk *b = r->blk;
	unsigned n;

	switch (r->step) {
	case STEP_READ:
		n = request_iov(r, CHAIN_WRITABLE, 0);
		reactor_readv(b->reactor, &r->op, b->fd, r->iov, n, r->offset + r->done,
			      request_on_done);
		break;
	case STEP_WRITE:
		n = request_iov(r, CHAIN_READABLE, sizeof(struct virtio_blk_outhdr));
		reactor_writev(b->reactor, &r->op, b->fd, r->iov, n, r->offset + r->done,
			       request_on_done);
		break;
	case STEP_FALLOCATE:
		reactor_fallocate(b->reactor, &r->op, b->fd, r->mode, r->offset, r->len,
				  request_on_done);
		break;
	case STEP_SYNC:
		reactor_fsync(b->reactor, &r->op, b->fd, request_on_done);
		break;
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

static void request_on_moved(struct request *r, int n)
{
	r->n_tries = 0;
	r->done += (uint32_t)n;
	if (r->done < r->len && n > 0) {
		r->blk->stats.n_continued++;
		request_arm(r);
	} else if (r->done < r->len) {
		request_end(r,
			    VIRTIO_BLK_S_IOERR); /* the file ends before the capacity: it was cut */
	} else if (r->step == STEP_READ ||
		   virtio_dev_has_feature(&r->blk->dev, VIRTIO_BLK_F_FLUSH)) {
		request_end(r, VIRTIO_BLK_S_OK);
	} else {
		r->step = STEP_SYNC;
		request_arm(r);
	}
}

static void request_on_allocated(struct request *r)
{
	r->n_tries = 0;
	if (virtio_dev_has_feature(&r->blk->dev, VIRTIO_BLK_F_FLUSH)) {
		request_end(r, VIRTIO_BLK_S_OK);
		return;
	}
	r->step = STEP_SYNC;
	request_arm(r);
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
	} else {
		switch (r->step) {
		case STEP_READ:
		case STEP_WRITE:
			request_on_moved(r, res);
			break;
		case STEP_FALLOCATE:
			request_on_allocated(r);
			break;
		case STEP_SYNC:
			request_end(r, VIRTIO_BLK_S_OK);
			break;
		}
	}
	virtio_dev_leave(dev);
}

/* The beginning: what the driver wants, and whether it may. */

static bool is_inside(const struct virtio_blk *b, uint64_t sector, uint64_t n_sectors)
{
	return n_sectors <= b->n_sectors && sector <= b->n_sectors - n_sectors;
}

static void begin_transfer(struct request *r, enum step step, uint64_t sector, uint64_t len)
{
	if (len % VIRTIO_BLK_SECTOR || !is_inside(r->blk, sector, len / VIRTIO_BLK_SECTOR) ||
	    (step == STEP_WRITE && r->blk->read_only)) {
		request_end(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	r->step = step;
	r->offset = sector * VIRTIO_BLK_SECTOR;
	r->len = len;
	if (len == 0)
		request_end(r, VIRTIO_BLK_S_OK);
	else
		request_arm(r);
}

/* DISCARD and WRITE_ZEROES (5.2.6.2): an unknown flag, and a DISCARD's unmap, are UNSUPP. */
static void begin_range(struct request *r, unsigned feature)
{
	const uint32_t known =
	    feature == VIRTIO_BLK_F_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	struct virtio_blk_discard_write_zeroes range;
	struct virtio_blk *b = r->blk;

	if (!virtio_dev_has_feature(&b->dev, feature)) {
		request_end(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (r->chain->readable_len != sizeof(struct virtio_blk_outhdr) + sizeof(range) ||
	    chain_read(r->chain, sizeof(struct virtio_blk_outhdr), &range, sizeof(range)) < 0) {
		request_end(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (range.flags & ~known) {
		request_end(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (range.num_sectors > RANGE_SECTORS_MAX ||
	    !is_inside(b, range.sector, range.num_sectors)) {
		request_end(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	/*
	 * Without unmap the range keeps its blocks. A file system that cannot zero them in place
	 * (tmpfs) makes it UNSUPP: the driver then writes zeros itself.
	 */
	bool is_hole = feature == VIRTIO_BLK_F_DISCARD || range.flags;
	r->step = STEP_FALLOCATE;
	r->mode = FALLOC_FL_KEEP_SIZE | (is_hole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	r->offset = range.sector * VIRTIO_BLK_SECTOR;
	r->len = (uint64_t)range.num_sectors * VIRTIO_BLK_SECTOR;
	if (r->len == 0)
		request_end(r, VIRTIO_BLK_S_OK);
	else
		request_arm(r);
}

static void begin_get_id(struct request *r)
{
	struct virtio_blk *b = r->blk;

	if (r->chain->writable_len < sizeof(b->id) + 1) {
		request_end(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	int res = chain_write(r->chain, 0, b->id, sizeof(b->id));
	ASSERT(res == 0); /* the length was checked above */
	r->done = sizeof(b->id);
	request_end(r, VIRTIO_BLK_S_OK);
}

static void begin_type(struct request *r, const struct virtio_blk_outhdr *header)
{
	const struct virtq_chain *chain = r->chain;

	r->type = header->type;
	switch (header->type) {
	case VIRTIO_BLK_T_IN:
		begin_transfer(r, STEP_READ, header->sector, chain->writable_len - 1);
		break;
	case VIRTIO_BLK_T_OUT:
		begin_transfer(r, STEP_WRITE, header->sector,
			       chain->readable_len - sizeof(*header));
		break;
	case VIRTIO_BLK_T_FLUSH:
		r->step = STEP_SYNC;
		request_arm(r);
		break;
	case VIRTIO_BLK_T_GET_ID:
		begin_get_id(r);
		break;
	case VIRTIO_BLK_T_DISCARD:
		begin_range(r, VIRTIO_BLK_F_DISCARD);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		begin_range(r, VIRTIO_BLK_F_WRITE_ZEROES);
		break;
	default:
		request_end(r, VIRTIO_BLK_S_UNSUPP);
		break;
	}
}

static void request_begin(struct virtio_blk *b, struct virtq_chain *chain)
{
	struct virtio_blk_outhdr header;

	if (chain->writable_len == 0) { /* nowhere to say what is wrong with it */
		virtio_dev_fail(&b->dev, "block request without a status byte");
		return;
	}
	ASSERT(b->n_free > 0); /* the queue has no more in flight than we have requests */
	struct request *r = &b->requests[b->free[--b->n_free]];
	*r = (struct request){ .blk = b, .chain = chain, .iov = r->iov, .type = UINT32_MAX };
	b->stats.n_in_flight_max = num_max(b->stats.n_in_flight_max, n_in_flight(b));
	if (chain_read(chain, 0, &header, sizeof(header)) < 0)
		request_end(r, VIRTIO_BLK_S_IOERR);
	else
		begin_type(r, &header);
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
}

static void blk_stop(struct virtio_dev *dev)
{
	struct virtio_blk *b = blk_of(dev);

	b->is_stopping = true;
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

/* Behind the end of the file: an answer without an effect. Block devices give none that way. */
static bool can_punch_holes(const struct virtio_blk_config *config)
{
	struct stat st;

	return !config->read_only && fstat(config->fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       fallocate(config->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)num_max(config->capacity, (uint64_t)st.st_size), GRANULARITY) == 0;
}

static void fill_config(struct virtio_blk *b)
{
	b->config.capacity = b->n_sectors;
	b->config.size_max = SEGMENT_MAX;
	b->config.seg_max = QUEUE_SIZE - 2; /* header and status */
	b->config.blk_size = VIRTIO_BLK_SECTOR;
	if (!(b->dev.offered & FEATURES_DISCARD))
		return;
	b->config.max_discard_sectors = RANGE_SECTORS_MAX;
	b->config.max_discard_seg = 1;
	b->config.discard_sector_alignment = GRANULARITY / VIRTIO_BLK_SECTOR;
	b->config.max_write_zeroes_sectors = RANGE_SECTORS_MAX;
	b->config.max_write_zeroes_seg = 1;
	b->config.write_zeroes_may_unmap = 1;
}

static void init_requests(struct virtio_blk *b)
{
	b->iovs = xmap(iovs_len());
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		b->requests[i].iov = &b->iovs[(size_t)i * IOV_MAX_PER_REQUEST];
		b->free[b->n_free++] = (uint16_t)(QUEUE_SIZE - 1 - i);
	}
}

int virtio_blk_new(const struct virtio_blk_config *config, struct reactor *reactor,
		   struct virtio_blk **ret, struct error *err)
{
	if (config->capacity % VIRTIO_BLK_SECTOR || config->capacity > INT64_MAX - GRANULARITY)
		return error_set_text(err, -EINVAL, "disk: a capacity of %llu bytes cannot be",
				      (unsigned long long)config->capacity);
	struct virtio_blk *b = xcalloc(1, sizeof(*b));
	virtio_dev_init(&b->dev, &blk_ops, reactor);
	b->reactor = reactor;
	b->fd = config->fd;
	b->read_only = config->read_only;
	b->n_sectors = config->capacity / VIRTIO_BLK_SECTOR;
	memcpy(b->id, config->id, strnlen(config->id, sizeof(b->id)));
	if (!config->read_only)
		b->dev.offered &= ~(1ull << VIRTIO_BLK_F_RO);
	if (!can_punch_holes(config))
		b->dev.offered &= ~(uint64_t)FEATURES_DISCARD;
	fill_config(b);
	init_requests(b);
	*ret = b;
	return 0;
}

struct virtio_blk *virtio_blk_free(struct virtio_blk *b)
{
	if (!b)
		return NULL;
	ASSERT(n_in_flight(b) == 0);
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
}
