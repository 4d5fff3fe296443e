/*
 * The event loop: one reactor per VM, on its I/O thread. One contract, two backends, chosen once by
 * reactor_new.
 *
 *	reactor.c         op states, the turn, messages, deferred work: all that does not differ
 *	timer_heap.c      timers, in user space; a backend only knows how long it may sleep
 *	watches.c         what is looked at before a sleep, and for how long (spin.c)
 *	reactor_uring.c   hands ops to an io_uring and takes its completions
 *	reactor_epoll.c   the same with epoll, and file I/O on the worker threads of io_pool.c
 *
 * An operation (struct reactor_op) is embedded in its owner and recovered with container_of. It is
 *
 *	          arm                    final callback
 *	IDLE ------------> ARMED ----------------------------> IDLE
 *	                     | reactor_cancel                    ^
 *	                     +-------> CANCELLING ---------------+
 *
 * Guarantees, each a test in tests/unit/reactor that runs on both backends:
 *  1. callbacks run on the thread that called reactor_new, only from reactor_run / reactor_turn;
 *  2. never from inside an arm function;
 *  3. exactly one final callback (more == false) per arm; a poll also delivers any number with
 *     more == true before it;
 *  4. a poll that the kernel ended without an error or a cancel is re-armed unseen by its owner;
 *  5. arming never fails: what a full queue has no room for goes with the next turn, at once;
 *  6. iovec and time are copied into the op and live there until the final callback; the buffers
 *     stay the owner's;
 *  7. timers end with 0 or -ECANCELED;
 *  8. in the final callback the op is IDLE: it may be armed again or its memory freed;
 *  9. cancel is a request: the final callback still comes, never from inside cancel, and no other
 *     before it. A poll or timer then ends with -ECANCELED; file I/O with -ECANCELED, or with its
 *     natural result where it was too late;
 * 10. destroying anything from a callback is safe, as long as its own ops are idle;
 * 11. reactor_free ASSERTs that nothing is armed, queued or deferred;
 * 12. from other threads only reactor_post.
 *
 * Results are 0 or positive, or a negative errno. Callbacks return nothing: errors belong to the
 * op's owner.
 */
#pragma once

#include <sys/uio.h>

#include "base/error.h"
#include "base/id_set.h"
#include "base/list.h"

struct reactor;
struct reactor_op;

/* @res: bytes, poll events, 0 or -errno. @more: not the final callback of this arm (polls only). */
typedef void (*reactor_fn)(struct reactor_op *op, int res, bool more);

enum reactor_backend {
	REACTOR_AUTO, /* io_uring, else epoll; reactor_fallback_reason tells why */
	REACTOR_URING,
	REACTOR_EPOLL,
};

enum reactor_op_state { REACTOR_OP_IDLE, REACTOR_OP_ARMED, REACTOR_OP_CANCELLING };

enum { REACTOR_OP_IOV_INLINE = 4 };

/* Zero-initialised is IDLE. Every member is the reactor's. Stays where it is while not IDLE. */
struct reactor_op {
	enum reactor_op_state state;
	uint8_t kind;     /* enum reactor_op_kind */
	bool ready;       /* the result is known and waits for delivery on the reactor's list */
	bool handed_over; /* the kernel or a worker thread has it: a cancel has to ask there */
	int res;
	int fd;
	reactor_fn fn;
	struct reactor *reactor;
	struct list node;
	int poll_fd; /* epoll's own duplicate of @fd */
	int mode;
	uint32_t events;
	uint32_t n_iov;
	size_t heap_idx; /* timers */
	const struct iovec *iov;
	struct iovec iov_inline[REACTOR_OP_IOV_INLINE];
	uint64_t offset;
	uint64_t len;
	uint64_t deadline_ns;
	uint64_t seq; /* order among timers of one deadline */
};

struct reactor_config {
	enum reactor_backend backend;
	unsigned entries; /* submission queue size, a power of two; 0: 256 */
	/*
	 * CPUs of the kernel's workers, which keep no thread's mask by themselves; NULL: any. Those of the epoll backend have the
	 * mask of the thread that arms. Borrowed by reactor_new.
	 */
	const struct id_set *worker_cpus;
};

/* Parses KTSTR_REACTOR's value: NULL or "" is REACTOR_AUTO, "uring", "epoll"; else class usage. */
MUST_CHECK int reactor_backend_parse(const char *text, enum reactor_backend *ret,
				     struct error *err);

/*
 * The calling thread becomes the owner. Errors: a forced io_uring that the host refuses (with the
 * reason), no descriptors left.
 */
MUST_CHECK int reactor_new(const struct reactor_config *config, struct reactor **ret,
			   struct error *err);
/* Owner thread, not from a callback. NULL is fine. Returns NULL. */
struct reactor *reactor_free(struct reactor *r);

/* "io_uring" or "epoll". */
const char *reactor_backend_name(const struct reactor *r);
/*
 * Why io_uring was not taken though nothing forced epoll ("io_uring_setup (kernel.io_uring_disabled
 * is 2): Operation not permitted"); NULL otherwise.
 */
