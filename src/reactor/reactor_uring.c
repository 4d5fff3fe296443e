/*
 * The io_uring backend. Owner's thread only. One io_uring_enter per turn submits and waits.
 *
 *	arm -----> backlog -----------> kernel -----------> reactor_op_finish
 *	           |  ^  ^   wait: an   |    |   final CQE
 *	           |  |  |   SQE each   |    |
 *	           |  |  +--------------+    |
 *	           |  |  reactor_cancel: for a cancel SQE; the final CQE, if it
 *	           |  |  is faster, takes the op out of the backlog again
 *	           |  |                      |
 *	           |  +----------------------+
 *	           |  a multishot poll that the kernel ended: armed again
 *	           v
 *	           reactor_cancel before the kernel has seen it: reactor_op_finish_later
 *
 * Arm and cancel only link the op into the backlog; SQEs are written right before the system call
 * that submits them. Therefore
 *  - callbacks never touch the ring: one system call a turn, and arming cannot fail. A backlog
 *    longer than the queue takes several turns, which do not sleep;
 *  - no SQE for an op is written after its final callback, so no cancel names memory that was
 *    freed, or armed for something else, meanwhile;
 *  - an op that is armed and cancelled in one turn costs no system call.
 *
 * user_data is always the op; NULL for a cancel's own completion, which says nothing that the op's
 * final completion does not say better.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "reactor/reactor_backend.h"
#include "reactor/uring_restrict.h"

enum {
	/*
	 * Completion entries per submission entry. A completion that finds no room costs the kernel
	 * an allocation and ends a multishot poll; 16 bytes each are cheaper.
	 */
	CQ_FACTOR = 8,
	/*
	 * Kernel workers (threads iou-wrk-*) for what would block: files and block devices, and
	 * everything else, of which we submit nothing that blocks. The default of the second is in
	 * the thousands.
	 */
	N_WORKERS_BOUNDED = 4,
	N_WORKERS_UNBOUNDED = 1,
};

struct uring {
	struct backend backend;
	struct io_uring ring;
	struct list backlog; /* ops that want an SQE: to arm if ARMED, to cancel if CANCELLING */
};

static struct uring *uring_of(struct backend *b)
{
	return container_of(b, struct uring, backend);
}

/* ---- arm and cancel ---- */

static void uring_arm(struct backend *b, struct reactor_op *op)
{
	list_add_tail(&uring_of(b)->backlog, &op->node);
}

static void uring_cancel(struct backend *b, struct reactor_op *op)
{
	if (op->handed_over) {
		list_add_tail(&uring_of(b)->backlog, &op->node);
		return;
	}
	list_remove(&op->node);
	reactor_op_finish_later(op, -ECANCELED);
}

/* ---- wait ---- */

static void prep_arm(struct io_uring_sqe *sqe, struct reactor_op *op)
{
	switch ((enum reactor_op_kind)op->kind) {
	case REACTOR_OP_POLL:
		io_uring_prep_poll_multishot(sqe, op->fd, op->events);
		break;
	case REACTOR_OP_READV:
		io_uring_prep_readv(sqe, op->fd, op->iov, op->n_iov, op->offset);
		break;
	case REACTOR_OP_WRITEV:
		io_uring_prep_writev(sqe, op->fd, op->iov, op->n_iov, op->offset);
		break;
	case REACTOR_OP_FSYNC:
		io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
		break;
	case REACTOR_OP_FALLOCATE:
		io_uring_prep_fallocate(sqe, op->fd, op->mode, (off_t)op->offset, (off_t)op->len);
		break;
	case REACTOR_OP_TIMER:
		ASSERT(op->kind != REACTOR_OP_TIMER); /* reactor.c keeps them */
		break;
	}
	/* After the prep, which clears the flags but not the data. */
	io_uring_sqe_set_data(sqe, op);
	op->handed_over = true;
}

