/*
 * The tier performance: each LLC of the guest gets an LLC of the host to itself.
 *
 * All LLCs of a guest need the same number of CPUs, so an LLC of the host is either large enough for any of them or for
 * none: a plan exists exactly when enough of them are free and a CPU for service is left. Nodes are the same question one
 * level up: a node of the guest with k LLCs fits on each node of the host with at least k, so serving the largest first finds
 * an assignment if there is one (who can take the larger can take the smaller: exchanging them loses nothing).
 *
 * What is wanted beyond is asked for in steps, best first:
 *
 *	grade   NUMA: a host node for each guest node    SMT: siblings on siblings
 *	0       yes                                      yes
 *	1       yes                                      no
 *	2       no                                       yes
 *	3       no                                       no
 *
 * The grade is the best that the host can give when nobody else is there, never what happens to be free: a measurement
 * has to be the same one tomorrow. What is busy is waited for.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "plan/plan_tiers.h"

enum { N_GRADES = 4 };

struct perf_llc {
	uint32_t n_allowed;
	bool is_large; /* has CPUs enough */
	bool has_smt;  /* has cores enough to honour the guest's threads */
	bool can_use;  /* in the search under way */
	bool is_chosen;
	uint32_t n_later; /* who holds it, of those to be waited for */
	uint32_t rotated;
};

struct perf {
	const struct plan_state *s;
	struct perf_llc *llcs;
	uint32_t *node_of_guest; /* host node by guest node */
	bool *is_node_used;
	bool *is_core_used;
	uint32_t *chosen; /* host LLC by guest LLC */
	uint32_t *order;  /* scratch: n_nodes */
	uint32_t n_need;  /* CPUs of a guest's LLC */
	uint32_t service_cpu;
};

static bool is_allowed(const struct perf *p, uint32_t cpu)
{
	return id_set_has(&p->s->request->allowed, cpu);
}

/* Position behind the core that begins at @i of host->order; @ret_n: its CPUs that are allowed. */
static uint32_t next_core(const struct perf *p, const struct host_llc *l, uint32_t i,
			  uint32_t *ret_n)
{
	const struct host *h = p->s->host;
	uint32_t core = h->cpus[h->order[i]].core;

	*ret_n = 0;
	for (; i < l->first + l->n && h->cpus[h->order[i]].core == core; i++)
		*ret_n += is_allowed(p, h->order[i]);
	return i;
}

static void measure_llc(struct perf *p, uint32_t idx)
{
	const struct host_llc *l = &p->s->host->llcs[idx];
	const struct plan_guest *g = &p->s->request->guest;
	struct perf_llc *llc = &p->llcs[idx];
	uint32_t n_cores = 0;

	for (uint32_t i = l->first; i < l->first + l->n;) {
		uint32_t n;
		i = next_core(p, l, i, &n);
		llc->n_allowed += n;
		n_cores += n >= g->threads_per_core;
	}
	llc->is_large = llc->n_allowed >= p->n_need;
	llc->has_smt = n_cores >= g->cores_per_llc;
	llc->rotated = plan_rotate(p->s->request, idx, p->s->host->n_llcs);
}

/* A CPU file that is held counts for its LLC: whoever took it by hand took no LLC lock. */
static uint32_t users_of(const struct host *h, const struct plan_holders *holders, uint32_t idx)
{
	const struct host_llc *l = &h->llcs[idx];
	uint32_t n = (uint32_t)holders->llcs[idx].shared + holders->llcs[idx].exclusive;

	for (uint32_t i = l->first; i < l->first + l->n; i++)
		n += plan_use_is_any(&holders->cpus[h->order[i]]);
	return n;
}

static bool needs_numa(int grade)
{
	return grade < 2;
}

static bool needs_smt(int grade)
{
	return grade % 2 == 0;
}

/* @held NULL: nobody is there. */
static void select_llcs(struct perf *p, int grade, const struct plan_holders *held)
{
	const struct host *h = p->s->host;

	for (uint32_t i = 0; i < h->n_llcs; i++) {
		struct perf_llc *llc = &p->llcs[i];
		llc->is_chosen = false;
		llc->can_use = llc->is_large && (!needs_smt(grade) || llc->has_smt) &&
			       (!held || users_of(h, held, i) == 0);
		llc->n_later = held && p->s->later ? users_of(h, p->s->later, i) : 0;
	}
}

