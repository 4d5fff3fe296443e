/*
 * The part of the reactor that does not differ by backend. All of it runs on the owner's thread,
 * except reactor_post and reactor_wake.
 *
 * Where an op is, from arm to final callback:
 *
 *	             timer                                    due, or cancelled
 *	         +-----------> timers (heap) -------------------------------+
 *	         |                                                          |
 *	arm -----+                                                          v
 *	         |   others                        failed at once,      +-------+
 *	         +-----------> backend ----------> cancelled in time -> | ready |
 *	                          |                                     +-------+
 *	                          v                                         |
 *	                 kernel or a worker                                 v
 *	                          +------------- completion -----> final callback; IDLE
 *
 * One turn. Each step serves what was there when it began, so that no owner can starve the others
 * by arming, posting or deferring anew in its callback:
 *
 *	1. wait      the backend submits and sleeps; not at all if something is ready or deferred, or
 *	             a watch has work; maybe after a look around (watches.h)
 *	2. expire    due timers become ready; before any callback, so that a timer armed by one is
 *	             for the next turn even if its deadline is past
 *	3. deliver   the backend's completions
 *	4. ready     what needed no backend: timers, cancels, failures at arm
 *	5. messages  of other threads, in the order of their arrival
 *	6. watches   work that was found in memory; a message may have seen to it
 *	7. deferred  last, when all that this turn completed is known
 */
#include "reactor/reactor.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "reactor/reactor_backend.h"
#include "reactor/timer_heap.h"
#include "reactor/watches.h"

enum { DEFAULT_ENTRIES = 256 };

struct reactor {
	struct backend *backend;
	char *fallback_reason;
	pthread_t owner;
	bool in_turn;
	bool stopping;
	int status;
	size_t n_armed; /* ops that are not IDLE; wake_op always is one */
	struct list ready;
	struct list deferred;
	struct timer_heap timers;
	struct watches watches;
	size_t n_file_io; /* armed ops that are file I/O */

	/*
	 * Messages of other threads, newest first. Whoever makes it non-empty wakes the owner, so
	 * "not empty" and "a wake-up is pending" are one fact, and a poster needs no system call
	 * where it finds a message before its own.
	 */
	_Atomic(struct reactor_msg *) inbox;
	int wake_fd; /* an eventfd that is never read: each write is an edge for the poll */
	struct reactor_op wake_op;
};

static void assert_owner(const struct reactor *r)
{
	ASSERT(pthread_equal(r->owner, pthread_self()));
}

/* The only writer of op->state. Not logged: a busy device changes states very often. */
static void op_set_state(struct reactor_op *op, enum reactor_op_state to)
{
	switch (to) {
	case REACTOR_OP_IDLE:
		ASSERT(op->state == REACTOR_OP_ARMED || op->state == REACTOR_OP_CANCELLING);
		break;
	case REACTOR_OP_ARMED:
		ASSERT(op->state == REACTOR_OP_IDLE);
		break;
	case REACTOR_OP_CANCELLING:
		ASSERT(op->state == REACTOR_OP_ARMED);
		break;
	}
	op->state = to;
}

/* ---- making and freeing ---- */

int reactor_backend_parse(const char *text, enum reactor_backend *ret, struct error *err)
{
	if (!text || !*text)
		*ret = REACTOR_AUTO;
	else if (strcmp(text, "uring") == 0)
		*ret = REACTOR_URING;
	else if (strcmp(text, "epoll") == 0)
		*ret = REACTOR_EPOLL;
	else
		return error_set_usage(err, -EINVAL,
				       "KTSTR_REACTOR: '%s' is neither 'uring' nor 'epoll'", text);
	return 0;
}

static void on_wake(struct reactor_op *op, int res, bool more)
{
	struct reactor *r = container_of(op, struct reactor, wake_op);

	/* The wake-up was all. Cancelled by reactor_free; but after an error (memory) we must not
	 * stay deaf. */
	if (!more && res != -ECANCELED)
		reactor_poll(r, op, r->wake_fd, POLLIN, on_wake);
}

