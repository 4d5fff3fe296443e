/*
 * The epoll backend, for hosts that refuse io_uring. Owner's thread only; io_pool.c has threads.
 *
 *	arm poll ------> the epoll set, at once ------ event -----> reactor_op_event
 *	                      |
 *	                      +-------- cancel: out of the set ---> reactor_op_finish_later
 *
 *	arm file I/O --> io_pool ------ done, wake ---------------> reactor_op_finish
 *	                      |
 *	                      +-------- cancel, still waiting ----> reactor_op_finish_later
 *	                                cancel, with a worker: its result comes
 *
 * Edge-triggered: each wake-up of a file is an event, whether the last one was read or not, as with
 * io_uring's multishot poll.
 *
 * An op that a callback cancels is still there when its own event of the same batch has its turn: a
 * poll's final callback comes from the ready list, after the batch; reactor_op_event drops the
 * event.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "reactor/io_pool.h"

enum { N_EVENTS_MAX = 128 };

struct epoll {
	struct backend backend;
	int fd;
	bool ms_only; /* no epoll_pwait2 (5.11) here */
	struct io_pool *pool;
	int n_events;
	struct epoll_event events[N_EVENTS_MAX]; /* of the last wait */
};

static struct epoll *epoll_of(struct backend *b)
{
	return container_of(b, struct epoll, backend);
}

/* ---- polls ---- */

/*
 * Always by a duplicate: epoll knows a file by its descriptor's number, so a second op's poll of
 * @fd needs another number; and an owner that closes @fd too early leaves no event behind that
 * points to an op long gone. io_uring keeps the file open just so.
 */
static int watch(struct epoll *e, struct reactor_op *op)
{
	struct epoll_event event = { .events = op->events | EPOLLET, .data.ptr = op };

	op->poll_fd = fcntl(op->fd, F_DUPFD_CLOEXEC, 0);
	if (op->poll_fd < 0)
		return -errno;
	if (epoll_ctl(e->fd, EPOLL_CTL_ADD, op->poll_fd, &event) == 0)
		return 0;
	int code = -errno;
	op->poll_fd = fd_close(op->poll_fd);
	return code;
}

static void unwatch(struct epoll *e, struct reactor_op *op)
{
	int ret = epoll_ctl(e->fd, EPOLL_CTL_DEL, op->poll_fd, NULL);

	ASSERT(ret == 0); /* it is there, and nobody else has its number */
	op->poll_fd = fd_close(op->poll_fd);
}

/* ---- arm and cancel ---- */

static void epoll_arm(struct backend *b, struct reactor_op *op)
{
	struct epoll *e = epoll_of(b);
	int ret = op->kind == REACTOR_OP_POLL ? watch(e, op) : io_pool_submit(e->pool, op);

	if (ret < 0)
		reactor_op_finish_later(op, ret);
}

static void epoll_cancel(struct backend *b, struct reactor_op *op)
{
	struct epoll *e = epoll_of(b);

	if (op->kind == REACTOR_OP_POLL)
		unwatch(e, op);
	else if (!io_pool_take_back(e->pool, op))
		return;
	reactor_op_finish_later(op, -ECANCELED);
}

/* ---- wait and deliver ---- */

/* Whole milliseconds, rounded up: waking early would turn the rest of the wait into a busy loop. */
static int wait_ms(struct epoll *e, uint64_t timeout_ns)
{
	int timeout_ms = -1;

	if (timeout_ns < INT32_MAX * NS_PER_MS)
		timeout_ms = (int)((timeout_ns + NS_PER_MS - 1) / NS_PER_MS);
	else if (timeout_ns != UINT64_MAX)
		timeout_ms = INT32_MAX;
	return epoll_wait(e->fd, e->events, N_EVENTS_MAX, timeout_ms);
}

static int wait_ns(struct epoll *e, uint64_t timeout_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(timeout_ns / NS_PER_S),
			       .tv_nsec = (long)(timeout_ns % NS_PER_S) };

	return epoll_pwait2(e->fd, e->events, N_EVENTS_MAX, timeout_ns == UINT64_MAX ? NULL : &ts,
			    NULL);
}

static void epoll_wait_turn(struct backend *b, uint64_t timeout_ns)
{
	struct epoll *e = epoll_of(b);
	int n = -1;

	if (!e->ms_only) {
		n = wait_ns(e, timeout_ns);
		e->ms_only = n < 0 && errno == ENOSYS;
	}
	if (e->ms_only)
		n = wait_ms(e, timeout_ns);
	ASSERT(n >= 0 || errno == EINTR); /* all other errors are bad arguments */
	e->n_events = n < 0 ? 0 : n;
}

static void epoll_deliver(struct backend *b)
{
	struct epoll *e = epoll_of(b);
	struct list done;
	struct list *node;

	for (int i = 0; i < e->n_events; i++)
		reactor_op_event(e->events[i].data.ptr, (int)e->events[i].events);

	list_init(&done);
	io_pool_collect(e->pool, &done);
	while ((node = list_pop(&done))) {
		struct reactor_op *op = container_of(node, struct reactor_op, node);
		reactor_op_finish(op, op->res);
	}
}

/* ---- making and freeing ---- */

static void epoll_free(struct backend *b)
{
	struct epoll *e = epoll_of(b);

	e->pool = io_pool_free(e->pool);
	fd_closep(&e->fd);
	free(e);
}

static const struct backend_ops epoll_ops = {
	.name = "epoll",
	.arm = epoll_arm,
	.cancel = epoll_cancel,
	.wait = epoll_wait_turn,
	.deliver = epoll_deliver,
	.free = epoll_free,
};

int reactor_epoll_new(struct backend **ret, struct error *err)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return error_set(err, errno, "epoll_create1");
	struct epoll *e = xcalloc(1, sizeof(*e));
	e->backend.ops = &epoll_ops;
	e->fd = fd;
	e->pool = io_pool_new();
	*ret = &e->backend;
	return 0;
}
