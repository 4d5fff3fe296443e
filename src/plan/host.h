/*
 * A host as the planner sees it: CPUs in last-level caches (LLCs), LLCs in NUMA nodes. Plain data, made once by
 * host_new, immutable after that; nothing in it says whether it is this machine, a file or made up.
 *
 * LLCs are numbered in the order of their lowest CPU, over all CPUs that are online, the process's own or not: two
 * processes that may use different CPUs give an LLC the same number. Nodes are in the order of the kernel's numbers, and are
 * called by their index everywhere but in `os_id`.
 */
#pragma once

#include "base/error.h"
#include "base/id_set.h"

enum {
	/* ACPI 6.5, 5.2.17, as the kernel has it */
	HOST_DISTANCE_LOCAL = 10,
	HOST_DISTANCE_REMOTE = 20,
	HOST_DISTANCE_UNREACHABLE = 255,
	HOST_NO_LLC = UINT32_MAX,
};

struct host_cpu {
	uint32_t llc;  /* HOST_NO_LLC: no CPU of this number is online */
	uint32_t core; /* equal for the threads of a core; < n_ids */
	uint32_t node;
};

struct host_llc {
	uint32_t first; /* its CPUs are order[first .. first + n - 1] */
	uint32_t n;
	uint32_t node; /* of most of its CPUs; the lowest of equals */
};

struct host_node {
	uint32_t os_id;
	uint32_t n_llcs;
	uint32_t n_cpus;
};

struct host {
	struct host_cpu *cpus; /* by CPU number */
	uint32_t n_ids;        /* highest CPU number + 1 */
	uint32_t n_cpus;       /* online */
	struct host_llc *llcs;
	uint32_t n_llcs;
	struct host_node *nodes;
	uint32_t n_nodes;
	uint32_t *order;    /* CPU numbers by LLC, then by core, then by number */
	uint8_t *distances; /* [from * n_nodes + to]; NULL: the host tells none */
	struct id_set online;
	struct id_set allowed; /* what this process may use; a subset of online, not empty */
};

/* What host_new makes a host from: a CPU that is online. Equal @llc_key: one LLC; equal @core_key: one core. */
struct host_cpu_desc {
	uint32_t cpu; /* < ID_SET_MAX */
	uint32_t llc_key;
	uint32_t core_key;
	uint32_t node_os_id;
};

struct host_desc {
	struct host_cpu_desc *cpus;   /* in any order, each CPU once; host_new sorts it */
	uint32_t n_cpus;              /* at least 1 */
	const struct id_set *allowed; /* NULL: all; what is not online is ignored */
	/* Distances between @n_nodes nodes of these numbers, [from * n_nodes + to]; NULL: not told */
	const uint32_t *node_os_ids;
	const uint8_t *distances;
	uint32_t n_nodes;
};

/* -EINVAL: no CPU that is online is allowed, or a CPU is there twice. */
MUST_CHECK int host_new(const struct host_desc *desc, struct host **ret, struct error *err);
struct host *host_free(struct host *h); /* NULL is fine; returns NULL */

/* 10 and 20 where the host tells none. */
uint32_t host_distance(const struct host *h, uint32_t from, uint32_t to);
/*
 * All nodes, nearest to @from first (itself before all); equal distances in order of number, unreachable ones last. @ret
 * has room for n_nodes.
 */
void host_nodes_by_distance(const struct host *h, uint32_t from, uint32_t *ret);