/* Takes io_uring unless epoll is forced, and epoll unless io_uring is. */
static int choose_backend(struct reactor *r, const struct reactor_config *config, struct error *err)
{
	unsigned entries = config->entries ? config->entries : DEFAULT_ENTRIES;

	ASSERT(num_is_pow2(entries));
	if (config->backend == REACTOR_EPOLL)
		return reactor_epoll_new(&r->backend, err);

	int ret = reactor_uring_new(entries, config->worker_cpus, &r->backend, err);
	if (ret == 0 || config->backend == REACTOR_URING)
		return ret;
	r->fallback_reason = xstrdup(err->text);
	*err = (struct error){ 0 };
	return reactor_epoll_new(&r->backend, err);
}

int reactor_new(const struct reactor_config *config, struct reactor **ret, struct error *err)
{
	struct reactor *r = xcalloc(1, sizeof(*r));

	r->owner = pthread_self();
	list_init(&r->ready);
	list_init(&r->deferred);
	watches_init(&r->watches);
	r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->wake_fd < 0) {
		(void)error_set(err, errno, "reactor: eventfd");
		goto fail;
	}
	if (choose_backend(r, config, err) < 0) {
		(void)error_prefix(err, "reactor");
		goto fail;
	}
	reactor_poll(r, &r->wake_op, r->wake_fd, POLLIN, on_wake);
	*ret = r;
	return 0;
fail:
	fd_closep(&r->wake_fd);
	free(r->fallback_reason);
	free(r);
	return err->code;
}

void reactor_end(struct reactor *r, struct reactor_op *op)
{
	if (!reactor_op_is_idle(op))
		reactor_cancel(r, op);
	while (!reactor_op_is_idle(op))
		reactor_turn(r, UINT64_MAX);
}

struct reactor *reactor_free(struct reactor *r)
{
	if (!r)
		return NULL;
	assert_owner(r);
	ASSERT(!r->in_turn);
	ASSERT(r->n_armed == 1);
	ASSERT(list_is_empty(&r->deferred));
	ASSERT(list_is_empty(&r->watches.list));
	ASSERT(!atomic_load_explicit(&r->inbox, memory_order_acquire));
	reactor_end(r, &r->wake_op);
	r->backend->ops->free(r->backend);
	timer_heap_fini(&r->timers);
	fd_closep(&r->wake_fd);
	free(r->fallback_reason);
	free(r);
	return NULL;
}

const char *reactor_backend_name(const struct reactor *r)
{
	return r->backend->ops->name;
}

const char *reactor_fallback_reason(const struct reactor *r)
{
	return r->fallback_reason;
}

/* ---- results, from the backends ---- */

void reactor_op_event(struct reactor_op *op, int events)
{
	if (op->state == REACTOR_OP_ARMED)
		op->fn(op, events, true);
}

static bool is_file_io(const struct reactor_op *op)
{
	return op->kind != REACTOR_OP_POLL && op->kind != REACTOR_OP_TIMER;
}

void reactor_op_finish(struct reactor_op *op, int res)
{
	ASSERT(!list_is_linked(&op->node));
	/*
	 * What a cancel raced with is settled here, for both backends: a poll or timer that fired
	 * meanwhile has ended cancelled all the same, and -EINTR is how a cancel looks that
	 * interrupted a kernel thread in the middle.
	 */
	if (op->state == REACTOR_OP_CANCELLING &&
	    (op->kind == REACTOR_OP_POLL || op->kind == REACTOR_OP_TIMER || res == -EINTR))
		res = -ECANCELED;
	op->reactor->n_armed--;
	op->reactor->n_file_io -= is_file_io(op);
	op_set_state(op, REACTOR_OP_IDLE);
	op->fn(op, res, false);
}

void reactor_op_finish_later(struct reactor_op *op, int res)
{
	ASSERT(!op->ready);
	op->ready = true;
	op->res = res;
	list_add_tail(&op->reactor->ready, &op->node);
}

/* ---- arming and cancelling ---- */

/* The common part of every arm function. */
static void op_begin(struct reactor *r, struct reactor_op *op, enum reactor_op_kind kind, int fd,
		     reactor_fn fn)
{
	assert_owner(r);
	op_set_state(op, REACTOR_OP_ARMED);
	r->n_armed++;
	op->kind = (uint8_t)kind;
	r->n_file_io += is_file_io(op);
	op->ready = false;
	op->handed_over = false;
	op->reactor = r;
	op->fd = fd;
	op->fn = fn;
}

void reactor_poll(struct reactor *r, struct reactor_op *op, int fd, uint32_t events, reactor_fn fn)
{
	op_begin(r, op, REACTOR_OP_POLL, fd, fn);
	op->events = events;
	r->backend->ops->arm(r->backend, op);
}

