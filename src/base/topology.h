/*
 * The guest's processor topology as a test declares it:
 * numa_nodes,llcs,cores_per_llc,threads_per_core, where llcs is the total over all nodes. Plain
 * data, immutable after parsing.
 */
#pragma once

#include "base/error.h"

enum { TOPOLOGY_MAX_CPUS = 4096, TOPOLOGY_TEXT_MAX = 48 };

struct topology {
	uint32_t n_nodes;
	uint32_t n_llcs;
	uint32_t cores_per_llc;
	uint32_t threads_per_core;
};

/*
 * "n,l,c,t"; each at least 1, llcs a multiple of nodes is not required, llcs >= nodes is. Errors
 * are class usage.
 */
MUST_CHECK int topology_parse(const char *text, struct topology *ret, struct error *err);
void topology_format(const struct topology *t, char text[static TOPOLOGY_TEXT_MAX]);

static inline uint32_t topology_n_cpus(const struct topology *t)
{
	return t->n_llcs * t->cores_per_llc * t->threads_per_core;
}

/*
 * APIC id of CPU @cpu (0 .. n_cpus - 1): thread, core and LLC numbers in bit fields just wide
 * enough for each, so ids have gaps where a count is no power of two.
 */
uint32_t topology_apic_id(const struct topology *t, uint32_t cpu);
/* Bits below the core number, and below the LLC number: the shifts of CPUID leaf 0xB. */
uint32_t topology_thread_bits(const struct topology *t);
uint32_t topology_core_bits(const struct topology *t);
