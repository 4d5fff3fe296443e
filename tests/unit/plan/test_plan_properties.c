/*
 * What holds for every plan, over thousands of made-up hosts, states of locks and requests; and whether a plan exists, by
 * trying every combination on small hosts. The seed is fixed; PLAN_TEST_SEED and PLAN_TEST_CASES go further.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hosts.h"
#include "plan/plan.h"

enum { DEFAULT_CASES = 4000 };

struct one_case {
	struct host *host;
	struct plan_holders held;
	struct plan_request request;
};

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name); /* NOLINT(concurrency-mt-unsafe): one thread */

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static struct plan_request random_request(const struct host *host, struct random *r)
{
	static const enum plan_budget budgets[] = { PLAN_BUDGET_AUTO, PLAN_BUDGET_OPERATOR,
						    PLAN_BUDGET_AUTHOR };
	uint32_t llcs = 1 + random_below(r, 3);
	uint32_t nodes = 1 + random_below(r, llcs);
	enum plan_tier tier = (enum plan_tier)random_below(r, 3);
	struct plan_request q =
	    request_of(host, tier, nodes, llcs, 1 + random_below(r, 3), 1 + random_below(r, 2));

	q.offset = random_below(r, 100);
	q.spread = random_below(r, 2);
	if (tier == PLAN_BUDGET) {
		q.budget = budgets[random_below(r, 3)];
		q.n_cpus = 1 + random_below(r, id_set_count(&host->allowed) + 2);
	}
	return q;
}

static void case_init(struct one_case *c, struct random *r)
{
	c->host = host_random(r);
	holders_random(&c->held, c->host, r);
	c->request = random_request(c->host, r);
}

static void case_fini(struct one_case *c)
{
	plan_holders_fini(&c->held);
	c->host = host_free(c->host);
}

static void for_each_case(void (*check)(const struct one_case *c))
{
	struct random r = { .state = from_env("PLAN_TEST_SEED", 20240607) };
	uint64_t n = from_env("PLAN_TEST_CASES", DEFAULT_CASES);

	for (uint64_t i = 0; i < n; i++) {
		struct one_case c;
		case_init(&c, &r);
		check(&c);
		case_fini(&c);
	}
}

/* Nothing that is held is touched, and the locks come in the order of the protocol. */
static void check_locks(const struct one_case *c, const struct plan *p)
{
	for (uint32_t i = 0; i < p->n_locks; i++) {
		const struct plan_lock *l = &p->locks[i];
		const struct plan_use *use =
		    l->kind == PLAN_LOCK_LLC ? &c->held.llcs[l->id] : &c->held.cpus[l->id];
		assert_int_equal(use->exclusive, 0);
		if (l->exclusive)
			assert_int_equal(use->shared, 0);
		if (i == 0)
			continue;
		const struct plan_lock *before = l - 1;
		assert_true(before->kind == l->kind
				? before->id < l->id
				: before->kind == PLAN_LOCK_LLC && l->kind == PLAN_LOCK_CPU);
	}
}

static const struct plan_lock *find_lock(const struct plan *p, enum plan_lock_kind kind,
					 uint32_t id)
{
	for (uint32_t i = 0; i < p->n_locks; i++)
		if (p->locks[i].kind == kind && p->locks[i].id == id)
			return &p->locks[i];
	return NULL;
}

/* The table of plan.h. */
static void check_protocol(const struct one_case *c, const struct plan *p)
{
	id_set_for_each(cpu, &p->cpus)
	{
		const struct plan_lock *llc = find_lock(p, PLAN_LOCK_LLC, c->host->cpus[cpu].llc);
		const struct plan_lock *own = find_lock(p, PLAN_LOCK_CPU, cpu);
		assert_non_null(llc);
		assert_int_equal(llc->exclusive, p->tier == PLAN_PERFORMANCE);
		if (p->tier == PLAN_PERFORMANCE) {
			assert_null(own);
			continue;
		}
		assert_non_null(own);
		assert_int_equal(own->exclusive, p->tier == PLAN_DEFAULT);
	}
	for (uint32_t i = 0; i < p->n_locks; i++) {
		const struct plan_lock *l = &p->locks[i];
		if (l->kind == PLAN_LOCK_CPU)
			assert_true(id_set_has(&p->cpus, l->id) || l->id == p->service_cpu);
	}
}

