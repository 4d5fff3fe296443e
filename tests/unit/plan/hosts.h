/* Made-up hosts and locks for the planner's tests. */
#pragma once

#include "plan/plan.h"

/* xorshift64*: the same hosts on every machine. */
struct random {
	uint64_t state;
};
uint64_t random_next(struct random *r);
uint32_t random_below(struct random *r, uint32_t n); /* n > 0 */

/*
 * Nodes with @llcs_per_node LLCs of @cores cores with @threads threads each; CPUs are numbered through, or, with
 * @siblings_last, the way x86 does: all first threads, then all second ones.
 */
struct host *host_regular(uint32_t nodes, uint32_t llcs_per_node, uint32_t cores, uint32_t threads,
			  bool siblings_last);
/* Up to 4 nodes, 6 LLCs and 40 CPUs of any shape: odd numbers, gaps, mixed cores, distances, CPUs not allowed. */
struct host *host_random(struct random *r);
/* Locks as ktstr's own plans and careless others would leave them. */
void holders_random(struct plan_holders *h, const struct host *host, struct random *r);

/* What a run of that shape asks for; all CPUs of @host that are allowed. */
struct plan_request request_of(const struct host *host, enum plan_tier tier, uint32_t nodes,
			       uint32_t llcs, uint32_t cores, uint32_t threads);
struct plan_request request_budget(const struct host *host, uint32_t n_cpus);
void request_allow(struct plan_request *r, const char *cpus);
