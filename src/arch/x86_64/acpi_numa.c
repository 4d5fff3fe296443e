/*
 * ACPI 6.5: 5.2.16 SRAT, 5.2.17 SLIT, 5.2.28 HMAT. Proximity domains are node numbers: Linux
 * numbers nodes in the order in which it meets their domains, processors before memory, and
 * topology_check lets no memory-only node stand before one with processors.
 */
#include "arch/x86_64/acpi_numa.h"

#include "arch/x86_64/acpi_table.h"
#include "arch/x86_64/layout.h"
#include "base/num.h"

enum {
	SRAT_REVISION = 3,
	SRAT_LAPIC = 0,
	SRAT_MEMORY = 1,
	SRAT_X2APIC = 2,
	SRAT_ENABLED = 1 << 0,

	SLIT_REVISION = 1,

	HMAT_REVISION = 2, /* since ACPI 6.3: latencies in units of picoseconds */
	HMAT_PROXIMITY = 0,
	HMAT_LOCALITY = 1,
	HMAT_CACHE = 2,
	HMAT_INITIATOR_VALID = 1 << 0,
	HMAT_ACCESS_LATENCY = 0,
	HMAT_ACCESS_BANDWIDTH = 3,
	HMAT_PS_PER_NS = 1000,
	HMAT_MAX_ENTRY = UINT16_MAX - 1, /* the last one means unreachable */
	HMAT_CACHE_DIRECT = 1,
	HMAT_CACHE_COMPLEX = 2,
	HMAT_CACHE_WRITE_BACK = 1,
	HMAT_CACHE_WRITE_THROUGH = 2,
};

bool acpi_numa_is_needed(const struct topology *t)
{
	return t->n_nodes > 1 || topology_has_attributes(t);
}

/* --- SRAT --- */

/* As in the MADT: the xAPIC form where the id fits. */
static void add_processor(struct buf *b, uint32_t apic_id, uint32_t node)
{
	if (apic_id <= MAX_XAPIC_ID) {
		acpi_put(b, SRAT_LAPIC, 1);
		acpi_put(b, 16, 1);
		acpi_put(b, node,
			 1); /* bits 7:0 of the domain, and no others: there are 64 nodes */
		acpi_put(b, apic_id, 1);
		acpi_put(b, SRAT_ENABLED, 4);
		acpi_put(b, 0, 8); /* SAPIC, domain's other bits, clock domain */
		return;
	}
	acpi_put(b, SRAT_X2APIC, 1);
	acpi_put(b, 24, 1);
	acpi_put(b, 0, 2);
	acpi_put(b, node, 4);
	acpi_put(b, apic_id, 4);
	acpi_put(b, SRAT_ENABLED, 4);
	acpi_put(b, 0, 8);
}

static void add_memory(struct buf *b, const struct memory_range *r)
{
	acpi_put(b, SRAT_MEMORY, 1);
	acpi_put(b, 40, 1);
	acpi_put(b, r->node, 4);
	acpi_put(b, 0, 2);
	acpi_put(b, r->gpa, 8);
	acpi_put(b, r->len, 8);
	acpi_put(b, 0, 4);
	acpi_put(b, SRAT_ENABLED, 4);
	acpi_put(b, 0, 8);
}

size_t acpi_add_srat(struct buf *b, const struct topology *t, const struct memory_layout *memory)
{
	size_t table = acpi_table_begin(b, "SRAT", SRAT_REVISION);

	acpi_put(b, 1, 4); /* reserved, 1 for old readers */
	acpi_put(b, 0, 8);
	for (uint32_t cpu = 0; cpu < topology_n_cpus(t); cpu++)
		add_processor(b, topology_apic_id(t, cpu), topology_cpu_node(t, cpu));
	for (size_t i = 0; i < memory->n_ranges; i++)
		add_memory(b, &memory->ranges[i]);
	acpi_table_end(b, table);
	return table;
}

/* --- SLIT --- */

size_t acpi_add_slit(struct buf *b, const struct topology *t)
{
	size_t table = acpi_table_begin(b, "SLIT", SLIT_REVISION);

	acpi_put(b, t->n_nodes, 8);
	for (uint32_t i = 0; i < t->n_nodes; i++)
		buf_append(b, t->distances[i], t->n_nodes);
	acpi_table_end(b, table);
	return table;
}

/* --- HMAT --- */

/* Which processors are next to the memory, whose accesses latency and bandwidth describe. */
static void add_proximity(struct buf *b, const struct topology *t, uint32_t node)
{
	acpi_put(b, HMAT_PROXIMITY, 2);
	acpi_put(b, 0, 2);
	acpi_put(b, 40, 4);
	acpi_put(b, HMAT_INITIATOR_VALID, 2);
	acpi_put(b, 0, 2);
	acpi_put(b, topology_node_initiator(t, node), 4);
	acpi_put(b, node, 4);
	acpi_put(b, 0, 8);
	acpi_put(b, 0, 8);
	acpi_put(b, 0, 4);
}

