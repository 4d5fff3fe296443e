#include "base/topology.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

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
		if (num_parse_u64(what, field, 1, TOPOLOGY_MAX_CPUS, &v[i], err) < 0)
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
	*ret = (struct topology){ .n_nodes = (uint32_t)v[0],
				  .n_llcs = (uint32_t)v[1],
				  .cores_per_llc = (uint32_t)v[2],
				  .threads_per_core = (uint32_t)v[3] };
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
