/*
 * One end of a framed stream (abi/frame.h) over a connected stream socket: VM process and runner
 * speak through a pair of these. Everything on the reactor's thread.
 *
 * Sending never blocks and never fails for want of room: what the socket does not take is queued.
 * The owner bounds the queue: it stops producing while link_is_congested() and goes on at
 * on_writable. Receiving is bounded by the decoder; link_pause leaves further bytes in the socket.
 */
#pragma once

#include "abi/frame.h"
#include "base/error.h"
#include "reactor/reactor.h"

struct link;

struct link_ops {
	/*
	 * A whole frame; its payload is valid during the call. link_pause from inside stops after
	 * this frame.
	 */
	void (*on_frame)(void *ctx, const struct frame *frame);
	/*
	 * The queue shrank and is below the congestion mark, or empty (link_pending() == 0).
	 * Optional.
	 */
	void (*on_writable)(void *ctx);
	/*
	 * The peer is gone or the stream broke (@err: 0 for a plain end, -errno). Called once;
	 * nothing follows.
	 */
	void (*on_closed)(void *ctx, int err);
};

/* Takes ownership of @fd on success and makes it non-blocking. Starts receiving at once. */
MUST_CHECK int link_new(struct reactor *r, int fd, const struct link_ops *ops, void *ctx,
			struct link **ret, struct error *err);
/*
 * Ends the link: no callback comes after it. The memory and the descriptor live on until the
 * reactor has let go of them, which needs a further turn. Safe from inside callbacks. NULL is fine;
 * returns NULL.
 */
struct link *link_close(struct link *l);

void link_send(struct link *l, enum frame_type type, const void *payload, size_t n);
/* Header part and body part as one payload, without copying them together first. */
void link_send2(struct link *l, enum frame_type type, const void *head, size_t n_head,
		const void *body, size_t n_body);
/* More than LINK_CONGESTED bytes wait for the socket. */
enum { LINK_CONGESTED = 256 * 1024 };
bool link_is_congested(const struct link *l);
/* Bytes that the socket has not taken yet; 0: everything sent has left this process. */
size_t link_pending(const struct link *l);
void link_pause(struct link *l);
void link_resume(struct link *l);
/* Bytes that were no frame, and gaps, seen so far: not 0 between our own processes means a bug. */
uint64_t link_dropped_bytes(const struct link *l);
