/*
 * The guest's topology as a test declares it, as plain data: NUMA nodes with their LLCs, memory and
 * attributes, the distances between them, cores per LLC and threads per core. Made by
 * topology_uniform() or the parser, immutable after that.
 *
 * LLCs are numbered through all nodes, node 0's first; CPUs are numbered through all LLCs, in the
 * order of their APIC ids. So each LLC lies in one node, and CPUs and LLCs of a node are a range.
 */
#pragma once

#include "base/error.h"

enum {
	TOPOLOGY_MAX_CPUS = 4096,
	TOPOLOGY_MAX_NODES = 64,
	/* ACPI 6.5, 5.2.17: 10 is the distance to oneself, 255 means unreachable */
	TOPOLOGY_LOCAL_DISTANCE = 10,
	TOPOLOGY_REMOTE_DISTANCE = 20, /* what a uniform topology has */
	TOPOLOGY_MAX_DISTANCE = 254,
};

struct topology_node {
	uint64_t memory;        /* bytes; 0: an equal share of what the others leave */
	uint64_t cache;         /* bytes of a cache in front of the memory; 0: none */
	uint32_t n_llcs;        /* 0: memory only, as behind CXL */
	uint32_t latency_ns;    /* of an access by the nearest CPUs; 0: not told to the guest */
	uint32_t bandwidth_mbs; /* likewise */
};

struct topology {
	struct topology_node nodes[TOPOLOGY_MAX_NODES];
	uint8_t distances[TOPOLOGY_MAX_NODES][TOPOLOGY_MAX_NODES]; /* [from][to] */
	uint32_t n_nodes;
	uint32_t n_llcs; /* of all nodes */
	uint32_t cores_per_llc;
	uint32_t threads_per_core;
};

/*
 * LLCs spread over the nodes as evenly as they go, the first nodes with one more; distances 10 and
 * 20; memory in equal shares. The counts are valid: at least 1, llcs >= nodes, within the maxima.
 */
struct topology topology_uniform(uint32_t nodes, uint32_t llcs, uint32_t cores, uint32_t threads);

/* "n,l,c,t"; each at least 1, at least as many LLCs as nodes. Errors are class usage. */
enum { TOPOLOGY_TEXT_MAX = 48 };
MUST_CHECK int topology_parse(const char *text, struct topology *ret, struct error *err);
void topology_format(const struct topology *t, char text[static TOPOLOGY_TEXT_MAX]);

static inline uint32_t topology_n_cpus(const struct topology *t)
{
	return t->n_llcs * t->cores_per_llc * t->threads_per_core;
}

static inline uint32_t topology_cpus_per_llc(const struct topology *t)
{
	return t->cores_per_llc * t->threads_per_core;
}

static inline uint32_t topology_cpu_llc(const struct topology *t, uint32_t cpu)
{
	return cpu / topology_cpus_per_llc(t);
}

/* The first LLC of @node; of n_nodes: n_llcs. */
uint32_t topology_node_first_llc(const struct topology *t, uint32_t node);
uint32_t topology_llc_node(const struct topology *t, uint32_t llc);
uint32_t topology_cpu_node(const struct topology *t, uint32_t cpu);

/*
 * APIC id of CPU @cpu (0 .. n_cpus - 1): thread, core and LLC numbers in bit fields just wide
 * enough for each, so ids have gaps where a count is no power of two.
 */
uint32_t topology_apic_id(const struct topology *t, uint32_t cpu);
/* Bits below the core number, and below the LLC number: the shifts of CPUID leaf 0xB. */
uint32_t topology_thread_bits(const struct topology *t);
uint32_t topology_core_bits(const struct topology *t);
