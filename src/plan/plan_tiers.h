/* What plan.c and the planners of the tiers share. Private to src/plan. */
#pragma once

#include "plan/plan.h"

/* The question that a plan answers. */
struct plan_state {
	const struct host *host;
	const struct plan_holders *held;  /* excludes */
	const struct plan_holders *later; /* is avoided; NULL: nothing is */
	const struct plan_request *request;
};

/* Both leave @p's locks unsorted. */
enum plan_result plan_perf_make(const struct plan_state *s, struct plan *p,
				struct plan_shortage *ret_why);
enum plan_result plan_pick_make(const struct plan_state *s, struct plan *p,
				struct plan_shortage *ret_why);

void plan_add_lock(struct plan *p, enum plan_lock_kind kind, uint32_t id, bool exclusive);
void plan_add_cpu(struct plan *p, const struct host *host, uint32_t cpu); /* each CPU once */

static inline bool plan_use_is_any(const struct plan_use *use)
{
	return use->shared || use->exclusive;
}

/* @idx after rotation: the one that request's offset names becomes 0. */
static inline uint32_t plan_rotate(const struct plan_request *r, uint32_t idx, uint32_t n)
{
	return (idx + n - r->offset % n) % n;
}
