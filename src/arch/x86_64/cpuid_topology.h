/*
 * What CPUID says of cores, threads and caches, from the declaration alone. An LLC is a package,
 * whose last-level cache is its L3; the host's own shape does not come through, only the sizes of
 * its caches.
 */
#pragma once

#include "arch/x86_64/cpuid_table.h"
#include "base/topology.h"

/*
 * Whether guests on this processor find the topology: some vendors' older kernels derive the LLC
 * from the processor's model. Errors are class skip.
 */
MUST_CHECK int cpuid_check_topology(const struct cpuid_table *t, const struct topology *topology,
				    struct error *err);

/* What is the same on every CPU. */
void cpuid_set_topology(struct cpuid_table *t, const struct topology *topology);
/* What is @cpu's own, on a table that cpuid_set_topology made. */
void cpuid_set_cpu(struct cpuid_table *t, const struct topology *topology, uint32_t cpu);

/*
 * L1d, L1i, L2 and L3 as leaf 4 (Intel) or 0x8000001D (AMD), each with the host's size where the
 * table has one and a usual size otherwise.
 */
void cpuid_set_caches(struct cpuid_table *t, const struct topology *topology, uint32_t leaf);
/* Leaf 0x80000006 says the same of L2 and L3. AMD; after cpuid_set_caches. */
void cpuid_set_old_amd_caches(struct cpuid_table *t);

enum { CPUID_LEAF_CACHES_INTEL = 4 };
#define CPUID_LEAF_CACHES_AMD 0x8000001Du