static void check_cpus(const struct one_case *c, const struct plan *p)
{
	struct id_set mems = { 0 };

	assert_true(id_set_is_subset(&c->request.allowed, &p->cpus));
	assert_true(id_set_is_subset(&c->host->online, &p->cpus));
	assert_int_equal(id_set_count(&p->cpus), p->n_cpus);
	id_set_for_each(cpu, &p->cpus)
	    id_set_add(&mems, c->host->nodes[c->host->cpus[cpu].node].os_id);
	assert_true(id_set_is_equal(&mems, &p->mems));
	if (p->tier != PLAN_PERFORMANCE)
		assert_int_equal(p->n_cpus,
				 plan_budget_cpus(&c->request, id_set_count(&c->request.allowed)));
}

static void check_performance(const struct one_case *c, const struct plan *p)
{
	const struct host_cpu *cpus = c->host->cpus;
	uint32_t per_llc = plan_guest_llc_cpus(&c->request.guest);
	struct id_set llcs = { 0 };
	struct id_set seen = { 0 };

	assert_int_equal(p->n_cpus, p->n_vcpus);
	for (uint32_t i = 0; i < p->n_vcpus; i++) {
		assert_false(id_set_has(&seen, p->vcpu_cpus[i]));
		id_set_add(&seen, p->vcpu_cpus[i]);
		assert_int_equal(cpus[p->vcpu_cpus[i]].llc, p->vllc_llcs[i / per_llc]);
	}
	assert_true(id_set_is_equal(&seen, &p->cpus));
	for (uint32_t i = 0; i < p->n_vllcs; i++) {
		assert_false(id_set_has(&llcs, p->vllc_llcs[i]));
		id_set_add(&llcs, p->vllc_llcs[i]);
	}
	assert_false(id_set_has(&seen, p->service_cpu));
	assert_true(id_set_has(&c->request.allowed, p->service_cpu));
	if (!id_set_has(&llcs, cpus[p->service_cpu].llc))
		assert_true(find_lock(p, PLAN_LOCK_CPU, p->service_cpu)->exclusive);
}

/* A guest's core is one of the host's, and two cores are two. */
static void check_smt(const struct one_case *c, const struct plan *p)
{
	uint32_t threads = c->request.guest.threads_per_core;

	for (uint32_t i = 0; i < p->n_vcpus; i++)
		for (uint32_t j = 0; j < i; j++)
			assert_int_equal(c->host->cpus[p->vcpu_cpus[i]].core ==
					     c->host->cpus[p->vcpu_cpus[j]].core,
					 i / threads == j / threads);
}

static void check_plan(const struct one_case *c)
{
	struct plan_shortage why;
	struct plan p;
	struct plan again;

	if (plan_make(c->host, &c->held, &c->request, &p, &why) != PLAN_OK)
		return;
	check_locks(c, &p);
	check_protocol(c, &p);
	check_cpus(c, &p);
	if (p.tier == PLAN_PERFORMANCE)
		check_performance(c, &p);
	if (p.tier == PLAN_PERFORMANCE && p.is_smt_aligned)
		check_smt(c, &p);
	assert_int_equal(plan_make(c->host, &c->held, &c->request, &again, &why), PLAN_OK);
	assert_int_equal(again.n_locks, p.n_locks);
	for (uint32_t i = 0; i < p.n_locks; i++)
		assert_true(again.locks[i].kind == p.locks[i].kind &&
			    again.locks[i].id == p.locks[i].id &&
			    again.locks[i].exclusive == p.locks[i].exclusive);
	assert_true(id_set_is_equal(&again.cpus, &p.cpus));
	assert_int_equal(again.service_cpu, p.service_cpu);
	if (p.vcpu_cpus)
		assert_memory_equal(again.vcpu_cpus, p.vcpu_cpus, p.n_vcpus * sizeof(*p.vcpu_cpus));
	plan_fini(&p);
	plan_fini(&again);
}

static void test_every_plan_keeps_its_promises(void **state UNUSED)
{
	for_each_case(check_plan);
}

/* The oracle for performance: every way to give each guest LLC a host LLC of its own. */

struct oracle {
	const struct one_case *c;
	const struct plan_holders *held; /* NULL: nobody */
	uint32_t chosen[8];
	bool found[4]; /* by grade: NUMA aligned is below 2, SMT aligned is even */
};