/*
 * Order within a node: what is free first, then what has a CPU to spare for service (any other place for it takes a further LLC
 * from others), then by rotation.
 */
static bool is_better_llc(const struct perf *p, uint32_t a, uint32_t b)
{
	const struct perf_llc *x = &p->llcs[a];
	const struct perf_llc *y = &p->llcs[b];

	if (x->n_later != y->n_later)
		return x->n_later < y->n_later;
	if ((x->n_allowed > p->n_need) != (y->n_allowed > p->n_need))
		return x->n_allowed > p->n_need;
	return x->rotated < y->rotated;
}

/* The best LLC of @node that is not chosen yet; HOST_NO_LLC. */
static uint32_t best_llc(const struct perf *p, uint32_t node)
{
	const struct host *h = p->s->host;
	uint32_t best = HOST_NO_LLC;

	for (uint32_t i = 0; i < h->n_llcs; i++)
		if (h->llcs[i].node == node && p->llcs[i].can_use && !p->llcs[i].is_chosen &&
		    (best == HOST_NO_LLC || is_better_llc(p, i, best)))
			best = i;
	return best;
}

/* What makes a node better for @k LLCs: fewer of them to wait for, then the one where the rotation begins. */
struct node_rank {
	uint32_t n_llcs;
	uint32_t n_busy;
	uint32_t rotated;
};

static struct node_rank rank_node(const struct perf *p, uint32_t node, uint32_t k)
{
	const struct host *h = p->s->host;
	struct node_rank rank = { .rotated = UINT32_MAX };
	uint32_t n_free = 0;

	for (uint32_t i = 0; i < h->n_llcs; i++) {
		const struct perf_llc *llc = &p->llcs[i];
		if (h->llcs[i].node != node || !llc->can_use || llc->is_chosen)
			continue;
		rank.n_llcs++;
		n_free += llc->n_later == 0;
		if (llc->rotated < rank.rotated)
			rank.rotated = llc->rotated;
	}
	rank.n_busy = n_free < k ? k - n_free : 0;
	return rank;
}

/* A node of its own for @k LLCs; UINT32_MAX when there is none. */
static uint32_t find_node(const struct perf *p, uint32_t k)
{
	struct node_rank best_rank = { 0 };
	uint32_t best = UINT32_MAX;

	for (uint32_t node = 0; node < p->s->host->n_nodes; node++) {
		struct node_rank rank = rank_node(p, node, k);
		if (p->is_node_used[node] || rank.n_llcs < k)
			continue;
		if (best == UINT32_MAX || rank.n_busy < best_rank.n_busy ||
		    (rank.n_busy == best_rank.n_busy && rank.rotated < best_rank.rotated)) {
			best = node;
			best_rank = rank;
		}
	}
	return best;
}

static void choose(struct perf *p, uint32_t vllc, uint32_t llc)
{
	p->llcs[llc].is_chosen = true;
	p->chosen[vllc] = llc;
}

static uint32_t first_llc_of_guest_node(const struct plan_guest *g, uint32_t node)
{
	uint32_t first = 0;

	for (uint32_t i = 0; i < node; i++)
		first += g->node_llcs[i];
	return first;
}

/* The guest node with most LLCs that has no host node yet; UINT32_MAX when all that have LLCs do. */
static uint32_t largest_guest_node(const struct perf *p)
{
	const struct plan_guest *g = &p->s->request->guest;
	uint32_t best = UINT32_MAX;

	for (uint32_t i = 0; i < g->n_nodes; i++)
		if (g->node_llcs[i] && p->node_of_guest[i] == UINT32_MAX &&
		    (best == UINT32_MAX || g->node_llcs[i] > g->node_llcs[best]))
			best = i;
	return best;
}

