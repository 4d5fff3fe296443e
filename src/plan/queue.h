/*
 * Whose turn it is: a pure function of locks, those who came earlier, and a request. First come, first served, with back-fill:
 * one that came later may go first as long as it takes nothing that an earlier one is about to have.
 *
 * For each earlier waiter, in order of arrival:
 *
 *	it could run now         its place is kept for it, unless it has not taken it for QUEUE_PATIENCE_NS (a process that is
 *	                         stopped would else stop everybody)
 *	it waits, and for longer what it claims is kept: free resources gather for it, so that a wide request is not starved
 *	than QUEUE_AGE_NS        by narrow ones
 *	else                     nothing
 */
#pragma once

#include "plan/plan.h"

#define QUEUE_AGE_NS      ((uint64_t)1000000000)
#define QUEUE_PATIENCE_NS ((uint64_t)1000000000)

struct queue_entry {
	struct plan_request request;
	uint64_t arrived_ns; /* CLOCK_MONOTONIC */
	uint64_t
	    able_since_ns; /* kept by queue_admit between calls: since when it could run; 0: it cannot */
};

struct queue {
	const struct host *host;
	const struct plan_holders *locks;
	struct queue_entry *const *earlier; /* in order of arrival */
	size_t n_earlier;
	uint64_t now_ns; /* CLOCK_MONOTONIC */
};

/*
 * Plans @request behind all of @q. @ret_held_back tells of PLAN_BUSY that the locks would allow it and only the order does not:
 * no release may come then, so look again when patience ends.
 */
enum plan_result queue_admit(const struct queue *q, const struct plan_request *request,
			     struct plan *ret, struct plan_shortage *ret_why, bool *ret_held_back);
