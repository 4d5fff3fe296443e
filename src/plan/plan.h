/*
 * Where one VM runs on a host: which CPUs, and which locks keep others away from them. A plan is a pure function of host,
 * locks and request; nothing here touches the machine.
 *
 *	tier         LLC locks                     CPU locks                       vCPU threads
 *	performance  exclusive, each with a vCPU   only a service CPU elsewhere:   pinned one to one
 *	                                           exclusive, its LLC shared
 *	budget       shared                        shared, on exactly N CPUs       on these N
 *	default      shared                        exclusive, on the window's      on the window
 *
 * So an exclusive LLC lock keeps everybody off the LLC, an exclusive CPU lock everybody off the CPU, and budgets share CPUs
 * with each other only. Locks are listed, and taken, LLCs before CPUs, each in ascending order.
 */
#pragma once

#include "base/topology.h"
#include "plan/host.h"

enum plan_tier { PLAN_DEFAULT, PLAN_BUDGET, PLAN_PERFORMANCE };

/* The guest as far as placement goes. */
enum { PLAN_MAX_GUEST_NODES = TOPOLOGY_MAX_NODES };
struct plan_guest {
	uint32_t n_nodes;
	uint32_t n_llcs; /* of all nodes; the first node has the first LLCs */
	uint32_t cores_per_llc;
	uint32_t threads_per_core;
	uint32_t node_llcs[PLAN_MAX_GUEST_NODES]; /* 0: memory only */
};

/* What of @t matters for a place. */
struct plan_guest plan_guest_of(const struct topology *t);

static inline uint32_t plan_guest_llc_cpus(const struct plan_guest *g)
{
	return g->cores_per_llc * g->threads_per_core;
}

static inline uint32_t plan_guest_cpus(const struct plan_guest *g)
{
	return g->n_llcs * plan_guest_llc_cpus(g);
}

/* Who named the number of CPUs: the same shortage is an operator's mistake or a reason to skip an author's test. */
enum plan_budget { PLAN_BUDGET_AUTO, PLAN_BUDGET_OPERATOR, PLAN_BUDGET_AUTHOR };

struct plan_request {
	enum plan_tier tier;
	enum plan_budget budget;
	bool
	    spread; /* prefer LLCs that nobody uses; else those in use, so that whole ones stay free */
	uint32_t n_cpus; /* of an operator's or author's budget; at least 1 */
	uint32_t offset; /* rotates what is equal: a hash of the process id */
	struct plan_guest guest;
	struct id_set allowed; /* CPUs that may be used at all */
};

enum plan_lock_kind { PLAN_LOCK_LLC, PLAN_LOCK_CPU };

struct plan_lock {
	enum plan_lock_kind kind;
	bool exclusive;
	uint32_t id; /* LLC index, CPU number */
};

/* How many hold a lock. */
struct plan_use {
	uint16_t shared;
	uint16_t exclusive;
};

/* The locks of a host at one moment. */
struct plan_holders {
	uint32_t n_llcs;
	uint32_t n_cpus; /* the host's n_ids */
	struct plan_use *llcs;
	struct plan_use *cpus; /* by CPU number */
};

void plan_holders_init(struct plan_holders *h, const struct host *host);
void plan_holders_fini(struct plan_holders *h);
void plan_holders_copy(struct plan_holders *to, const struct plan_holders *from); /* of one host */
void plan_holders_add(struct plan_holders *h, const struct plan_lock *lock);
void plan_holders_remove(struct plan_holders *h,
			 const struct plan_lock *lock); /* one that was added */

struct plan {
	enum plan_tier tier;
	struct plan_lock *locks; /* in the order in which they are taken */
	uint32_t n_locks;
	struct id_set cpus; /* where vCPU threads run */
	struct id_set mems; /* os_ids of the nodes of these CPUs */
	uint32_t n_cpus;
	uint32_t n_vcpus;
	/* performance only */
	uint32_t *vcpu_cpus; /* host CPU by vCPU */
	uint32_t *vllc_llcs; /* host LLC by the guest's */
	uint32_t n_vllcs;
	uint32_t service_cpu;
	/* Each node of the guest is a node of the host, of its own. */
	bool is_numa_aligned;
	/* Threads of a guest's core share one of the host's, and no others do. */
	bool is_smt_aligned;
};
#define PLAN_NO_CPU UINT32_MAX

void plan_fini(struct plan *p); /* idempotent, safe for {0} */

enum plan_result {
	PLAN_OK,
	/* The host can, but others hold what it takes: waiting helps. */
	PLAN_BUSY,
	/* No state of the locks would do. */
	PLAN_PERF_UNAVAILABLE, /* performance mode needs more than this host, or the allowed CPUs, have */
	PLAN_INSUFFICIENT,      /* an author's budget above the allowed CPUs */
	PLAN_CAP_UNSATISFIABLE, /* an operator's cap above the allowed CPUs */
};

struct plan_shortage {
	uint32_t need_cpus, have_cpus;
	uint32_t need_llcs, have_llcs; /* performance: LLCs that are large enough */
	uint32_t llc_cpus;             /* performance: CPUs that each needs */
};

/* @ret is made with PLAN_OK only, @ret_why with the other results only (not with PLAN_BUSY). */
enum plan_result plan_make(const struct host *host, const struct plan_holders *held,
			   const struct plan_request *request, struct plan *ret,
			   struct plan_shortage *ret_why);
/*
 * The same as a claim: @held excludes as above, but what is locked in @later is only avoided as far as that goes, for it
 * will be free one day. Never PLAN_BUSY for what @later holds.
 */
enum plan_result plan_claim(const struct host *host, const struct plan_holders *held,
			    const struct plan_holders *later, const struct plan_request *request,
			    struct plan *ret, struct plan_shortage *ret_why);

/* Sets @err to what @result means for a user (skip, usage, infra), and returns its code. Not for PLAN_OK. */
int plan_result_error(enum plan_result result, const struct plan_request *request,
		      const struct plan_shortage *why, struct error *err);

/* CPUs that the tiers budget and default use of @n_allowed. An operator's or author's number is taken as it is. */
uint32_t plan_budget_cpus(const struct plan_request *request, uint32_t n_allowed);
/*
 * The budget of --cpu-cap @flag, else of KTSTR_CPU_CAP's value @env (both may be NULL, an empty @env is unset); 0: neither.
 * 0 and what is no number are errors, class usage.
 */
MUST_CHECK int plan_parse_cap(const char *flag, const char *env, uint32_t *ret, struct error *err);
/* Adjacent ids give distant offsets. */
uint32_t plan_offset_of_pid(uint32_t pid);
