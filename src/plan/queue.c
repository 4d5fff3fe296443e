#include "plan/queue.h"

/* As if @plan's locks were held. */
static void keep(struct plan_holders *kept, struct plan *plan)
{
	for (uint32_t i = 0; i < plan->n_locks; i++)
		plan_holders_add(kept, &plan->locks[i]);
	plan_fini(plan);
}

/* Adds to @held (the locks and what is kept) and to @kept what @e may count on. */
static void keep_for(const struct queue *q, struct queue_entry *e, struct plan_holders *held,
		     struct plan_holders *kept)
{
	struct plan_shortage why;
	struct plan plan;

	enum plan_result result = plan_make(q->host, held, &e->request, &plan, &why);
	if (result == PLAN_OK) {
		if (!e->able_since_ns)
			e->able_since_ns = q->now_ns;
		if (q->now_ns - e->able_since_ns >= QUEUE_PATIENCE_NS) {
			plan_fini(&plan);
			return;
		}
	} else {
		e->able_since_ns = 0;
		if (result != PLAN_BUSY || q->now_ns - e->arrived_ns < QUEUE_AGE_NS ||
		    plan_claim(q->host, kept, q->locks, &e->request, &plan, &why) != PLAN_OK)
			return;
	}
	for (uint32_t i = 0; i < plan.n_locks; i++)
		plan_holders_add(held, &plan.locks[i]);
	keep(kept, &plan);
}

enum plan_result queue_admit(const struct queue *q, const struct plan_request *request,
			     struct plan *ret, struct plan_shortage *ret_why, bool *ret_held_back)
{
	CLEANUP(plan_holders_fini) struct plan_holders held = { 0 };
	CLEANUP(plan_holders_fini) struct plan_holders kept = { 0 };
	enum plan_result result = plan_make(q->host, q->locks, request, ret, ret_why);

	*ret_held_back = false;
	if (result != PLAN_OK) {
		/* Nobody stands in the way of this request; patience begins when somebody does. */
		for (size_t i = 0; i < q->n_earlier; i++)
			q->earlier[i]->able_since_ns = 0;
		return result;
	}
	if (q->n_earlier == 0)
		return result;
	plan_fini(ret);
	plan_holders_init(&held, q->host);
	plan_holders_init(&kept, q->host);
	plan_holders_copy(&held, q->locks);
	for (size_t i = 0; i < q->n_earlier; i++)
		keep_for(q, q->earlier[i], &held, &kept);
	result = plan_make(q->host, &held, request, ret, ret_why);
	*ret_held_back = result == PLAN_BUSY;
	return result;
}
