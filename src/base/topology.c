#include "base/topology.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/num.h"

struct topology topology_uniform(uint32_t nodes, uint32_t llcs, uint32_t cores, uint32_t threads)
{
	struct topology t = { .n_nodes = nodes,
			      .n_llcs = llcs,
			      .cores_per_llc = cores,
			      .threads_per_core = threads };

	ASSERT(nodes >= 1 && nodes <= TOPOLOGY_MAX_NODES && llcs >= nodes);
	for (uint32_t i = 0; i < nodes; i++) {
		t.nodes[i].n_llcs = llcs / nodes + (i < llcs % nodes);
		for (uint32_t j = 0; j < nodes; j++)
			t.distances[i][j] =
			    i == j ? TOPOLOGY_LOCAL_DISTANCE : TOPOLOGY_REMOTE_DISTANCE;
	}
	return t;
}

uint32_t topology_node_first_llc(const struct topology *t, uint32_t node)
{
	uint32_t first = 0;

	for (uint32_t i = 0; i < node; i++)
		first += t->nodes[i].n_llcs;
	return first;
}

uint32_t topology_llc_node(const struct topology *t, uint32_t llc)
{
	uint32_t node = 0;

	ASSERT(llc < t->n_llcs);
	for (uint32_t first = t->nodes[0].n_llcs; llc >= first; first += t->nodes[node].n_llcs)
		node++;
	return node;
}

uint32_t topology_cpu_node(const struct topology *t, uint32_t cpu)
{
	return topology_llc_node(t, topology_cpu_llc(t, cpu));
}

int topology_parse(const char *text, struct topology *ret, struct error *err)
{
	static const char *const names[] = { "numa_nodes", "llcs", "cores_per_llc",
					     "threads_per_core" };
	uint64_t v[ARRAY_SIZE(names)];
	const char *p = text;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char field[16], what[64];
		size_t n = strcspn(p, ",");
		bool last = i + 1 == ARRAY_SIZE(names);

		if (n >= sizeof(field) || (p[n] == ',') == last)
			return error_set_usage(
			    err, -EINVAL,
			    "--topology: '%s' is not numa_nodes,llcs,cores_per_llc,"
			    "threads_per_core (four numbers, e.g. 1,1,4,1)",
			    text);
		memcpy(field, p, n);
		field[n] = 0;
		(void)snprintf(what, sizeof(what), "--topology: %s", names[i]);
		uint64_t max = i == 0 ? TOPOLOGY_MAX_NODES : TOPOLOGY_MAX_CPUS;
		if (num_parse_u64(what, field, 1, max, &v[i], err) < 0)
			return err->code;
		p += n + 1;
	}
	if (v[0] > v[1])
		return error_set_usage(
		    err, -EINVAL,
		    "--topology: %s: %d NUMA nodes need at least as many LLCs, not %d", text,
		    (int)v[0], (int)v[1]);
	/* No overflow: each factor is at most 2^12. */
	if (v[1] * v[2] * v[3] > TOPOLOGY_MAX_CPUS)
		return error_set_usage(err, -ERANGE, "--topology: %s: more than %d CPUs", text,
				       TOPOLOGY_MAX_CPUS);
	*ret = topology_uniform((uint32_t)v[0], (uint32_t)v[1], (uint32_t)v[2], (uint32_t)v[3]);
	return 0;
}

void topology_format(const struct topology *t, char text[static TOPOLOGY_TEXT_MAX])
{
	(void)snprintf(text, TOPOLOGY_TEXT_MAX, "%u,%u,%u,%u", t->n_nodes, t->n_llcs,
		       t->cores_per_llc, t->threads_per_core);
}

/* Bits that hold 0 .. n - 1. */
static uint32_t bits_for(uint32_t n)
{
	return n <= 1 ? 0 : 32 - (uint32_t)__builtin_clz(n - 1);
}

uint32_t topology_thread_bits(const struct topology *t)
{
	return bits_for(t->threads_per_core);
}

uint32_t topology_core_bits(const struct topology *t)
{
	return topology_thread_bits(t) + bits_for(t->cores_per_llc);
}

uint32_t topology_apic_id(const struct topology *t, uint32_t cpu)
{
	uint32_t thread = cpu % t->threads_per_core;
	uint32_t core = cpu / t->threads_per_core % t->cores_per_llc;
	uint32_t llc = cpu / t->threads_per_core / t->cores_per_llc;

	return llc << topology_core_bits(t) | core << topology_thread_bits(t) | thread;
}
