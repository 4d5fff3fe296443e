/*
 * Topologies as text, in three forms:
 *
 *	n,l,c,t		NUMA nodes, LLCs of all nodes, cores per LLC, threads per core
 *	NAME		a preset
 *	PART;PART...	explicit: node by node
 *
 *		cores=N				per LLC (1)
 *		threads=N			per core (1)
 *		node=KEY:VALUE,...		repeated, one for each node
 *			llcs:N			default 0: memory only
 *			memory:SIZE		default: an equal share
 *			latency_ns:N  bandwidth_mbs:N
 *			cache:SIZE  cache_line:BYTES  cache_indexing:direct|complex
 *			cache_policy:back|through
 *		distances=ROW/ROW...		each row N,N,...; default 10 and 20
 *
 * SIZE is a number with K, M, G or T.
 */
#pragma once

#include "base/buf.h"
#include "base/topology.h"

/*
 * Parses any form; the result has passed topology_check. Errors name the part; class usage, or
 * unrepresentable.
 */
MUST_CHECK int topology_parse(const char *text, struct topology *ret, struct error *err);

/* Appends the canonical text, which topology_parse reads back: n,l,c,t if that says all. */
void topology_format(const struct topology *t, struct buf *out);

struct topology_preset {
	const char *name;
	uint16_t nodes, llcs, cores, threads;
};
extern const struct topology_preset topology_presets[];
extern const size_t topology_n_presets;

/* NULL: no preset has that name. */
const struct topology_preset *topology_preset_find(const char *name);
