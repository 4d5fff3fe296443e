/*
 * The tiers budget and default: exactly N CPUs.
 *
 * A CPU costs as many as hold it; the N cheapest are taken, so that the sum is the least that is possible. Costs decide first
 * and leave only the dearest level a choice: there the CPUs come from one LLC if one has enough, else from one node, else
 * from the seed's node and then the nearest, LLC by LLC, the last one in part.
 *
 *	level    0 0 0 0   1 1   2 2 2 2 2   3 ...      (sorted by cost)
 *	         all taken |     some of them
 *	                   N = 8: six cheaper ones, and two of the five at level 2
 *
 * LLCs are asked for by their index, never by their position in a list of those that can be used: such a list has gaps.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "plan/plan_tiers.h"

#define NOT_A_CANDIDATE UINT32_MAX

/* A claim waits for exclusive holders; with any number of others it shares. */
enum { WAIT_COST = 1000 };

struct pick_llc {
	uint32_t avail; /* candidates of the last level */
	uint32_t taken; /* cheaper ones, which are taken anyway */
	uint32_t users; /* plans that share it */
	uint32_t rotated;
};

struct pick {
	const struct plan_state *s;
	uint32_t *cost;        /* by position in host->order */
	struct pick_llc *llcs; /* by index */
	uint32_t *node_avail;
	uint32_t *node_taken;
	uint32_t *node_order; /* nearest to the seed first */
	bool *is_core_used;
	uint32_t level;
	uint32_t n_left; /* CPUs still to take from the last level */
};

static uint32_t use_sum(const struct plan_use *use)
{
	return (uint32_t)use->shared + use->exclusive;
}

/* The default tier's lock is exclusive, a budget's is not. */
static uint32_t cost_of(const struct plan_state *s, uint32_t cpu)
{
	uint32_t llc = s->host->cpus[cpu].llc;
	const struct plan_use *use = &s->held->cpus[cpu];

	if (!id_set_has(&s->request->allowed, cpu) || s->held->llcs[llc].exclusive ||
	    use->exclusive || (s->request->tier == PLAN_DEFAULT && use->shared))
		return NOT_A_CANDIDATE;
	if (!s->later)
		return use->shared;
	return use->shared + use_sum(&s->later->cpus[cpu]) +
	       (s->later->llcs[llc].exclusive || s->later->cpus[cpu].exclusive ? WAIT_COST : 0);
}

/* The level at which @n candidates are reached, and how many of it; false when there are not as many. */
static bool find_level(struct pick *p, uint32_t n)
{
	const struct host *h = p->s->host;
	uint32_t max = 0;

	for (uint32_t i = 0; i < h->n_cpus; i++) {
		p->cost[i] = cost_of(p->s, h->order[i]);
		if (p->cost[i] != NOT_A_CANDIDATE && p->cost[i] > max)
			max = p->cost[i];
	}
	CLEANUP(freep) uint32_t *n_at = xcalloc(max + 1, sizeof(*n_at));
	for (uint32_t i = 0; i < h->n_cpus; i++)
		if (p->cost[i] != NOT_A_CANDIDATE)
			n_at[p->cost[i]]++;
	p->n_left = n;
	for (p->level = 0; p->level <= max; p->level++) {
		if (n_at[p->level] >= p->n_left)
			return true;
		p->n_left -= n_at[p->level];
	}
	return false;
}

static void count(struct pick *p)
{
	const struct plan_state *s = p->s;
	const struct host *h = s->host;

	for (uint32_t i = 0; i < h->n_llcs; i++) {
		struct pick_llc *llc = &p->llcs[i];
		for (uint32_t j = 0; j < h->llcs[i].n; j++) {
			uint32_t cost = p->cost[h->llcs[i].first + j];
			llc->avail += cost == p->level;
			llc->taken += cost < p->level;
		}
		llc->users = s->held->llcs[i].shared + (s->later ? s->later->llcs[i].shared : 0);
		llc->rotated = plan_rotate(s->request, i, h->n_llcs);
		p->node_avail[h->llcs[i].node] += llc->avail;
		p->node_taken[h->llcs[i].node] += llc->taken;
	}
}

/* Order of LLCs within a node: those that are locked anyway, then by users, then by rotation. */
static int compare_llcs(const struct pick *p, uint32_t a, uint32_t b)
{
	const struct pick_llc *x = &p->llcs[a];
	const struct pick_llc *y = &p->llcs[b];

	if (!x->taken != !y->taken)
		return x->taken ? -1 : 1;
	if (x->users != y->users)
		return (x->users > y->users) == p->s->request->spread ? 1 : -1;
	return x->rotated < y->rotated ? -1 : 1;
}

/* Order of seeds: first what keeps the plan on few nodes and LLCs. */
static int compare_seeds(const struct pick *p, uint32_t a, uint32_t b)
{
	const struct host_llc *llcs = p->s->host->llcs;
	bool near_a = p->node_taken[llcs[a].node];
	bool near_b = p->node_taken[llcs[b].node];
	bool fits_a = p->llcs[a].avail >= p->n_left;
	bool fits_b = p->llcs[b].avail >= p->n_left;
	bool node_a = p->node_avail[llcs[a].node] >= p->n_left;
	bool node_b = p->node_avail[llcs[b].node] >= p->n_left;

	if (near_a != near_b)
		return near_a ? -1 : 1;
	if (fits_a != fits_b)
		return fits_a ? -1 : 1;
	if (node_a != node_b)
		return node_a ? -1 : 1;
	return compare_llcs(p, a, b);
}

