/*
 * How long a plan takes on a host of 1,024 CPUs, 64 LLCs and 8 nodes: pure computation, without discovery, without locks. Half of
 * the LLCs have users. Prints microseconds for each tier.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "plan/host_discover.h"
#include "plan/plan.h"

enum { ROUNDS = 500 };

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, const struct host *h, const struct plan_holders *held,
		    struct plan_request *r)
{
	uint64_t times[ROUNDS];

	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct plan_shortage why;
		struct plan p;
		r->offset = i;
		uint64_t begin_ns = clock_now_ns();
		enum plan_result result = plan_make(h, held, r, &p, &why);
		times[i] = clock_now_ns() - begin_ns;
		if (result != PLAN_OK) {
			fprintf(stderr, "%s: no plan\n", name);
			exit(1);
		}
		plan_fini(&p);
	}
	qsort(times, ROUNDS, sizeof(*times), compare_u64);
	size_t middle = ROUNDS / 2;
	size_t late = (size_t)ROUNDS * 99 / 100;
	printf("%-28s median %6.1f us   p99 %6.1f us\n", name, (double)times[middle] / 1e3,
	       (double)times[late] / 1e3);
}

static struct plan_request request(const struct host *h, enum plan_tier tier, uint32_t nodes,
				   uint32_t llcs, uint32_t cores)
{
	struct topology t = topology_uniform(nodes, llcs, cores, 2);

	return (
	    struct plan_request){ .tier = tier, .guest = plan_guest_of(&t), .allowed = h->allowed };
}

int main(void)
{
	struct host_source source = { .spec = "numa:8 l3:8 core:8 pu:2" };
	struct plan_holders held;
	const struct host *h;
	struct error err;

	uint64_t begin_ns = clock_now_ns();
	if (host_source_get(&source, &h, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	printf("%u CPUs, %u LLCs, %u nodes; discovery %.1f ms\n", h->n_cpus, h->n_llcs, h->n_nodes,
	       (double)(clock_now_ns() - begin_ns) / 1e6);
	plan_holders_init(&held, h);
	for (uint32_t i = 0; i < h->n_llcs; i += 2) {
		held.llcs[i].shared = 1;
		held.cpus[h->order[h->llcs[i].first]].exclusive = 1;
	}
	struct plan_request perf = request(h, PLAN_PERFORMANCE, 8, 32, 8);
	struct plan_request window = request(h, PLAN_DEFAULT, 1, 1, 64);
	struct plan_request budget = request(h, PLAN_BUDGET, 1, 1, 1);
	budget.budget = PLAN_BUDGET_OPERATOR;
	budget.n_cpus = 300;
	measure("performance, 8,32,8,2", h, &held, &perf);
	measure("default, 1,1,64,2", h, &held, &window);
	measure("budget, 300 CPUs", h, &held, &budget);
	plan_holders_fini(&held);
	host_source_fini(&source);
	return 0;
}
