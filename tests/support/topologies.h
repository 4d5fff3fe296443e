/* Topologies for property tests. */
#pragma once

#include "base/topology.h"

/* A generator of numbers that are the same in every run. */
struct random {
	uint64_t state;
};
uint32_t random_below(struct random *r, uint32_t n);

/*
 * Any valid topology: odd counts, memory-only nodes, own memory sizes, distances, attributes; at
 * most @max_cpus CPUs.
 */
struct topology random_topology(struct random *r, uint32_t max_cpus);
