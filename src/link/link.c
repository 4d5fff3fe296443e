#include "link/link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

enum {
	RECEIVE_CHUNK = 64 * 1024,
	CHUNKS_PER_TURN = 16, /* then timers, signals and the rest of the reactor have their turn */
};

struct link {
	struct reactor *reactor;
	const struct link_ops *ops;
	void *ctx;
	int fd;
	struct reactor_op poll; /* for reading */
	/*
	 * For writing: from the first time on that the socket took no more. Before, each frame that the peer reads would wake us
	 * up, to tell that there is room.
	 */
	struct reactor_op room_poll;
	struct reactor_deferred
	    retry; /* goes on: after link_resume, after a turn's worth, after a lack of memory */
	struct reactor_deferred reap; /* frees a closed link when no callback of it is running */
	struct frame_decoder decoder;
	uint8_t *storage;
	uint8_t chunk[RECEIVE_CHUNK]; /* received, not yet fed: what a paused owner left */
	size_t chunk_begin, chunk_end;
	struct buf queue; /* bytes that the socket did not take, from queue_begin on */
	size_t queue_begin;
	uint64_t sequence;
	bool paused;
	bool broken; /* on_closed was called */
	bool closing;
	bool receiving;
};

static uint8_t *grow(void *ctx, uint8_t *storage, size_t need)
{
	struct link *l = ctx;
	uint8_t *bigger = realloc(storage, need);

	if (bigger)
		l->storage = bigger;
	return bigger;
}

static void on_reap(struct reactor_deferred *d)
{
	struct link *l = container_of(d, struct link, reap);

	if (!reactor_op_is_idle(&l->poll) || !reactor_op_is_idle(&l->room_poll))
		return; /* a poll's final callback defers this again */
	reactor_undefer(l->reactor, &l->retry);
	fd_closep(&l->fd);
	buf_fini(&l->queue);
	free(l->storage);
	free(l);
}

static void cancel_polls(struct link *l)
{
	struct reactor_op *const polls[] = { &l->poll, &l->room_poll };

	for (size_t i = 0; i < ARRAY_SIZE(polls); i++)
		if (!reactor_op_is_idle(polls[i]))
			reactor_cancel(l->reactor, polls[i]);
}

static void break_off(struct link *l, int err)
{
	if (l->broken || l->closing)
		return;
	l->broken = true;
	l->queue.len = l->queue_begin = 0;
	/* The peer must hear of it, or both wait: an error of ours alone (no descriptor for the poll) is no end to it. */
	(void)shutdown(l->fd, SHUT_RDWR);
	cancel_polls(l);
	l->ops->on_closed(l->ctx, err);
}

/* No space in the socket's buffer is an event to wait for; no memory for a message is none. */
static bool is_short_of_memory(int code)
{
	return code == ENOMEM || code == ENOBUFS;
}

static void on_room(struct reactor_op *op, int res, bool more);

static void want_room(struct link *l)
{
	if (reactor_op_is_idle(&l->room_poll))
		reactor_poll(l->reactor, &l->room_poll, l->fd, POLLOUT, on_room);
}

static void flush(struct link *l)
{
	size_t before = link_pending(l);

	while (link_pending(l)) {
		ssize_t n = send(l->fd, l->queue.data + l->queue_begin, link_pending(l),
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			want_room(l);
			break;
		}
		if (n < 0 && is_short_of_memory(errno)) {
			reactor_defer(l->reactor, &l->retry);
			break;
		}
		if (n < 0) {
			break_off(l, -errno);
			return;
		}
		l->queue_begin += (size_t)n;
	}
	/* Moving the rest down only when it is the smaller part keeps a long queue linear. */
	if (l->queue_begin > l->queue.len / 2) {
		buf_consume(&l->queue, l->queue_begin);
		l->queue_begin = 0;
	}
	if (link_pending(l) < before && !link_is_congested(l) && l->ops->on_writable)
		l->ops->on_writable(l->ctx);
}

/* Delivers whole frames until there is none, or the owner paused or closed the link. */
static void deliver(struct link *l)
{
	struct frame frame;

	while (!l->paused && !l->closing && !l->broken && frame_decoder_next(&l->decoder, &frame))
		l->ops->on_frame(l->ctx, &frame);
}

/* Refills the chunk from the socket; false when there is nothing more to read now. */
static bool refill(struct link *l)
{
	ssize_t n;

	do
		n = recv(l->fd, l->chunk, sizeof(l->chunk), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		frame_decoder_finish(&l->decoder);
		deliver(l);
		break_off(l, n < 0 ? -errno : 0);
		return false;
	}
	l->chunk_begin = 0;
	l->chunk_end = (size_t)n;
	return true;
}

static void receive(struct link *l)
{
	deliver(l);
	for (int n = 0; !l->paused && !l->closing && !l->broken; n++) {
		if (n == CHUNKS_PER_TURN) {
			reactor_defer(l->reactor, &l->retry);
			return;
		}
		if (l->chunk_begin == l->chunk_end && !refill(l))
			return;
		l->chunk_begin += frame_decoder_feed(&l->decoder, l->chunk + l->chunk_begin,
						     l->chunk_end - l->chunk_begin);
		deliver(l);
	}
}