static void arm_vectored(struct reactor *r, struct reactor_op *op, const struct iovec *iov,
			 unsigned n_iov, uint64_t offset)
{
	op->offset = offset;
	op->n_iov = n_iov;
	op->iov = iov;
	if (n_iov <= REACTOR_OP_IOV_INLINE) {
		for (unsigned i = 0; i < n_iov; i++)
			op->iov_inline[i] = iov[i];
		op->iov = op->iov_inline;
	}
	/* To io_uring -1 means "the file's own position", and the two system calls disagree with it
	 * on others. */
	if (offset > INT64_MAX)
		reactor_op_finish_later(op, -EINVAL);
	else
		r->backend->ops->arm(r->backend, op);
}

/* NOLINTNEXTLINE(readability-function-size): the arguments of the system call, and ours */
void reactor_readv(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov,
		   unsigned n_iov, uint64_t offset, reactor_fn fn)
{
	op_begin(r, op, REACTOR_OP_READV, fd, fn);
	arm_vectored(r, op, iov, n_iov, offset);
}

/* NOLINTNEXTLINE(readability-function-size): the arguments of the system call, and ours */
void reactor_writev(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov,
		    unsigned n_iov, uint64_t offset, reactor_fn fn)
{
	op_begin(r, op, REACTOR_OP_WRITEV, fd, fn);
	arm_vectored(r, op, iov, n_iov, offset);
}

void reactor_fsync(struct reactor *r, struct reactor_op *op, int fd, reactor_fn fn)
{
	op_begin(r, op, REACTOR_OP_FSYNC, fd, fn);
	r->backend->ops->arm(r->backend, op);
}

/* NOLINTNEXTLINE(readability-function-size): the arguments of the system call, and ours */
void reactor_fallocate(struct reactor *r, struct reactor_op *op, int fd, int mode, uint64_t offset,
		       uint64_t len, reactor_fn fn)
{
	op_begin(r, op, REACTOR_OP_FALLOCATE, fd, fn);
	op->mode = mode;
	op->offset = offset;
	op->len = len;
	r->backend->ops->arm(r->backend, op);
}

void reactor_timer(struct reactor *r, struct reactor_op *op, uint64_t deadline_ns, reactor_fn fn)
{
	op_begin(r, op, REACTOR_OP_TIMER, -1, fn);
	op->deadline_ns = deadline_ns;
	timer_heap_push(&r->timers, op);
}

void reactor_cancel(struct reactor *r, struct reactor_op *op)
{
	assert_owner(r);
	ASSERT(op->state != REACTOR_OP_IDLE && op->reactor == r);
	if (op->state == REACTOR_OP_CANCELLING)
		return;
	op_set_state(op, REACTOR_OP_CANCELLING);
	if (op->ready)
		return;
	if (op->kind == REACTOR_OP_TIMER) {
		timer_heap_remove(&r->timers, op);
		reactor_op_finish_later(op, -ECANCELED);
	} else {
		r->backend->ops->cancel(r->backend, op);
	}
}

/* ---- the turn ---- */

/* How long the backend may sleep: not past the next deadline, and not while there is work of our
 * own. */
static uint64_t wait_time(const struct reactor *r, uint64_t timeout_ns)
{
	const struct reactor_op *first = timer_heap_first(&r->timers);

	if (!list_is_empty(&r->ready) || !list_is_empty(&r->deferred))
		return 0;
	if (!first || timeout_ns == 0)
		return timeout_ns;
	uint64_t now_ns = clock_now_ns();
	return num_min(timeout_ns, first->deadline_ns > now_ns ? first->deadline_ns - now_ns : 0);
}

static void expire_timers(struct reactor *r)
{
	struct reactor_op *op = timer_heap_first(&r->timers);

	if (!op)
		return;
	uint64_t now_ns = clock_now_ns();
	for (; op && op->deadline_ns <= now_ns; op = timer_heap_first(&r->timers)) {
		timer_heap_remove(&r->timers, op);
		reactor_op_finish_later(op, 0);
	}
}

static void deliver_ready(struct reactor *r)
{
	struct list batch;
	struct list *node;

	list_init(&batch);
	list_move_all(&batch, &r->ready);
	while ((node = list_pop(&batch))) {
		struct reactor_op *op = container_of(node, struct reactor_op, node);
		reactor_op_finish(op, op->res);
	}
}

