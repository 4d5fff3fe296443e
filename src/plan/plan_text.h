/* Hosts and plans for people: a small picture, and sentences that say what, where and why. Appends to a buffer. */
#pragma once

#include "base/buf.h"
#include "plan/plan.h"

/*
 * One line for each LLC, one sign for each CPU, cores with several threads set apart:
 *
 *	node 0
 *	  LLC 0   v0 v1 v2 s.
 *	  LLC 1   o...
 *
 * @plan and @held may be NULL: no plan, nobody there.
 */
void plan_draw(const struct host *host, const struct plan_holders *held, const struct plan *plan,
	       const struct id_set *allowed, struct buf *to);

/* What would be locked, pinned and bound. */
void plan_describe(const struct host *host, const struct plan *plan, struct buf *to);

/* Why: how the tier chooses, and what each LLC had to offer. */
void plan_explain(const struct host *host, const struct plan_holders *held,
		  const struct plan_request *request, const struct plan *plan, struct buf *to);

/* "performance", "budget", "default". */
const char *plan_tier_name(enum plan_tier tier);