static void prep_cancel(struct io_uring_sqe *sqe, struct reactor_op *op)
{
	io_uring_prep_cancel(sqe, op, 0);
	io_uring_sqe_set_data(sqe, NULL);
}

/* Writes an SQE for each op of the backlog; false if the queue is full before it is empty. */
static bool hand_over_backlog(struct uring *u)
{
	while (!list_is_empty(&u->backlog)) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
		if (!sqe)
			return false;
		struct reactor_op *op =
		    container_of(list_pop(&u->backlog), struct reactor_op, node);
		if (op->state == REACTOR_OP_CANCELLING)
			prep_cancel(sqe, op);
		else
			prep_arm(sqe, op);
	}
	return true;
}

/*
 * Every variant enters the kernel and asks for completions: under DEFER_TASKRUN nothing completes
 * otherwise. The returned number says nothing that the queue does not say better (it may count
 * submissions, or be -ETIME).
 */
static int enter(struct uring *u, uint64_t timeout_ns)
{
	if (timeout_ns == 0)
		return io_uring_submit_and_get_events(&u->ring);
	if (timeout_ns == UINT64_MAX)
		return io_uring_submit_and_wait(&u->ring, 1);

	struct io_uring_cqe *cqe; /* must be given; deliver looks at the queue itself */
	struct __kernel_timespec ts = { .tv_sec = (long long)(timeout_ns / NS_PER_S),
					.tv_nsec = (long long)(timeout_ns % NS_PER_S) };
	return io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
}

static bool uring_submit(struct backend *b)
{
	struct uring *u = uring_of(b);

	if (list_is_empty(&u->backlog) && io_uring_sq_ready(&u->ring) == 0)
		return true;
	bool all = hand_over_backlog(u);
	return io_uring_submit(&u->ring) >= 0 &&
	       all; /* a part, too: that makes room for the rest */
}