static bool choose_aligned(struct perf *p)
{
	const struct plan_guest *g = &p->s->request->guest;
	uint32_t guest_node;

	for (uint32_t i = 0; i < g->n_nodes; i++)
		p->node_of_guest[i] = UINT32_MAX;
	for (uint32_t i = 0; i < p->s->host->n_nodes; i++)
		p->is_node_used[i] = false;
	while ((guest_node = largest_guest_node(p)) != UINT32_MAX) {
		uint32_t node = find_node(p, g->node_llcs[guest_node]);
		if (node == UINT32_MAX)
			return false;
		p->node_of_guest[guest_node] = node;
		p->is_node_used[node] = true;
		uint32_t first = first_llc_of_guest_node(g, guest_node);
		for (uint32_t i = 0; i < g->node_llcs[guest_node]; i++)
			choose(p, first + i, best_llc(p, node));
	}
	return true;
}

/* Not aligned: few nodes all the same, from the one with most outwards. */
static bool choose_near(struct perf *p)
{
	const struct host *h = p->s->host;
	uint32_t n_left = p->s->request->guest.n_llcs;
	uint32_t n_done = 0;
	struct node_rank best_rank = { 0 };
	uint32_t seed = 0;

	for (uint32_t node = 0; node < h->n_nodes; node++) {
		struct node_rank rank = rank_node(p, node, n_left);
		if (rank.n_llcs > best_rank.n_llcs ||
		    (rank.n_llcs == best_rank.n_llcs && rank.rotated < best_rank.rotated)) {
			seed = node;
			best_rank = rank;
		}
	}
	host_nodes_by_distance(h, seed, p->order);
	for (int wait = 0; wait <= 1;
	     wait++) /* what is free anywhere, then what a claim waits for */
		for (uint32_t i = 0; i < h->n_nodes; i++) {
			uint32_t llc;
			while (n_done < n_left && (llc = best_llc(p, p->order[i])) != HOST_NO_LLC &&
			       (wait || p->llcs[llc].n_later == 0))
				choose(p, n_done++, llc);
		}
	return n_done == n_left;
}

/* vCPUs of one LLC */

struct cores {
	const struct perf *p;
	const struct host_llc *llc;
	struct id_set *used;
};

/* Gives @n free threads of one core, or of any where no core has as many left. */
static void take_threads(struct cores *c, uint32_t n, bool of_one_core, uint32_t *ret)
{
	const struct host *h = c->p->s->host;
	uint32_t end = c->llc->first + c->llc->n;

	for (uint32_t i = c->llc->first; i < end;) {
		uint32_t found[64];
		uint32_t n_found = 0;
		uint32_t core = h->cpus[h->order[i]].core;
		for (; i < end && h->cpus[h->order[i]].core == core; i++)
			if (is_allowed(c->p, h->order[i]) && !id_set_has(c->used, h->order[i]) &&
			    n_found < ARRAY_SIZE(found))
				found[n_found++] = h->order[i];
		if (of_one_core && n_found < n)
			continue;
		for (uint32_t j = 0; j < n_found && n; j++, n--) {
			*ret++ = found[j];
			id_set_add(c->used, found[j]);
		}
		if (!n)
			return;
	}
	ASSERT(n == 0);
}

/* The largest number of free threads that a core of @c has. */
static uint32_t most_free_threads(const struct cores *c)
{
	const struct host *h = c->p->s->host;
	uint32_t end = c->llc->first + c->llc->n;
	uint32_t best = 0;

	for (uint32_t i = c->llc->first; i < end;) {
		uint32_t n = 0;
		uint32_t core = h->cpus[h->order[i]].core;
		for (; i < end && h->cpus[h->order[i]].core == core; i++)
			n += is_allowed(c->p, h->order[i]) && !id_set_has(c->used, h->order[i]);
		best = n > best ? n : best;
	}
	return best;
}

