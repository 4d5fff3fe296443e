/*
 * The guest's topology as a test declares it, as plain data: NUMA nodes with their LLCs, memory and
 * attributes, the distances between them, cores per LLC and threads per core. Made by
 * topology_uniform() or topology_parse(), immutable after that.
 *
 * LLCs are numbered through all nodes, node 0's first; CPUs are numbered through all LLCs, in the
 * order of their APIC ids. So each LLC lies in one node, and CPUs and LLCs of a node are a range.
 */
#pragma once

#include "base/error.h"

enum {
	TOPOLOGY_MAX_CPUS = 4096,
	TOPOLOGY_MAX_NODES = 64,
	/* APIC ids below one cache: a field of 12 bits (CPUID leaves 4 and 0x8000001D) */
	TOPOLOGY_MAX_LLC_IDS = 4096,
	/* ACPI 6.5, 5.2.17: 10 is the distance to oneself, 255 means unreachable */
	TOPOLOGY_LOCAL_DISTANCE = 10,
	TOPOLOGY_REMOTE_DISTANCE = 20, /* unless the declaration says another */
	TOPOLOGY_MAX_DISTANCE = 254,
	/* 5.2.27.4: 16 bits, of which 0xFFFF means unreachable */
	TOPOLOGY_MAX_LATENCY_NS = 65534,
	TOPOLOGY_MAX_CACHE_LINE = 32768,
	TOPOLOGY_CACHE_LINE = 64,
};

/* All memory comes in units of it, so that no large page spans two nodes. */
#define TOPOLOGY_MEMORY_UNIT ((uint64_t)2 << 20)

/* A cache in front of a node's memory: HMAT's memory-side cache. */
struct topology_cache {
	uint64_t size; /* bytes; 0: none */
	uint32_t line; /* bytes, a power of two */
	enum topology_cache_indexing { TOPOLOGY_CACHE_DIRECT, TOPOLOGY_CACHE_COMPLEX } indexing;
	enum topology_cache_policy {
		TOPOLOGY_CACHE_WRITE_BACK,
		TOPOLOGY_CACHE_WRITE_THROUGH
	} policy;
};

struct topology_node {
	uint64_t memory; /* bytes; 0: an equal share of what the others leave */
	uint32_t n_llcs; /* 0: memory only, as behind CXL */
	/* Of an access from the initiator, below; 0: the guest is not told. */
	uint32_t latency_ns;
	uint32_t bandwidth_mbs;
	struct topology_cache cache;
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
 * 20; memory in equal shares. Any number within the maxima, with at least as many LLCs as nodes.
 */
struct topology topology_uniform(uint32_t nodes, uint32_t llcs, uint32_t cores, uint32_t threads);
bool topology_is_uniform(const struct topology *t);

/*
 * 0 if a machine can have this topology. Errors name the node, the pair of nodes or the number.
 * Class usage: what is declared makes no sense; class unrepresentable: it does, but neither CPUID
 * nor ACPI has room for it, on any host.
 */
MUST_CHECK int topology_check(const struct topology *t, struct error *err);

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

/* Within its LLC. */
static inline uint32_t topology_cpu_core(const struct topology *t, uint32_t cpu)
{
	return cpu / t->threads_per_core % t->cores_per_llc;
}

/* The first LLC of @node; of n_nodes: n_llcs. */
uint32_t topology_node_first_llc(const struct topology *t, uint32_t node);
uint32_t topology_llc_node(const struct topology *t, uint32_t llc);
uint32_t topology_cpu_node(const struct topology *t, uint32_t cpu);

/*
 * The node from which @node's memory is reached best, whose accesses its latency and bandwidth
 * describe: itself if it has CPUs, else the nearest that has, the first of equals.
 */
uint32_t topology_node_initiator(const struct topology *t, uint32_t node);

/* Whether any node has more to tell than CPUs and memory: latency, bandwidth, a cache. */
bool topology_has_attributes(const struct topology *t);

/*
 * MB/s in which all declared bandwidths are whole numbers of 16 bits (HMAT has one unit for all); 1
 * where none is declared, 0 where there is no such unit.
 */
uint32_t topology_bandwidth_unit(const struct topology *t);

/*
 * APIC id of CPU @cpu (0 .. n_cpus - 1): thread, core and LLC numbers in bit fields just wide
 * enough for each, so ids have gaps where a count is no power of two.
 */
uint32_t topology_apic_id(const struct topology *t, uint32_t cpu);
/* Bits below the core number, and below the LLC number: the shifts of CPUID leaf 0xB. */
uint32_t topology_thread_bits(const struct topology *t);
uint32_t topology_core_bits(const struct topology *t);