static void guarded_receive(struct link *l)
{
	if (l->receiving)
		return; /* resumed from inside on_frame: the loop below on the stack goes on */
	l->receiving = true;
	receive(l);
	l->receiving = false;
}

static void on_poll(struct reactor_op *op, int res, bool more)
{
	struct link *l = container_of(op, struct link, poll);

	if (!l->closing && !l->broken) {
		if (res < 0)
			break_off(l, res);
		else
			guarded_receive(l);
	}
	if (!more && l->closing)
		reactor_defer(l->reactor, &l->reap);
}

static void on_room(struct reactor_op *op, int res, bool more)
{
	struct link *l = container_of(op, struct link, room_poll);

	if (!l->closing && !l->broken) {
		/* First: what a peer said before it went is heard before a send to it fails. */
		if (res >= 0 && res & (POLLHUP | POLLERR))
			guarded_receive(l);
		if (res < 0)
			break_off(l, res);
		else if (!l->closing && !l->broken)
			flush(l);
	}
	if (!more && l->closing)
		reactor_defer(l->reactor, &l->reap);
}

static void on_retry(struct reactor_deferred *d)
{
	struct link *l = container_of(d, struct link, retry);

	if (!l->closing && !l->broken)
		flush(l);
	if (!l->closing && !l->broken)
		guarded_receive(l);
}

int link_new(struct reactor *r, int fd, const struct link_ops *ops, void *ctx, struct link **ret,
	     struct error *err)
{
	int res = fd_set_nonblock(fd, true);

	if (res < 0)
		return error_set(err, res, "link: cannot make the socket non-blocking");
	struct link *l = xcalloc(1, sizeof(*l));
	l->reactor = r;
	l->ops = ops;
	l->ctx = ctx;
	l->fd = fd;
	l->storage = xmalloc(RECEIVE_CHUNK);
	l->retry.fn = on_retry;
	l->reap.fn = on_reap;
	frame_decoder_init(&l->decoder, l->storage, RECEIVE_CHUNK, grow, l);
	reactor_poll(r, &l->poll, fd, POLLIN, on_poll);
	*ret = l;
	return 0;
}

struct link *link_close(struct link *l)
{
	if (!l)
		return NULL;
	l->closing = true;
	cancel_polls(l);
	reactor_defer(l->reactor, &l->reap);
	return NULL;
}

/* Sends what it can of @iov at once; returns the bytes the socket took. */
static size_t send_now(struct link *l, struct iovec *iov, size_t n_iov)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n_iov };
	ssize_t n;

	do
		n = sendmsg(l->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	/*
	 * Whatever else is wrong with the socket shows again, and is handled, when the queue is
	 * flushed.
	 */
	if (n < 0 && is_short_of_memory(errno))
		reactor_defer(l->reactor, &l->retry);
	return n < 0 ? 0 : (size_t)n;
}

void link_send2(struct link *l, enum frame_type type, const void *head, size_t n_head,
		const void *body, size_t n_body)
{
	uint8_t header[FRAME_HEADER_SIZE];

	ASSERT(!l->closing);
	ASSERT(n_head <= FRAME_PAYLOAD_MAX && n_body <= FRAME_PAYLOAD_MAX - n_head);
	if (l->broken)
		return;
	uint32_t crc = frame_crc32(frame_crc32(0, head, n_head), body, n_body);
	frame_header_encode(&(struct frame_header){ .type = (uint16_t)type,
						    .sequence = l->sequence++,
						    .length = (uint32_t)(n_head + n_body),
						    .payload_crc = crc },
			    header);
	const struct {
		const void *data;
		size_t n;
	} parts[] = { { header, sizeof(header) }, { head, n_head }, { body, n_body } };
	size_t sent = 0;
	if (!link_pending(l)) {
		struct iovec iov[ARRAY_SIZE(parts)];
		for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
			void *base;
			memcpy(&base, &parts[i].data, sizeof(base)); /* sendmsg only reads */
			iov[i] = (struct iovec){ base, parts[i].n };
		}
		sent = send_now(l, iov, ARRAY_SIZE(iov));
	}
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t skip = sent < parts[i].n ? sent : parts[i].n;
		sent -= skip;
		buf_append(&l->queue, (const uint8_t *)parts[i].data + skip, parts[i].n - skip);
	}
	if (link_pending(l))
		want_room(l);
}

void link_send(struct link *l, enum frame_type type, const void *payload, size_t n)
{
	link_send2(l, type, NULL, 0, payload, n);
}

bool link_is_congested(const struct link *l)
{
	return link_pending(l) > LINK_CONGESTED;
}

size_t link_pending(const struct link *l)
{
	return l->queue.len - l->queue_begin;
}

void link_pause(struct link *l)
{
	l->paused = true;
}

void link_resume(struct link *l)
{
	if (!l->paused)
		return;
	l->paused = false;
	reactor_defer(l->reactor, &l->retry);
}

uint64_t link_dropped_bytes(const struct link *l)
{
	return l->decoder.n_dropped_bytes;
}
