/*
 * From a request to locks that are held: looks at what others hold and who came earlier, plans, and locks, all of it under one
 * lock of the host so that two who look at the same time do not take half of what they need each. Never waits: harness/waiter.h
 * does.
 *
 *	acquire_try:  the first time, not for budgets: plan and lock as if nobody were here ─► DONE
 *	              look, plan ── busy ──────────────────────────► BUSY or HELD_BACK
 *	                   └─ a place: select lock ── others have it ► SELECTING
 *	                        └─ look, plan, lock in order ────────► DONE
 *	                             └─ one is held by who is not seen: plan without it, again
 *
 * The select lock only keeps attempts apart. Who has it and does not go on (a process that is stopped) cannot make two share
 * what is one's own, so after a while one goes without it.
 */
#pragma once

#include "plan/lock_scan.h"
#include "plan/locks.h"
#include "plan/tickets.h"

enum acquire_result {
	ACQUIRE_DONE,
	ACQUIRE_BUSY, /* others hold what it takes: the next release may change that */
	ACQUIRE_HELD_BACK, /* only those who came earlier stand before it: look again in QUEUE_PATIENCE_NS */
	ACQUIRE_SELECTING, /* another process is selecting right now */
};

struct acquire {
	const struct host *host; /* borrowed, as is the next */
	const struct lock_dir *dir;
	struct plan_request request;
	struct lock_scan scan;
	struct tickets tickets;
	struct locks locks;
	struct plan plan; /* when done */
	int select_fd;
	bool is_seeing; /* the attempt without a look was made */
	bool is_done;
};

/* @request is copied; its allowed CPUs are set. */
void acquire_init(struct acquire *a, const struct host *host, const struct lock_dir *dir,
		  const struct plan_request *request);
/*
 * One attempt. @ret says what came of it; an error is the host's (locks, folder), or plan_result_error's for what no waiting
 * makes possible. @force: without the select lock if another has it.
 */
MUST_CHECK int acquire_try(struct acquire *a, uint64_t now_ns, bool force, enum acquire_result *ret,
			   struct error *err);
/* Gets in line, if it is not there yet. */
MUST_CHECK int acquire_wait_in_line(struct acquire *a, uint64_t now_ns, struct error *err);
/* How many of the living came earlier, at the last attempt. */
size_t acquire_n_earlier(const struct acquire *a);
/* Appends who holds what at the last attempt: "LLC 0: 4711 (ktstr run ...); CPU 3: ...". */
void acquire_describe_holders(const struct acquire *a, struct buf *to);
/* Gives everything up that no other process inherited. Idempotent. */
void acquire_fini(struct acquire *a);