/*
 * What the declaration says holds from the node's initiator; from another node latency grows, and
 * bandwidth shrinks, as the distance. 0: not told.
 */
static uint64_t latency_ns(const struct topology *t, uint32_t from, uint32_t to)
{
	uint32_t near = t->distances[topology_node_initiator(t, to)][to];

	return (uint64_t)t->nodes[to].latency_ns * t->distances[from][to] / near;
}

static uint64_t bandwidth_mbs(const struct topology *t, uint32_t from, uint32_t to)
{
	uint32_t near = t->distances[topology_node_initiator(t, to)][to];

	return (uint64_t)t->nodes[to].bandwidth_mbs * near / t->distances[from][to];
}

static uint32_t n_initiators(const struct topology *t)
{
	uint32_t n = 0;

	while (n < t->n_nodes && t->nodes[n].n_llcs)
		n++;
	return n;
}

struct locality {
	uint32_t type;
	uint64_t base; /* picoseconds, MB/s */
	uint32_t unit; /* of @value in an entry */
	uint64_t (*value)(const struct topology *t, uint32_t from, uint32_t to);
};

/* An entry is rounded, but never to 0, which would be "not told". */
static uint64_t entry(const struct topology *t, const struct locality *l, uint32_t from,
		      uint32_t to)
{
	uint64_t v = l->value(t, from, to);

	return v ? num_min(num_max(v / l->unit, 1), HMAT_MAX_ENTRY) : 0;
}

static void add_locality(struct buf *b, const struct topology *t, const struct locality *l)
{
	uint32_t initiators = n_initiators(t), targets = t->n_nodes;

	acpi_put(b, HMAT_LOCALITY, 2);
	acpi_put(b, 0, 2);
	acpi_put(b, 32 + 4 * initiators + 4 * targets + 2 * initiators * targets, 4);
	acpi_put(b, 0, 1); /* of memory, not of a cache in front of it */
	acpi_put(b, l->type, 1);
	acpi_put(b, 0, 2);
	acpi_put(b, initiators, 4);
	acpi_put(b, targets, 4);
	acpi_put(b, 0, 4);
	acpi_put(b, l->base, 8);
	for (uint32_t i = 0; i < initiators; i++)
		acpi_put(b, i, 4);
	for (uint32_t i = 0; i < targets; i++)
		acpi_put(b, i, 4);
	for (uint32_t from = 0; from < initiators; from++)
		for (uint32_t to = 0; to < targets; to++)
			acpi_put(b, entry(t, l, from, to), 2);
}

static void add_cache(struct buf *b, uint32_t node, const struct topology_cache *c)
{
	uint32_t indexing =
	    c->indexing == TOPOLOGY_CACHE_COMPLEX ? HMAT_CACHE_COMPLEX : HMAT_CACHE_DIRECT;
	uint32_t policy = c->policy == TOPOLOGY_CACHE_WRITE_THROUGH ? HMAT_CACHE_WRITE_THROUGH
								    : HMAT_CACHE_WRITE_BACK;

	acpi_put(b, HMAT_CACHE, 2);
	acpi_put(b, 0, 2);
	acpi_put(b, 32, 4);
	acpi_put(b, node, 4);
	acpi_put(b, 0, 4);
	acpi_put(b, c->size, 8);
	/* one level, this is the first */
	acpi_put(b, 1 | 1 << 4 | indexing << 8 | policy << 12 | c->line << 16, 4);
	acpi_put(b, 0, 2);
	acpi_put(b, 0, 2); /* SMBIOS handles */
}

size_t acpi_add_hmat(struct buf *b, const struct topology *t)
{
	const struct locality latency = { HMAT_ACCESS_LATENCY, HMAT_PS_PER_NS, 1, latency_ns };
	uint32_t unit = topology_bandwidth_unit(t);
	const struct locality bandwidth = { HMAT_ACCESS_BANDWIDTH, unit, unit, bandwidth_mbs };
	bool has_latency = false, has_bandwidth = false;
	size_t table = acpi_table_begin(b, "HMAT", HMAT_REVISION);

	acpi_put(b, 0, 4);
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		add_proximity(b, t, i);
		has_latency |= t->nodes[i].latency_ns != 0;
		has_bandwidth |= t->nodes[i].bandwidth_mbs != 0;
	}
	if (has_latency)
		add_locality(b, t, &latency);
	if (has_bandwidth)
		add_locality(b, t, &bandwidth);
	for (uint32_t i = 0; i < t->n_nodes; i++)
		if (t->nodes[i].cache.size)
			add_cache(b, i, &t->nodes[i].cache);
	acpi_table_end(b, table);
	return table;
}