const char *reactor_fallback_reason(const struct reactor *r);

/* Runs turns until reactor_stop; returns its status. */
int reactor_run(struct reactor *r);
/*
 * One turn: submit, wait at most @timeout_ns (0: do not wait; UINT64_MAX: no limit), deliver, run
 * deferred work. May return early with nothing delivered (a signal).
 */
void reactor_turn(struct reactor *r, uint64_t timeout_ns);
/*
 * Ends reactor_run after the current turn, or the next reactor_run at once. Owner thread, also from
 * callbacks. Until reactor_run has returned the first status counts: what follows a failure is its
 * consequence.
 */
void reactor_stop(struct reactor *r, int status);

/*
 * Multishot poll: res = POLLIN | POLLOUT | POLLHUP | POLLERR bits that hold, once per wake-up of
 * @fd and once at arm if it is ready already. Several wake-ups between two turns may coalesce into
 * one callback. Edge-triggered in effect: the owner reads until -EAGAIN (or not at all: an eventfd
 * that is only a doorbell needs no read).
 *
 * Borrows @fd: it stays open until reactor_cancel, or until the final callback, which without a
 * cancel is an error (-EBADF, ...). Closing it earlier does not end the poll. Several ops may poll
 * one fd. A regular file cannot be polled: do not try, the backends differ in what they make of it.
 */
void reactor_poll(struct reactor *r, struct reactor_op *op, int fd, uint32_t events, reactor_fn fn);

/*
 * File I/O at @offset; regular files and block devices only. @iov of more than
 * REACTOR_OP_IOV_INLINE entries must stay valid until the final callback, shorter ones are copied.
 * res: bytes moved (may be short) or -errno; -EINVAL for an @offset that no file can have. Of all
 * file I/O: ops in flight have no order, and @fd is borrowed until the final callback.
 */
void reactor_readv(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov,
		   unsigned n_iov, uint64_t offset, reactor_fn fn);
void reactor_writev(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov,
		    unsigned n_iov, uint64_t offset, reactor_fn fn);
/* fdatasync. */
void reactor_fsync(struct reactor *r, struct reactor_op *op, int fd, reactor_fn fn);
/* fallocate(2) with @mode. */
void reactor_fallocate(struct reactor *r, struct reactor_op *op, int fd, int mode, uint64_t offset,
		       uint64_t len, reactor_fn fn);
/*
 * One shot at CLOCK_MONOTONIC @deadline_ns (base/clock.h), never early; a deadline in the past
 * fires in the next turn. Timers of one turn come in order of their deadlines, equal ones in the
 * order they were armed.
 */
void reactor_timer(struct reactor *r, struct reactor_op *op, uint64_t deadline_ns, reactor_fn fn);

/* Requests the end of an ARMED op; does nothing to a CANCELLING one; an IDLE one is a bug. */
void reactor_cancel(struct reactor *r, struct reactor_op *op);
/* Turns the reactor until @op is IDLE, cancelled if it is not already: for who takes all down. Never from a callback. */
void reactor_end(struct reactor *r, struct reactor_op *op);

static inline bool reactor_op_is_idle(const struct reactor_op *op)
{
	return op->state == REACTOR_OP_IDLE;
}

/*
 * A message from any thread. Embedded; zero-initialised is free. While it is on its way, posting it
 * again does nothing (returns false): one callback then covers both. The callback runs on the owner
 * thread; everything the poster wrote before reactor_post is visible to it. Messages of one thread
 * come in order. Wakes the reactor with at most one system call, none while a wake-up is pending. A
 * message on its way must stay in memory, and every reactor_post must have returned before
 * reactor_free.
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
 * Work for the end of this turn, after every completion was delivered: this is where a device turns
 * a turn's completions into one interrupt. Embedded, zero-initialised but for fn; deferring twice
 * before it ran does nothing; deferring from deferred work is for the next turn, which then does
 * not wait. Owner thread.
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

/*
 * Work that others announce in memory (a guest in its queues): the reactor looks for it a short
 * while before it sleeps, where such waits were short lately, and spares both sides a wake-up. How
 * long, and when not, is spin.h's.
 *
 * All three run on the owner's thread, between callbacks.
 */
struct reactor_watch;
struct reactor_watch_ops {
	/* Whether there is work. Cheap, called in a loop. */
	bool (*look)(struct reactor_watch *w);
	/* We sleep now: from here on the others must wake us. True: there is work after all. */
	bool (*ask)(struct reactor_watch *w);
	/* There is work. */
	void (*work)(struct reactor_watch *w);
};
/* Embedded; zero-initialised but for ops. */
struct reactor_watch {
	struct list node;
	const struct reactor_watch_ops *ops;
	bool found; /* work comes in this turn; its owner clears it when it has done that already */
};
/* Both may be called twice. */
void reactor_watch(struct reactor *r, struct reactor_watch *w);
void reactor_unwatch(struct reactor *r, struct reactor_watch *w);