static uint32_t find_seed(const struct pick *p)
{
	uint32_t best = HOST_NO_LLC;

	for (uint32_t i = 0; i < p->s->host->n_llcs; i++)
		if (p->llcs[i].avail && (best == HOST_NO_LLC || compare_seeds(p, i, best) < 0))
			best = i;
	ASSERT(best != HOST_NO_LLC);
	return best;
}

/* Which cores have a thread that somebody holds, by core. */
static void mark_used_cores(struct pick *p)
{
	const struct host *h = p->s->host;

	id_set_for_each(cpu,
			&h->online) if (plan_use_is_any(&p->s->held->cpus[cpu]) ||
					(p->s->later && plan_use_is_any(&p->s->later->cpus[cpu])))
	    p->is_core_used[h->cpus[cpu].core] = true;
}

/* Takes what is still needed of @llc: cores that nobody uses first, each whole before the next. */
static void take_llc(struct pick *p, struct plan *plan, uint32_t llc)
{
	const struct host *h = p->s->host;
	const struct host_llc *l = &h->llcs[llc];

	for (int used = 0; used <= 1; used++)
		for (uint32_t i = l->first; i < l->first + l->n && p->n_left; i++) {
			uint32_t cpu = h->order[i];
			if (p->cost[i] != p->level ||
			    p->is_core_used[h->cpus[cpu].core] != (used == 1))
				continue;
			plan_add_cpu(plan, h, cpu);
			p->n_left--;
		}
	p->llcs[llc].avail = 0;
}

static void take_node(struct pick *p, struct plan *plan, uint32_t node)
{
	const struct host *h = p->s->host;

	while (p->n_left) {
		uint32_t best = HOST_NO_LLC;
		for (uint32_t i = 0; i < h->n_llcs; i++)
			if (h->llcs[i].node == node && p->llcs[i].avail &&
			    (best == HOST_NO_LLC || compare_llcs(p, i, best) < 0))
				best = i;
		if (best == HOST_NO_LLC)
			return;
		take_llc(p, plan, best);
	}
}

static void take_all(struct pick *p, struct plan *plan)
{
	const struct host *h = p->s->host;

	for (uint32_t i = 0; i < h->n_cpus; i++)
		if (p->cost[i] < p->level)
			plan_add_cpu(plan, h, h->order[i]);
	uint32_t seed = find_seed(p);
	host_nodes_by_distance(h, h->llcs[seed].node, p->node_order);
	take_llc(p, plan, seed);
	for (uint32_t i = 0; i < h->n_nodes && p->n_left; i++)
		take_node(p, plan, p->node_order[i]);
	ASSERT(p->n_left == 0);
}

static void add_locks(const struct host *h, struct plan *plan)
{
	bool exclusive = plan->tier == PLAN_DEFAULT;
	struct id_set llcs = { 0 };

	id_set_for_each(cpu, &plan->cpus)
	{
		id_set_add(&llcs, h->cpus[cpu].llc);
		plan_add_lock(plan, PLAN_LOCK_CPU, cpu, exclusive);
	}
	id_set_for_each(llc, &llcs) plan_add_lock(plan, PLAN_LOCK_LLC, llc, false);
}

static enum plan_result too_few(const struct plan_state *s, uint32_t n, uint32_t n_allowed,
				struct plan_shortage *ret_why)
{
	*ret_why = (struct plan_shortage){ .need_cpus = n, .have_cpus = n_allowed };
	return s->request->budget == PLAN_BUDGET_OPERATOR ? PLAN_CAP_UNSATISFIABLE
							  : PLAN_INSUFFICIENT;
}

enum plan_result plan_pick_make(const struct plan_state *s, struct plan *plan,
				struct plan_shortage *ret_why)
{
	const struct host *h = s->host;
	struct id_set allowed = s->request->allowed;

	id_set_intersect(&allowed, &h->online);
	uint32_t n_allowed = id_set_count(&allowed);
	uint32_t n = plan_budget_cpus(s->request, n_allowed);
	if (n == 0 || n > n_allowed)
		return too_few(s, n ? n : 1, n_allowed, ret_why);

	CLEANUP(freep) uint32_t *cost = xcalloc(h->n_cpus, sizeof(*cost));
	CLEANUP(freep) struct pick_llc *llcs = xcalloc(h->n_llcs, sizeof(*llcs));
	CLEANUP(freep) uint32_t *nodes = xcalloc((size_t)h->n_nodes * 3, sizeof(*nodes));
	CLEANUP(freep) bool *is_core_used = xcalloc(h->n_ids, sizeof(*is_core_used));
	struct pick p = { .s = s,
			  .cost = cost,
			  .is_core_used = is_core_used,
			  .llcs = llcs,
			  .node_avail = nodes,
			  .node_taken = nodes + h->n_nodes,
			  .node_order = nodes + (size_t)h->n_nodes * 2 };
	if (!find_level(&p, n))
		return PLAN_BUSY;
	count(&p);
	mark_used_cores(&p);
	take_all(&p, plan);
	add_locks(h, plan);
	return PLAN_OK;
}
