#include "cli/out_queue.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/num.h"
#include "cli/out.h"

void out_queue_init(struct out_queue *q, int fd)
{
	*q = (struct out_queue){ .fd = fd };
}

void out_queue_fini(struct out_queue *q)
{
	ASSERT(!q->reactor);
	buf_fini(&q->text);
}

bool out_queue_is_empty(const struct out_queue *q)
{
	return q->n_done == q->text.len;
}

static void drop_all(struct out_queue *q)
{
	q->n_done = 0;
	q->text.len = 0;
}

static void fail(struct out_queue *q, int error)
{
	if (error != -EPIPE && !q->error)
		q->error = error;
	drop_all(q);
}

/* An error counts: the write tells which. */
static bool has_room(const struct out_queue *q)
{
	struct pollfd fd = { .fd = q->fd, .events = POLLOUT };

	return poll(&fd, 1, 0) > 0;
}

static void on_room(struct reactor_op *op, int res, bool more);

/* Armed once and for all: who reads again after a pause may pause again. */
static void ask_for_room(struct out_queue *q)
{
	if (q->reactor && reactor_op_is_idle(&q->room))
		reactor_poll(q->reactor, &q->room, q->fd, POLLOUT, on_room);
}

static void write_what_fits(struct out_queue *q)
{
	while (!out_queue_is_empty(q)) {
		if (!has_room(q)) {
			ask_for_room(q);
			return;
		}
		ssize_t put = write(q->fd, q->text.data + q->n_done,
				    num_min(q->text.len - q->n_done, PIPE_BUF));
		if (put < 0 &&
		    errno == EAGAIN) { /* somebody made it non-blocking, and was faster */
			ask_for_room(q);
			return;
		}
		if (put < 0 && errno != EINTR)
			fail(q, -errno);
		else if (put > 0)
			q->n_done += (size_t)put;
	}
	drop_all(q);
}

static void on_room(struct reactor_op *op, int res, bool more UNUSED)
{
	struct out_queue *q = container_of(op, struct out_queue, room);

	if (res == -ECANCELED)
		return;
	if (res < 0)
		fail(q, res);
	else
		write_what_fits(q);
}

void out_queue_start(struct out_queue *q, struct reactor *r)
{
	q->reactor = r;
	write_what_fits(q);
}

void out_queue_stop(struct out_queue *q)
{
	if (q->reactor)
		reactor_end(q->reactor, &q->room);
	q->reactor = NULL;
}

void out_queue_put(struct out_queue *q, const void *data, size_t n)
{
	buf_append(&q->text, data, n);
	write_what_fits(q);
}

void out_queue_flush(struct out_queue *q)
{
	int res = out_write_waiting(q->fd, q->text.data + q->n_done, q->text.len - q->n_done);

	if (res < 0)
		fail(q, res);
	drop_all(q);
}
