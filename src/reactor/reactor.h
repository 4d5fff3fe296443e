/*
 * The event loop: one reactor per VM, on its I/O thread. One contract, two backends: io_uring (reactor_uring.c) and
 * epoll (reactor_epoll.c), chosen once by reactor_new.
 *
 * An operation (struct reactor_op) is embedded in its owner and recovered with container_of. States:
 *
 *	          arm                    final callback
 *	IDLE ------------> ARMED ----------------------------> IDLE
 *	                     | reactor_cancel                    ^
 *	                     +-------> CANCELLING ---------------+
 *
 * Guarantees, each a test in tests/unit/reactor that runs on both backends:
 *  1. callbacks run on the thread that called reactor_new, only from reactor_run / reactor_turn;
 *  2. never from inside an arm function;
 *  3. exactly one final callback (more == false) per arm; a poll also delivers any number with more == true before it;
 *  4. a poll that the kernel ended without an error or a cancel is re-armed unseen by its owner;
 *  5. arming never fails: on a full queue the reactor submits;
 *  6. iovec and time are copied into the op and live there until the final callback; the buffers stay the owner's;
 *  7. timers end with 0 or -ECANCELED;
 *  8. in the final callback the op is IDLE: it may be armed again or its memory freed;
 *  9. cancel is a request: the callback still comes, with the natural result or -ECANCELED, never from inside cancel;
 * 10. destroying anything from a callback is safe, as long as its own ops are idle;
 * 11. reactor_free ASSERTs that nothing is armed, queued or deferred;
 * 12. from other threads only reactor_post.
 *
 * Results are 0 or positive, or a negative errno. Callbacks return nothing: errors belong to the op's owner.
 */
#pragma once

#include <sys/uio.h>
#include <time.h>

#include "base/error.h"
#include "base/list.h"

struct reactor;
struct reactor_op;

/* @res: bytes, poll events, 0 or -errno. @more: further callbacks of this arm follow (polls only). */
typedef void (*reactor_fn)(struct reactor_op *op, int res, bool more);

enum reactor_backend {
	REACTOR_AUTO, /* io_uring, else epoll; reactor_fallback_reason tells why */
	REACTOR_URING,
	REACTOR_EPOLL,
};

enum reactor_op_state { REACTOR_OP_IDLE, REACTOR_OP_ARMED, REACTOR_OP_CANCELLING };

enum { REACTOR_OP_IOV_INLINE = 4 };

/* Zero-initialised is IDLE. Every member is the reactor's. */
struct reactor_op {
	enum reactor_op_state state;
	uint8_t kind;
	bool queued; /* on a backend's list, result not yet delivered */
	int fd;
	int res;
	uint32_t events;
	uint32_t n_iov;
	reactor_fn fn;
	const struct iovec *iov;
	struct iovec iov_inline[REACTOR_OP_IOV_INLINE];
	uint64_t offset;
	uint64_t len;
	uint64_t deadline_ns;
	struct timespec ts;
	struct reactor *reactor;
	struct list node;
	void *backend; /* per-op state of the backend, NULL when idle */
};

struct reactor_config {
	enum reactor_backend backend;
	unsigned entries; /* submission queue size, a power of two; 0: 256 */
};

/*
 * Parses KTSTR_REACTOR's value: NULL or "" is REACTOR_AUTO, "uring", "epoll". Error (class usage) otherwise.
 */
MUST_CHECK int reactor_backend_parse(const char *text, enum reactor_backend *ret, struct error *err);

/* The calling thread becomes the owner. Error: a forced io_uring that the host refuses (with the reason), memory. */
MUST_CHECK int reactor_new(const struct reactor_config *config, struct reactor **ret, struct error *err);
/* Owner thread. NULL is fine. Returns NULL. */
struct reactor *reactor_free(struct reactor *r);

/* "io_uring" or "epoll". */
const char *reactor_backend_name(const struct reactor *r);
/* Why io_uring was not taken though nothing forced epoll ("io_uring_setup: Operation not permitted (kernel.io_uring_disabled)"); NULL otherwise. */
const char *reactor_fallback_reason(const struct reactor *r);

/* Runs turns until reactor_stop; returns its status. */
int reactor_run(struct reactor *r);
/* One turn: submit, wait at most @timeout_ns (0: do not wait; UINT64_MAX: no limit), deliver, run deferred work. */
void reactor_turn(struct reactor *r, uint64_t timeout_ns);
/* Ends reactor_run after the current turn. Owner thread, also from callbacks. */
void reactor_stop(struct reactor *r, int status);

/*
 * Multishot poll: res = POLLIN | POLLOUT | POLLHUP | POLLERR bits that hold, once per wake-up of @fd and once at arm if
 * it is ready already. Several wake-ups between two turns may coalesce into one callback. Edge-triggered in effect:
 * the owner reads until -EAGAIN (or not at all: an eventfd that is only a doorbell needs no read).
 */
void reactor_poll(struct reactor *r, struct reactor_op *op, int fd, uint32_t events, reactor_fn fn);

/*
 * File I/O at @offset; regular files and block devices only. @iov of more than REACTOR_OP_IOV_INLINE entries must
 * stay valid until the final callback, shorter ones are copied. res: bytes moved (may be short) or -errno.
 */
void reactor_readv(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov, unsigned n_iov,
		   uint64_t offset, reactor_fn fn);
void reactor_writev(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov, unsigned n_iov,
		    uint64_t offset, reactor_fn fn);
/* fdatasync. */
void reactor_fsync(struct reactor *r, struct reactor_op *op, int fd, reactor_fn fn);
/* fallocate(2) with @mode. */
void reactor_fallocate(struct reactor *r, struct reactor_op *op, int fd, int mode, uint64_t offset, uint64_t len,
		       reactor_fn fn);
/* One shot at CLOCK_MONOTONIC @deadline_ns (base/clock.h); a deadline in the past fires in the next turn. */
void reactor_timer(struct reactor *r, struct reactor_op *op, uint64_t deadline_ns, reactor_fn fn);

/* Requests the end of an ARMED op; on a CANCELLING op it does nothing; on an IDLE op it is a bug. */
void reactor_cancel(struct reactor *r, struct reactor_op *op);

static inline bool reactor_op_is_idle(const struct reactor_op *op)
{
	return op->state == REACTOR_OP_IDLE;
}

/*
 * A message from any thread. Embedded; zero-initialised is free. While it is on its way, posting it again does nothing
 * (returns false): one callback then covers both. The callback runs on the owner thread; everything the poster wrote
 * before reactor_post is visible to it. Wakes the reactor with at most one system call.
 */
struct reactor_msg;
typedef void (*reactor_msg_fn)(struct reactor_msg *msg);
struct reactor_msg {
	_Atomic(struct reactor_msg *) next;
	_Atomic bool posted;
	reactor_msg_fn fn;
};
bool reactor_post(struct reactor *r, struct reactor_msg *msg);

/*
 * Work for the end of this turn, after every completion was delivered: this is where a device turns a turn's
 * completions into one interrupt. Embedded; deferring twice before it ran does nothing. Owner thread.
 */
struct reactor_deferred;
typedef void (*reactor_deferred_fn)(struct reactor_deferred *d);
struct reactor_deferred {
	struct list node;
	reactor_deferred_fn fn;
};
void reactor_defer(struct reactor *r, struct reactor_deferred *d);
/* Takes it back if it has not run yet. */
void reactor_undefer(struct reactor *r, struct reactor_deferred *d);