static void deliver_messages(struct reactor *r)
{
	struct reactor_msg *oldest = NULL;
	struct reactor_msg *msg = NULL;

	/* The load spares the shared line a write in the many turns without messages. */
	if (atomic_load_explicit(&r->inbox, memory_order_relaxed))
		msg = atomic_exchange_explicit(&r->inbox, NULL, memory_order_acquire);
	while (msg) { /* newest first to oldest first */
		struct reactor_msg *older = atomic_load_explicit(&msg->next, memory_order_relaxed);
		atomic_store_explicit(&msg->next, oldest, memory_order_relaxed);
		oldest = msg;
		msg = older;
	}
	while (oldest) {
		msg = oldest;
		oldest = atomic_load_explicit(&msg->next, memory_order_relaxed);
		/*
		 * From here on a post is a new message. Acquire pairs with the release in
		 * reactor_post, also of a poster that found the message posted: this exchange reads
		 * what that poster wrote, or a later value of the same chain of exchanges.
		 */
		(void)atomic_exchange_explicit(&msg->posted, false, memory_order_acq_rel);
		msg->fn(msg); /* may free it */
	}
}

static void run_deferred(struct reactor *r)
{
	struct list batch;
	struct list *node;

	list_init(&batch);
	list_move_all(&batch, &r->deferred);
	while ((node = list_pop(&batch))) {
		struct reactor_deferred *d = container_of(node, struct reactor_deferred, node);
		d->fn(d); /* may free it */
	}
}

static void wait_turn(struct reactor *r, uint64_t timeout_ns)
{
	uint64_t wait_ns = wait_time(r, timeout_ns);

	if (timeout_ns == 0)
		watches_sleep(&r->watches, r->backend,
			      0); /* who asks for that may sleep elsewhere */
	else
		watches_wait(&r->watches, r->backend, r->n_file_io, wait_ns);
}

void reactor_turn(struct reactor *r, uint64_t timeout_ns)
{
	assert_owner(r);
	ASSERT(!r->in_turn);
	r->in_turn = true;
	wait_turn(r, timeout_ns);
	expire_timers(r);
	r->backend->ops->deliver(r->backend);
	deliver_ready(r);
	deliver_messages(r);
	watches_run(&r->watches);
	run_deferred(r);
	r->in_turn = false;
}

int reactor_run(struct reactor *r)
{
	while (!r->stopping)
		reactor_turn(r, UINT64_MAX);
	r->stopping = false;
	return r->status;
}

void reactor_stop(struct reactor *r, int status)
{
	assert_owner(r);
	if (r->stopping)
		return;
	r->stopping = true;
	r->status = status;
}

/* ---- deferred work and messages ---- */

void reactor_defer(struct reactor *r, struct reactor_deferred *d)
{
	assert_owner(r);
	if (!list_is_linked(&d->node))
		list_add_tail(&r->deferred, &d->node);
}

void reactor_undefer(struct reactor *r, struct reactor_deferred *d)
{
	assert_owner(r);
	if (list_is_linked(&d->node))
		list_remove(&d->node);
}

void reactor_wake(struct reactor *r)
{
	uint64_t one = 1;

	/* -EAGAIN, the only failure, takes 2^64 - 2 writes; the poll would still see this one. */
	(void)!write(r->wake_fd, &one, sizeof(one));
}

bool reactor_post(struct reactor *r, struct reactor_msg *msg)
{
	/* Release: pairs with the exchange in deliver_messages, which runs before the callback. */
	if (atomic_exchange_explicit(&msg->posted, true, memory_order_acq_rel))
		return false;

	struct reactor_msg *newest = atomic_load_explicit(&r->inbox, memory_order_relaxed);
	do {
		atomic_store_explicit(&msg->next, newest, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
	    &r->inbox, &newest, msg, memory_order_release, memory_order_relaxed));
	if (!newest)
		reactor_wake(r); /* the owner may take the message before this; then it wakes once
				    for nothing */
	return true;
}

/* ---- watches ---- */

void reactor_watch(struct reactor *r, struct reactor_watch *w)
{
	assert_owner(r);
	if (!list_is_linked(&w->node))
		list_add_tail(&r->watches.list, &w->node);
}

void reactor_unwatch(struct reactor *r, struct reactor_watch *w)
{
	assert_owner(r);
	if (list_is_linked(&w->node))
		list_remove(&w->node);
	w->found = false;
}
