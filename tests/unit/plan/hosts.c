#include "hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

uint64_t random_next(struct random *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * UINT64_C(0x2545f4914f6cdd1d);
}

uint32_t random_below(struct random *r, uint32_t n)
{
	return (uint32_t)(random_next(r) >> 33) % n;
}

struct host *host_regular(uint32_t nodes, uint32_t llcs_per_node, uint32_t cores, uint32_t threads,
			  bool siblings_last)
{
	uint32_t n_cores = nodes * llcs_per_node * cores;
	struct host_desc desc = { .n_cpus = n_cores * threads };
	struct error err;
	struct host *h;

	desc.cpus = xcalloc(desc.n_cpus, sizeof(*desc.cpus));
	for (uint32_t i = 0; i < desc.n_cpus; i++) {
		uint32_t core = siblings_last ? i % n_cores : i / threads;
		desc.cpus[i] = (struct host_cpu_desc){ .cpu = i,
						       .core_key = core,
						       .llc_key = core / cores,
						       .node_os_id = core / cores / llcs_per_node };
	}
	assert_int_equal(host_new(&desc, &h, &err), 0);
	free(desc.cpus);
	return h;
}

static void shuffle(struct random *r, uint32_t *ids, uint32_t n)
{
	for (uint32_t i = n; i > 1; i--) {
		uint32_t j = random_below(r, i);
		uint32_t swap = ids[i - 1];
		ids[i - 1] = ids[j];
		ids[j] = swap;
	}
}

static void add_random_cpus(struct random *r, struct host_desc *desc, uint32_t n_nodes,
			    uint32_t n_llcs)
{
	uint32_t core = 0;

	for (uint32_t llc = 0; llc < n_llcs; llc++) {
		uint32_t n_cores = 1 + random_below(r, 4);
		uint32_t threads = 1 + random_below(r, 2);
		uint32_t node = random_below(r, n_nodes);
		for (uint32_t i = 0; i < n_cores; i++, core++) {
			uint32_t n = random_below(r, 8) ? threads : 1;
			/* A CPU that the firmware puts on another node than the rest of its LLC */
			uint32_t at = random_below(r, 12) ? node : random_below(r, n_nodes);
			for (uint32_t t = 0; t < n; t++)
				desc->cpus[desc->n_cpus++] =
				    (struct host_cpu_desc){ .llc_key = 100 + llc * 7 % 23,
							    .core_key = core,
							    .node_os_id = at * 2 };
		}
	}
}

struct host *host_random(struct random *r)
{
	static const uint8_t steps[] = { 10, 11, 12, 16, 20, 21, 32, 255 };
	uint32_t n_nodes = 1 + random_below(r, 4);
	struct host_cpu_desc cpus[64];
	uint32_t ids[64];
	uint32_t node_ids[4] = { 0, 2, 4, 6 };
	uint8_t distances[16];
	struct host_desc desc = { .cpus = cpus };
	struct id_set allowed = { 0 };
	struct error err;
	struct host *h;

	add_random_cpus(r, &desc, n_nodes, 1 + random_below(r, 6));
	for (uint32_t i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = i;
	if (random_below(r, 2)) /* otherwise: numbered through, no gaps */
		shuffle(r, ids, ARRAY_SIZE(ids));
	for (uint32_t i = 0; i < desc.n_cpus; i++)
		cpus[i].cpu = ids[i];
	for (uint32_t i = 0; i < ARRAY_SIZE(distances); i++)
		distances[i] = i % 5 == 0 ? 10 : steps[random_below(r, ARRAY_SIZE(steps))];
	if (random_below(r, 2)) {
		desc.distances = distances;
		desc.node_os_ids = node_ids;
		desc.n_nodes = 4;
	}
	uint32_t keep = random_below(r, 3); /* 0: all are allowed */
	for (uint32_t i = 0; i < desc.n_cpus; i++)
		if (keep == 0 || random_below(r, 1 + keep * 2))
			id_set_add(&allowed, cpus[i].cpu);
	id_set_add(&allowed, cpus[0].cpu);
	desc.allowed = &allowed;
	assert_int_equal(host_new(&desc, &h, &err), 0);
	return h;
}

void holders_random(struct plan_holders *h, const struct host *host, struct random *r)
{
	plan_holders_init(h, host);
	uint32_t busy = random_below(r, 3); /* 0: nobody is there */
	if (!busy)
		return;
	for (uint32_t i = 0; i < host->n_llcs; i++) {
		uint32_t kind = random_below(r, 3 * busy);
		if (kind == 0)
			h->llcs[i].exclusive = 1;
		else if (kind == 1)
			h->llcs[i].shared = (uint16_t)(1 + random_below(r, 3));
		if (kind == 0 && random_below(r, 8))
			continue; /* seldom both: somebody who follows no protocol */
		for (uint32_t j = 0; j < host->llcs[i].n; j++) {
			struct plan_use *use = &h->cpus[host->order[host->llcs[i].first + j]];
			if (kind == 1 ? random_below(r, 2) : random_below(r, 16) == 0) {
				if (random_below(r, 2))
					use->exclusive = 1;
				else
					use->shared = (uint16_t)(1 + random_below(r, 3));
			}
		}
	}
}

struct plan_request request_of(const struct host *host, enum plan_tier tier, uint32_t nodes,
			       uint32_t llcs, uint32_t cores, uint32_t threads)
{
	struct plan_request r = { .tier = tier,
				  .allowed = host->allowed,
				  .guest = { .n_nodes = nodes,
					     .n_llcs = llcs,
					     .cores_per_llc = cores,
					     .threads_per_core = threads } };

	for (uint32_t i = 0; i < nodes; i++)
		r.guest.node_llcs[i] = llcs / nodes + (i < llcs % nodes);
	return r;
}

struct plan_request request_budget(const struct host *host, uint32_t n_cpus)
{
	struct plan_request r = request_of(host, PLAN_BUDGET, 1, 1, n_cpus, 1);

	r.budget = PLAN_BUDGET_OPERATOR;
	r.n_cpus = n_cpus;
	return r;
}

void request_allow(struct plan_request *r, const char *cpus)
{
	assert_int_equal(id_set_parse(cpus, &r->allowed), 0);
}