static bool oracle_is_held(const struct oracle *o, uint32_t llc)
{
	const struct host_llc *l = &o->c->host->llcs[llc];

	if (!o->held)
		return false;
	if (o->held->llcs[llc].shared || o->held->llcs[llc].exclusive)
		return true;
	for (uint32_t i = 0; i < l->n; i++) {
		const struct plan_use *use = &o->held->cpus[o->c->host->order[l->first + i]];
		if (use->shared || use->exclusive)
			return true;
	}
	return false;
}

static uint32_t oracle_n_allowed(const struct oracle *o, uint32_t llc)
{
	uint32_t n = 0;

	id_set_for_each(cpu, &o->c->request.allowed) n += o->c->host->cpus[cpu].llc == llc;
	return n;
}

static bool oracle_has_smt(const struct oracle *o, uint32_t llc)
{
	const struct plan_guest *g = &o->c->request.guest;
	uint32_t n_cores = 0;

	for (uint32_t core = 0; core < o->c->host->n_ids; core++) {
		uint32_t n = 0;
		id_set_for_each(cpu, &o->c->request.allowed) n +=
		    o->c->host->cpus[cpu].llc == llc && o->c->host->cpus[cpu].core == core;
		n_cores += n >= g->threads_per_core;
	}
	return n_cores >= g->cores_per_llc;
}

static bool oracle_has_service(const struct oracle *o)
{
	const struct plan_guest *g = &o->c->request.guest;

	id_set_for_each(cpu, &o->c->request.allowed)
	{
		uint32_t llc = o->c->host->cpus[cpu].llc;
		bool is_chosen = false;
		for (uint32_t i = 0; i < g->n_llcs; i++)
			is_chosen |= o->chosen[i] == llc;
		if (is_chosen && oracle_n_allowed(o, llc) > plan_guest_llc_cpus(g))
			return true;
		if (is_chosen)
			continue;
		if (!o->held || (!o->held->llcs[llc].exclusive && !o->held->cpus[cpu].exclusive &&
				 !o->held->cpus[cpu].shared))
			return true;
	}
	return false;
}

static uint32_t guest_node_of(const struct plan_guest *g, uint32_t llc)
{
	uint32_t node = 0;

	for (uint32_t end = g->node_llcs[0]; llc >= end; end += g->node_llcs[node])
		node++;
	return node;
}

static bool oracle_is_aligned(const struct oracle *o)
{
	const struct plan_guest *g = &o->c->request.guest;
	const struct host_llc *llcs = o->c->host->llcs;

	for (uint32_t i = 0; i < g->n_llcs; i++)
		for (uint32_t j = 0; j < i; j++)
			if ((guest_node_of(g, i) == guest_node_of(g, j)) !=
			    (llcs[o->chosen[i]].node == llcs[o->chosen[j]].node))
				return false;
	return true;
}

static void oracle_judge(struct oracle *o)
{
	bool smt = true;

	if (!oracle_has_service(o))
		return;
	for (uint32_t i = 0; i < o->c->request.guest.n_llcs; i++)
		smt &= oracle_has_smt(o, o->chosen[i]);
	bool numa = oracle_is_aligned(o);
	for (int grade = 0; grade < 4; grade++)
		o->found[grade] |= (numa || grade >= 2) && (smt || grade % 2);
}

/* NOLINTNEXTLINE(misc-no-recursion): at most three deep */
static void oracle_try(struct oracle *o, uint32_t vllc)
{
	const struct plan_guest *g = &o->c->request.guest;

	if (vllc == g->n_llcs) {
		oracle_judge(o);
		return;
	}
	for (uint32_t llc = 0; llc < o->c->host->n_llcs; llc++) {
		bool taken =
		    oracle_is_held(o, llc) || oracle_n_allowed(o, llc) < plan_guest_llc_cpus(g);
		for (uint32_t i = 0; i < vllc; i++)
			taken |= o->chosen[i] == llc;
		if (taken)
			continue;
		o->chosen[vllc] = llc;
		oracle_try(o, vllc + 1);
	}
}