/* Cores without a vCPU first; siblings on siblings as long as there are cores for it. */
static void place_llc(struct perf *p, uint32_t vllc, uint32_t *vcpu_cpus)
{
	const struct plan_guest *g = &p->s->request->guest;
	struct id_set used = { 0 };
	struct id_set begun = { 0 }; /* threads of cores that have a vCPU already */
	struct cores c = { .p = p, .llc = &p->s->host->llcs[p->chosen[vllc]], .used = &begun };
	const struct host *h = p->s->host;

	for (uint32_t core = 0; core < g->cores_per_llc; core++) {
		uint32_t first = (vllc * g->cores_per_llc + core) * g->threads_per_core;
		uint32_t *ret = vcpu_cpus + first;
		bool fits = most_free_threads(&c) >= g->threads_per_core;
		if (!fits && c.used == &begun) {
			c.used = &used;
			fits = most_free_threads(&c) >= g->threads_per_core;
		}
		take_threads(&c, g->threads_per_core, fits, ret);
		for (uint32_t i = 0; i < g->threads_per_core; i++)
			id_set_add(&used, ret[i]);
		for (uint32_t i = c.llc->first; i < c.llc->first + c.llc->n; i++)
			if (h->cpus[h->order[i]].core == h->cpus[ret[0]].core)
				id_set_add(&begun, h->order[i]);
	}
}

/* Service CPU */

/* Which cores have a vCPU or are held by others, by core. */
static void mark_used_cores(struct perf *p, const struct plan *plan)
{
	const struct host *h = p->s->host;

	id_set_for_each(cpu, &h->online) p->is_core_used[h->cpus[cpu].core] = false;
	id_set_for_each(cpu, &h->online) if (id_set_has(&plan->cpus, cpu) ||
					     plan_use_is_any(&p->s->held->cpus[cpu]))
	    p->is_core_used[h->cpus[cpu].core] = true;
}

struct service_rank {
	bool is_outside; /* of the chosen LLCs */
	uint32_t n_later;
	bool is_remote;   /* on a node without a vCPU */
	bool is_whole;    /* in an LLC that is free: locking it keeps performance plans away */
	bool shares_core; /* with a vCPU or another plan */
};

static struct service_rank rank_service(const struct perf *p, const struct plan *plan, uint32_t cpu)
{
	const struct host *h = p->s->host;
	uint32_t llc = h->cpus[cpu].llc;
	struct service_rank rank = { .is_outside = !p->llcs[llc].is_chosen };

	rank.shares_core = p->is_core_used[h->cpus[cpu].core];
	if (!rank.is_outside)
		return rank;
	if (p->s->later)
		rank.n_later = p->s->later->llcs[llc].exclusive +
			       (uint32_t)plan_use_is_any(&p->s->later->cpus[cpu]);
	rank.is_remote = !id_set_has(&plan->mems, h->nodes[h->cpus[cpu].node].os_id);
	rank.is_whole = p->llcs[llc].is_large && !plan_use_is_any(&p->s->held->llcs[llc]);
	return rank;
}

static bool is_better_service(const struct service_rank *a, const struct service_rank *b)
{
	if (a->is_outside != b->is_outside)
		return b->is_outside;
	if (a->n_later != b->n_later)
		return a->n_later < b->n_later;
	if (a->is_whole != b->is_whole)
		return b->is_whole;
	if (a->is_remote != b->is_remote)
		return b->is_remote;
	return !a->shares_core && b->shares_core;
}

/* The CPU for the VM's other threads: @plan has its vCPUs. PLAN_NO_CPU when none is left. */
static uint32_t find_service(struct perf *p, const struct plan *plan,
			     const struct plan_holders *held)
{
	const struct host *h = p->s->host;
	struct service_rank best_rank = { 0 };
	uint32_t best = PLAN_NO_CPU;

	mark_used_cores(p, plan);
	for (uint32_t i = 0; i < h->n_cpus; i++) {
		uint32_t cpu = h->order[i];
		uint32_t llc = h->cpus[cpu].llc;
		if (!is_allowed(p, cpu) || id_set_has(&plan->cpus, cpu))
			continue;
		if (!p->llcs[llc].is_chosen && held &&
		    (held->llcs[llc].exclusive || plan_use_is_any(&held->cpus[cpu])))
			continue;
		struct service_rank rank = rank_service(p, plan, cpu);
		if (best == PLAN_NO_CPU || is_better_service(&rank, &best_rank)) {
			best = cpu;
			best_rank = rank;
		}
	}
	return best;
}

/* One search */

