/*
 * What reactor.c and its backends agree on; private to this folder.
 *
 * reactor.c owns the op states and the order of a turn; a backend knows how to hand an op to the
 * kernel, how to ask for it back, and how to sleep. Timers never reach a backend.
 *
 *	reactor.c                          backend
 *	---------                          -------
 *	arm (op ARMED) ------------------> arm
 *	reactor_cancel (op CANCELLING) --> cancel
 *	reactor_turn --------------------> wait, then deliver
 *	reactor_op_event,            <---- deliver
 *	reactor_op_finish                  (callbacks run in here)
 *	reactor_op_finish_later      <---- arm, cancel, wait
 *	reactor_wake                 <---- any thread of the backend
 */
#pragma once

#include "reactor/reactor.h"

struct backend;

enum reactor_op_kind {
	REACTOR_OP_POLL,
	REACTOR_OP_READV,
	REACTOR_OP_WRITEV,
	REACTOR_OP_FSYNC,
	REACTOR_OP_FALLOCATE,
	REACTOR_OP_TIMER,
};

struct backend_ops {
	const char *name;
	/*
	 * Takes @op, just ARMED, kind filled in, not a timer. Cannot fail: what goes wrong is the
	 * op's result, by reactor_op_finish_later.
	 */
	void (*arm)(struct backend *b, struct reactor_op *op);
	/* @op was just set CANCELLING and its result is not known to reactor.c yet. */
	void (*cancel)(struct backend *b, struct reactor_op *op);
	/*
	 * Optional, as has_events: hands over what was armed and does not wait; false: more than
	 * fits, the rest needs a wait.
	 */
	bool (*submit)(struct backend *b);
	/* Whether a wait would bring something. Reads memory only. */
	bool (*has_events)(struct backend *b);
	/* Submits; sleeps until something happens or @timeout_ns is over (UINT64_MAX: never). */
	void (*wait)(struct backend *b, uint64_t timeout_ns);
	/* Delivers what the wait brought. The only place where a backend may run callbacks. */
	void (*deliver)(struct backend *b);
	/* Nothing is armed any more. */
	void (*free)(struct backend *b);
};

/* Embedded in each backend. */
struct backend {
	const struct backend_ops *ops;
};

/* Errors: the host refuses io_uring, with the likely reason in the text. */
MUST_CHECK int reactor_uring_new(unsigned entries, const struct id_set *worker_cpus,
				 struct backend **ret, struct error *err);
MUST_CHECK int reactor_epoll_new(struct backend **ret, struct error *err);

/* A poll's intermediate result. Swallowed when the op is CANCELLING: its owner wants no more. */
void reactor_op_event(struct reactor_op *op, int events);
/* The final result, delivered now: only from deliver. @op may be gone when this returns. */
void reactor_op_finish(struct reactor_op *op, int res);
/* The final result, delivered by the turn after the backend's own; @op is on no list. */
void reactor_op_finish_later(struct reactor_op *op, int res);
/* Makes the wait that runs, or the next one, return. Any thread. */
void reactor_wake(struct reactor *r);
