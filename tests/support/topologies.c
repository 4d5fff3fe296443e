#include "support/topologies.h"

#include <stdlib.h>

#include "base/num.h"

/* splitmix64 */
uint32_t random_below(struct random *r, uint32_t n)
{
	uint64_t z = r->state += 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return (uint32_t)((z ^ z >> 31) % n);
}

static uint32_t from(struct random *r, uint32_t min, uint32_t max)
{
	return min + random_below(r, max - min + 1);
}

static bool one_in(struct random *r, uint32_t n)
{
	return random_below(r, n) == 0;
}

static void add_attributes(struct random *r, struct topology_node *n)
{
	if (one_in(r, 2))
		n->memory = from(r, 2, 600) * TOPOLOGY_MEMORY_UNIT;
	if (one_in(r, 2))
		n->latency_ns = from(r, 1, TOPOLOGY_MAX_LATENCY_NS);
	if (one_in(r, 2))
		n->bandwidth_mbs = from(r, 1, 5000) * 100;
	if (one_in(r, 3))
		n->cache = (struct topology_cache){
			.size = from(r, 1, 1u << 20) * 32 * KIB,
			.line = 1u << from(r, 0, 15),
			.indexing = one_in(r, 2) ? TOPOLOGY_CACHE_COMPLEX : TOPOLOGY_CACHE_DIRECT,
			.policy =
			    one_in(r, 2) ? TOPOLOGY_CACHE_WRITE_THROUGH : TOPOLOGY_CACHE_WRITE_BACK,
		};
}

static void add_distances(struct random *r, struct topology *t)
{
	bool plain = one_in(r, 2);

	for (uint32_t i = 0; i < t->n_nodes; i++) {
		t->distances[i][i] = TOPOLOGY_LOCAL_DISTANCE;
		for (uint32_t j = 0; j < i; j++)
			t->distances[i][j] = t->distances[j][i] =
			    plain ? TOPOLOGY_REMOTE_DISTANCE
				  : (uint8_t)from(r, TOPOLOGY_LOCAL_DISTANCE + 1,
						  TOPOLOGY_MAX_DISTANCE);
	}
}

static struct topology random_explicit(struct random *r, uint32_t max_cpus)
{
	struct topology t = { .cores_per_llc = from(r, 1, 20), .threads_per_core = from(r, 1, 4) };
	uint32_t max_llcs = max_cpus / topology_cpus_per_llc(&t);
	uint32_t with_cpus = from(r, 1, one_in(r, 8) ? TOPOLOGY_MAX_NODES : 4);
	uint32_t memory_only = one_in(r, 2) ? from(r, 1, 3) : 0;

	for (uint32_t i = 0; i < with_cpus && t.n_llcs < max_llcs; i++) {
		uint32_t room = max_llcs - t.n_llcs;
		t.nodes[t.n_nodes].n_llcs = from(r, 1, room < 5 ? room : 5);
		t.n_llcs += t.nodes[t.n_nodes++].n_llcs;
	}
	for (uint32_t i = 0; i < memory_only && t.n_nodes < TOPOLOGY_MAX_NODES; i++)
		t.n_nodes++;
	for (uint32_t i = 0; i < t.n_nodes; i++)
		add_attributes(r, &t.nodes[i]);
	add_distances(r, &t);
	return t;
}

struct topology random_topology(struct random *r, uint32_t max_cpus)
{
	struct topology t;
	struct error err;

	if (one_in(r, 4)) {
		uint32_t cores = from(r, 1, 20), threads = from(r, 1, 3);
		uint32_t llcs = from(r, 1, max_cpus / (cores * threads));
		uint32_t nodes = from(r, 1, llcs < TOPOLOGY_MAX_NODES ? llcs : TOPOLOGY_MAX_NODES);
		t = topology_uniform(nodes, llcs, cores, threads);
	} else {
		t = random_explicit(r, max_cpus);
	}
	if (topology_check(&t, &err) < 0)
		abort(); /* this file is wrong */
	return t;
}