static void check_against_oracle(const struct one_case *c)
{
	struct oracle empty = { .c = c };
	struct oracle now = { .c = c, .held = &c->held };
	struct plan_shortage why;
	struct plan p;
	int grade = 0;

	if (c->request.tier != PLAN_PERFORMANCE)
		return;
	oracle_try(&empty, 0);
	oracle_try(&now, 0);
	while (grade < 4 && !empty.found[grade])
		grade++;
	enum plan_result result = plan_make(c->host, &c->held, &c->request, &p, &why);
	if (grade == 4) {
		assert_int_equal(result, PLAN_PERF_UNAVAILABLE);
		assert_true(why.have_llcs < why.need_llcs || why.have_cpus < why.need_cpus);
		return;
	}
	assert_int_equal(result, now.found[grade] ? PLAN_OK : PLAN_BUSY);
	if (result != PLAN_OK)
		return;
	assert_int_equal(p.is_numa_aligned, grade < 2);
	assert_int_equal(p.is_smt_aligned, grade % 2 == 0);
	plan_fini(&p);
}

static void test_performance_plan_exists_exactly_when_some_combination_works(void **state UNUSED)
{
	for_each_case(check_against_oracle);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* What each CPU that may be taken costs, sorted; returns how many there are. */
static uint32_t sorted_costs(const struct one_case *c, uint32_t *ret)
{
	uint32_t n = 0;

	id_set_for_each(cpu, &c->request.allowed)
	{
		const struct plan_use *use = &c->held.cpus[cpu];
		if (c->held.llcs[c->host->cpus[cpu].llc].exclusive || use->exclusive ||
		    (use->shared && c->request.tier == PLAN_DEFAULT))
			continue;
		ret[n++] = use->shared;
	}
	qsort(ret, n, sizeof(*ret), compare_u32);
	return n;
}

static void check_budget(const struct one_case *c)
{
	uint32_t n_allowed = id_set_count(&c->request.allowed);
	uint32_t want = plan_budget_cpus(&c->request, n_allowed);
	uint32_t costs[64];
	uint32_t sum = 0;
	struct plan_shortage why;
	struct plan p;

	if (c->request.tier == PLAN_PERFORMANCE)
		return;
	enum plan_result result = plan_make(c->host, &c->held, &c->request, &p, &why);
	if (want > n_allowed) {
		assert_int_equal(result, c->request.budget == PLAN_BUDGET_OPERATOR
					     ? PLAN_CAP_UNSATISFIABLE
					     : PLAN_INSUFFICIENT);
		assert_int_equal(why.need_cpus, want);
		assert_int_equal(why.have_cpus, n_allowed);
		return;
	}
	assert_int_equal(result, sorted_costs(c, costs) >= want ? PLAN_OK : PLAN_BUSY);
	if (result != PLAN_OK)
		return;
	for (uint32_t i = 0; i < want; i++)
		sum += costs[i];
	id_set_for_each(cpu, &p.cpus) sum -= c->held.cpus[cpu].shared;
	assert_int_equal(sum, 0);
	plan_fini(&p);
}

static void test_budget_takes_the_cpus_with_the_fewest_holders(void **state UNUSED)
{
	for_each_case(check_budget);
}

static uint32_t n_on_node(const struct host *h, const struct id_set *cpus, uint32_t node)
{
	uint32_t n = 0;

	id_set_for_each(cpu, cpus) n += h->llcs[h->cpus[cpu].llc].node == node;
	return n;
}

/* Whether the plan's nodes are used up in the order of their distance from @seed. */
static bool is_nearest_first(const struct one_case *c, const struct plan *p, uint32_t seed)
{
	uint32_t order[8];
	uint32_t n_left = p->n_cpus;

	host_nodes_by_distance(c->host, seed, order);
	for (uint32_t i = 0; i < c->host->n_nodes; i++) {
		uint32_t have = n_on_node(c->host, &c->request.allowed, order[i]);
		uint32_t want = have < n_left ? have : n_left;
		if (n_on_node(c->host, &p->cpus, order[i]) != want)
			return false;
		n_left -= want;
	}
	return true;
}

/* With nobody else there: one LLC if one is enough, else one node, else a seed and what is nearest. */
static void check_nearness(const struct one_case *c)
{
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct id_set llcs = { 0 };
	bool llc_fits = false;
	bool near = false;
	struct plan_shortage why;
	struct plan p;

	plan_holders_init(&none, c->host);
	if (c->request.tier == PLAN_PERFORMANCE ||
	    plan_make(c->host, &none, &c->request, &p, &why) != PLAN_OK)
		return;
	for (uint32_t i = 0; i < c->host->n_llcs; i++) {
		uint32_t n = 0;
		id_set_for_each(cpu, &c->request.allowed) n += c->host->cpus[cpu].llc == i;
		llc_fits |= n >= p.n_cpus;
	}
	id_set_for_each(cpu, &p.cpus) id_set_add(&llcs, c->host->cpus[cpu].llc);
	if (llc_fits)
		assert_int_equal(id_set_count(&llcs), 1);
	for (uint32_t seed = 0; seed < c->host->n_nodes; seed++)
		near |= is_nearest_first(c, &p, seed);
	assert_true(near);
	plan_fini(&p);
}

static void test_cpus_come_from_the_seed_and_then_the_nearest_nodes(void **state UNUSED)
{
	for_each_case(check_nearness);
}

/* Plans one after the other on one host: who owns a CPU alone, and who may be on it, never contradict each other. */
static void check_together(const struct one_case *c)
{
	CLEANUP(plan_holders_fini) struct plan_holders held = { 0 };
	uint32_t alone[64] = { 0 };
	uint32_t guests[64] = { 0 };
	struct random r = { .state = c->request.offset + 1 };

	plan_holders_init(&held, c->host);
	for (uint32_t n = 1; n < 12; n++) {
		struct plan_request q = random_request(c->host, &r);
		struct plan_shortage why;
		struct plan p;
		if (plan_make(c->host, &held, &q, &p, &why) != PLAN_OK)
			continue;
		if (p.service_cpu != PLAN_NO_CPU)
			id_set_add(&p.cpus, p.service_cpu);
		id_set_for_each(cpu, &p.cpus)
		{
			assert_int_equal(alone[cpu], 0);
			if (p.tier != PLAN_BUDGET)
				assert_int_equal(guests[cpu], 0);
			guests[cpu]++;
			alone[cpu] = p.tier == PLAN_BUDGET ? 0 : n;
		}
		for (uint32_t i = 0; i < p.n_locks; i++)
			plan_holders_add(&held, &p.locks[i]);
		/* All of an LLC of a performance plan is taken, not only the CPUs it uses. */
		for (uint32_t i = 0; i < p.n_vllcs; i++)
			for (uint32_t j = 0; j < c->host->llcs[p.vllc_llcs[i]].n; j++) {
				uint32_t cpu =
				    c->host->order[c->host->llcs[p.vllc_llcs[i]].first + j];
				assert_true(alone[cpu] == 0 || alone[cpu] == n);
				assert_true(guests[cpu] == 0 || alone[cpu] == n);
				alone[cpu] = n;
			}
		plan_fini(&p);
	}
}

static void test_plans_side_by_side_share_nothing_exclusive(void **state UNUSED)
{
	for_each_case(check_together);
}

/* A claim can be had once everybody has gone, and takes what is free first. */
static void check_claim(const struct one_case *c)
{
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct plan_shortage why;
	struct plan claim;
	struct plan p;

	plan_holders_init(&none, c->host);
	enum plan_result empty = plan_make(c->host, &none, &c->request, &p, &why);
	if (empty == PLAN_OK)
		plan_fini(&p);
	enum plan_result result = plan_claim(c->host, &none, &c->held, &c->request, &claim, &why);
	assert_int_equal(result, empty);
	if (result != PLAN_OK)
		return;
	if (plan_make(c->host, &c->held, &c->request, &p, &why) == PLAN_OK) {
		uint32_t n_busy = 0;
		for (uint32_t i = 0; i < claim.n_locks; i++) {
			const struct plan_lock *l = &claim.locks[i];
			const struct plan_use *use =
			    l->kind == PLAN_LOCK_LLC ? &c->held.llcs[l->id] : &c->held.cpus[l->id];
			n_busy += use->exclusive || (l->exclusive && use->shared);
		}
		assert_int_equal(n_busy, 0);
		plan_fini(&p);
	}
	plan_fini(&claim);
}

static void test_claim_takes_what_is_free_and_waits_for_the_rest(void **state UNUSED)
{
	for_each_case(check_claim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_plan_keeps_its_promises),
		cmocka_unit_test(test_performance_plan_exists_exactly_when_some_combination_works),
		cmocka_unit_test(test_budget_takes_the_cpus_with_the_fewest_holders),
		cmocka_unit_test(test_cpus_come_from_the_seed_and_then_the_nearest_nodes),
		cmocka_unit_test(test_plans_side_by_side_share_nothing_exclusive),
		cmocka_unit_test(test_claim_takes_what_is_free_and_waits_for_the_rest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
