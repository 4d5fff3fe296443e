/*
 * Where each node's memory lies in guest-physical space: a pure function of the topology, the size
 * and the machine's address space. KVM's memory slots, the e820 map and the ACPI tables all follow
 * this one list.
 */
#pragma once

#include "base/topology.h"

/* What the machine gives to RAM: [start, limit) without [gap_start, gap_end). */
struct memory_space {
	uint64_t start;
	uint64_t gap_start, gap_end; /* equal: no gap */
	uint64_t limit;
};

struct memory_range {
	uint64_t gpa;
	uint64_t len; /* never 0 */
	uint32_t node;
};

/* Of several nodes: older kernels leave out those that are smaller (NODE_MIN_SIZE). */
#define MEMORY_LAYOUT_MIN_NODE ((uint64_t)4 << 20)

/* The gap splits at most one node. */
enum { MEMORY_LAYOUT_MAX_RANGES = TOPOLOGY_MAX_NODES + 1 };

/* Ascending by address and by node; no range touches the gap. */
struct memory_layout {
	size_t n_ranges;
	struct memory_range ranges[MEMORY_LAYOUT_MAX_RANGES];
};

/*
 * Lays out @bytes of memory. Nodes with a size of their own get that; the others share the rest
 * equally, the first of them with a unit more where it does not divide. Errors (class usage) name
 * sizes that are no multiple of the unit, a node with too little, sizes that do not add up to
 * @bytes, and memory beyond the space's limit.
 */
MUST_CHECK int memory_layout_make(const struct topology *t, uint64_t bytes,
				  const struct memory_space *space, struct memory_layout *ret,
				  struct error *err);

/* The sum of the nodes' own sizes; @ret_all: every node has one. Sizes that wrap give UINT64_MAX.
 */
uint64_t memory_layout_declared(const struct topology *t, bool *ret_all);

/* The first address behind all of it. */
uint64_t memory_layout_end(const struct memory_layout *layout);

/* Bytes of @node. */
uint64_t memory_layout_node_bytes(const struct memory_layout *layout, uint32_t node);