static void place_vcpus(struct perf *p, struct plan *plan)
{
	const struct plan_guest *g = &p->s->request->guest;

	for (uint32_t vllc = 0; vllc < g->n_llcs; vllc++)
		place_llc(p, vllc, plan->vcpu_cpus);
	plan->cpus = (struct id_set){ 0 };
	plan->mems = (struct id_set){ 0 };
	plan->n_cpus = 0;
	for (uint32_t i = 0; i < plan->n_vcpus; i++)
		plan_add_cpu(plan, p->s->host, plan->vcpu_cpus[i]);
}

static bool search(struct perf *p, struct plan *plan, int grade, const struct plan_holders *held)
{
	select_llcs(p, grade, held);
	if (needs_numa(grade) ? !choose_aligned(p) : !choose_near(p))
		return false;
	place_vcpus(p, plan);
	p->service_cpu = find_service(p, plan, held);
	return p->service_cpu != PLAN_NO_CPU;
}

static void finish(struct perf *p, struct plan *plan, int grade)
{
	const struct host *h = p->s->host;
	uint32_t llc = h->cpus[p->service_cpu].llc;

	plan->is_numa_aligned = needs_numa(grade);
	plan->is_smt_aligned = needs_smt(grade);
	plan->service_cpu = p->service_cpu;
	plan->n_vllcs = p->s->request->guest.n_llcs;
	plan->vllc_llcs = xcalloc(plan->n_vllcs, sizeof(*plan->vllc_llcs));
	for (uint32_t i = 0; i < plan->n_vllcs; i++) {
		plan->vllc_llcs[i] = p->chosen[i];
		plan_add_lock(plan, PLAN_LOCK_LLC, p->chosen[i], true);
	}
	if (p->llcs[llc].is_chosen)
		return;
	plan_add_lock(plan, PLAN_LOCK_LLC, llc, false);
	plan_add_lock(plan, PLAN_LOCK_CPU, p->service_cpu, true);
}

static enum plan_result unavailable(const struct perf *p, struct plan_shortage *ret_why)
{
	const struct host *h = p->s->host;
	const struct plan_guest *g = &p->s->request->guest;
	struct id_set allowed = p->s->request->allowed;

	id_set_intersect(&allowed, &h->online);
	*ret_why = (struct plan_shortage){ .need_cpus = plan_guest_cpus(g) + 1,
					   .have_cpus = id_set_count(&allowed),
					   .need_llcs = g->n_llcs,
					   .llc_cpus = p->n_need };
	for (uint32_t i = 0; i < h->n_llcs; i++)
		ret_why->have_llcs += p->llcs[i].is_large;
	return PLAN_PERF_UNAVAILABLE;
}

enum plan_result plan_perf_make(const struct plan_state *s, struct plan *plan,
				struct plan_shortage *ret_why)
{
	const struct host *h = s->host;
	const struct plan_guest *g = &s->request->guest;
	CLEANUP(freep) struct perf_llc *llcs = xcalloc(h->n_llcs, sizeof(*llcs));
	CLEANUP(freep) uint32_t *node_of_guest = xcalloc(g->n_nodes, sizeof(*node_of_guest));
	CLEANUP(freep) bool *is_node_used = xcalloc(h->n_nodes, sizeof(*is_node_used));
	CLEANUP(freep) bool *is_core_used = xcalloc(h->n_ids, sizeof(*is_core_used));
	CLEANUP(freep) uint32_t *chosen = xcalloc(g->n_llcs, sizeof(*chosen));
	CLEANUP(freep) uint32_t *order = xcalloc(h->n_nodes, sizeof(*order));
	struct perf p = { .s = s,
			  .llcs = llcs,
			  .node_of_guest = node_of_guest,
			  .is_node_used = is_node_used,
			  .is_core_used = is_core_used,
			  .chosen = chosen,
			  .order = order,
			  .n_need = plan_guest_llc_cpus(g) };
	int grade = 0;

	plan->vcpu_cpus = xcalloc(plan->n_vcpus, sizeof(*plan->vcpu_cpus));
	for (uint32_t i = 0; i < h->n_llcs; i++)
		measure_llc(&p, i);
	while (grade < N_GRADES && !search(&p, plan, grade, NULL))
		grade++;
	if (grade == N_GRADES)
		return unavailable(&p, ret_why);
	if (!search(&p, plan, grade, s->held))
		return PLAN_BUSY;
	finish(&p, plan, grade);
	return PLAN_OK;
}
