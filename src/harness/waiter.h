/*
 * Waits for a place on the host: attempts (plan/acquire.h) whenever a lock or a ticket is closed, until one succeeds or the time
 * is up. Belongs to a reactor's thread; costs no CPU time while nothing changes.
 *
 *	             event: a lock was closed
 *	  +---------+ -----------------------> +----------+  a place      +------+
 *	  | waiting |   after 1 ms for each     | an       | ------------> | done |
 *	  |         | <----------------------- | attempt  |  time is up,  |      |
 *	  +---------+  busy                    +----------+  an error     +------+
 *
 * Everybody is woken, but not at once: who stands n-th in line looks n milliseconds later, so that the one whose turn it is
 * finds nobody in its way, and one look serves for many events. An attempt that found nothing is made again after 10, 50 and 200 ms,
 * because a dying holder's lock outlives its event by a moment; then only events count. Who is held back by those before it
 * looks again each second: they may be stopped.
 */
#pragma once

#include "plan/acquire.h"
#include "plan/lock_watch.h"
#include "reactor/reactor.h"

struct waiter;
/* @res: 0, the plan and its locks are in waiter->acquire; or -errno, waiter->err tells (-ETIMEDOUT: class INFRA). */
typedef void (*waiter_fn)(struct waiter *w, int res);

struct waiter_stats {
	uint64_t n_wakeups; /* events and timers */
	uint64_t n_looks;   /* attempts */
};

/* Zero-initialised is idle. Stays where it is while it waits. */
struct waiter {
	struct acquire acquire;
	struct error err;
	struct waiter_stats stats;
	/* The rest is its own. */
	struct reactor *reactor;
	struct lock_watch watch;
	struct reactor_op poll_op;
	struct reactor_op timer_op;
	waiter_fn fn;
	uint64_t started_ns;
	uint64_t deadline_ns;
	uint64_t look_ns;      /* the next attempt; UINT64_MAX: only after an event */
	uint64_t armed_ns;     /* what the timer is armed for */
	uint64_t selecting_ns; /* since when another selects; 0: none does */
	unsigned n_retries;    /* since the last event */
	int res;
	bool is_listening; /* to the watch */
	bool is_finishing;
};

/*
 * Begins with an attempt in the reactor's next turn; @fn comes exactly once, from the reactor. @timeout_ns 0:
 * that attempt only. The host and the folder of @request's locks are borrowed until waiter_fini.
 */
struct waiter_config {
	const struct host *host;
	const struct lock_dir *dir;
	const struct plan_request *request; /* copied */
	uint64_t timeout_ns;
	waiter_fn fn;
};
void waiter_start(struct waiter *w, struct reactor *r, const struct waiter_config *config);
/* Asks for the end; @fn comes with -ECANCELED, or with what came first. */
void waiter_cancel(struct waiter *w);
/* Gives up the locks that no other process inherited. After @fn, or for an idle one. */
void waiter_fini(struct waiter *w);