/* Completions that are there, and those that an entry of ours would finish (TASKRUN). */
static bool uring_has_events(struct backend *b)
{
	struct uring *u = uring_of(b);
	unsigned flags = IO_URING_READ_ONCE(*u->ring.sq.kflags);

	return io_uring_cq_ready(&u->ring) > 0 ||
	       flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static void uring_wait(struct backend *b, uint64_t timeout_ns)
{
	struct uring *u = uring_of(b);
	bool all = hand_over_backlog(u);
	int ret = enter(u, all ? timeout_ns : 0); /* the rest is for the next turn, soon */

	/*
	 * -EINTR and -ETIME end the wait early; after -EAGAIN and -EBUSY (no memory, too many
	 * completions pending) the rest is submitted next turn. Anything else is a ring that was
	 * misused, or one that lost completions (-EBADR), whose ops would never end: there is no
	 * way on from either.
	 */
	ASSERT(ret >= 0 || ret == -EINTR || ret == -ETIME || ret == -EAGAIN || ret == -EBUSY);
}

/* ---- deliver ---- */

static void on_completion(struct uring *u, struct reactor_op *op, int res, bool more)
{
	if (more) {
		reactor_op_event(op, res);
		return;
	}
	op->handed_over = false;
	if (list_is_linked(&op->node)) /* a cancel that was not submitted yet comes too late */
		list_remove(&op->node);
	if (op->kind == REACTOR_OP_POLL && res >= 0 && op->state == REACTOR_OP_ARMED) {
		/* Multishot polls end when their completion found the queue full. Before the
		 * callback: it may cancel. */
		list_add_tail(&u->backlog, &op->node);
		reactor_op_event(op, res);
		return;
	}
	reactor_op_finish(op, res);
}

static void uring_deliver(struct backend *b)
{
	struct uring *u = uring_of(b);

	for (unsigned n = io_uring_cq_ready(&u->ring); n > 0; n--) {
		struct io_uring_cqe *cqe;
		int ret = io_uring_peek_cqe(&u->ring, &cqe);
		ASSERT(ret == 0 && cqe);
		struct reactor_op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;
		bool more = cqe->flags & IORING_CQE_F_MORE;
		/* Before the callback: its room is free again as early as can be. */
		io_uring_cqe_seen(&u->ring, cqe);
		if (op)
			on_completion(u, op, res, more);
	}
}

/* ---- making and freeing ---- */

static void uring_free(struct backend *b)
{
	struct uring *u = uring_of(b);

	io_uring_queue_exit(&u->ring);
	free(u);
}

static const struct backend_ops uring_ops = {
	.name = "io_uring",
	.arm = uring_arm,
	.cancel = uring_cancel,
	.submit = uring_submit,
	.has_events = uring_has_events,
	.wait = uring_wait,
	.deliver = uring_deliver,
	.free = uring_free,
};

/* Adds to the bare errno what a user can do something about. */
static int refused(int code, struct error *err)
{
	char value[16];

	if (code == -ENOSYS)
		return error_set(
		    err, code,
		    "io_uring_setup (not in this kernel, or hidden by a seccomp filter)");
	if (code == -EPERM &&
	    file_read_line("/proc/sys/kernel/io_uring_disabled", value, sizeof(value)) == 0 &&
	    strcmp(value, "0") != 0)
		return error_set(err, code, "io_uring_setup (kernel.io_uring_disabled is %s)",
				 value);
	if (code == -EPERM || code == -EACCES)
		return error_set(err, code,
				 "io_uring_setup (a seccomp filter or security policy forbids it)");
	return error_set(err, code, "io_uring_setup");
}

/* The best ring this kernel has. Probed, not derived from a version: distributions backport. */
static int setup_ring(unsigned entries, struct io_uring *ring, struct error *err)
{
	/* DEFER_TASKRUN (6.1): completions are worked off in our wait, never amid callbacks. */
	static const unsigned flags[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		    IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	struct io_uring_params params;
	int ret = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(flags) && ret == -EINVAL; i++) {
		params = (struct io_uring_params){ .flags = flags[i] | IORING_SETUP_CQSIZE |
							    IORING_SETUP_R_DISABLED,
						   .cq_entries = entries * CQ_FACTOR };
		ret = io_uring_queue_init_params(entries, ring, &params);
	}
	if (ret < 0)
		return refused(ret, err);
	/* 5.17; stands for the multishot poll, timed waits and completions kept on overflow, all
	 * older. */
	if (!(params.features & IORING_FEAT_CQE_SKIP)) {
		io_uring_queue_exit(ring);
		return error_set_text(err, -EOPNOTSUPP,
				      "io_uring of this kernel is too old (5.17 is needed)");
	}
	return 0;
}

/* What has to be said to a ring before it is restricted. */
static int limit_workers(struct io_uring *ring, const struct id_set *cpus, struct error *err)
{
	unsigned n[2] = { N_WORKERS_BOUNDED, N_WORKERS_UNBOUNDED };

	int res = io_uring_register_iowq_max_workers(ring, n);
	if (res < 0)
		return error_set(err, res, "io_uring: limit the kernel's workers");
	if (!cpus)
		return 0;
	res = io_uring_register_iowq_aff(ring, sizeof(cpus->words), id_set_cpus(cpus));
	return res < 0 ? error_set(err, res, "io_uring: the CPUs of the kernel's workers") : 0;
}

int reactor_uring_new(unsigned entries, const struct id_set *worker_cpus, struct backend **ret,
		      struct error *err)
{
	struct uring *u = xcalloc(1, sizeof(*u));

	list_init(&u->backlog);
	if (setup_ring(entries, &u->ring, err) < 0) {
		free(u);
		return err->code;
	}
	if (limit_workers(&u->ring, worker_cpus, err) < 0) {
		uring_free(&u->backend);
		return err->code;
	}
	int code = uring_restrict(u->ring.ring_fd);
	if (code < 0) {
		uring_free(&u->backend);
		return error_set(err, code, "io_uring: restrict the ring");
	}
	u->backend.ops = &uring_ops;
	*ret = &u->backend;
	return 0;
}
