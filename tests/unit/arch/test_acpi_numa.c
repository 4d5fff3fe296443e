/*
 * SRAT, SLIT and HMAT: bytes written by hand, and a reader that rebuilds the declaration from the
 * tables of every preset and of thousands of topologies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/acpi_numa.h"
#include "base/num.h"
#include "base/topology_text.h"
#include "support/topologies.h"
#include "table_bytes.h"

struct machine {
	struct topology t;
	struct memory_layout memory;
	struct buf image;
	size_t srat, slit, hmat;
};

static void machine_of(struct machine *m, const struct topology *t)
{
	struct error err;
	bool all;
	uint64_t declared = memory_layout_declared(t, &all);

	*m = (struct machine){ .t = *t };
	if (memory_layout_make(t, all ? declared : declared + GIB, &arch_memory_space, &m->memory,
			       &err) < 0)
		fail_msg("%s", err.text);
	m->srat = acpi_add_srat(&m->image, t, &m->memory);
	m->slit = acpi_add_slit(&m->image, t);
	m->hmat = acpi_add_hmat(&m->image, t);
}

static void machine_parse(struct machine *m, const char *text)
{
	struct topology t;
	struct error err;

	if (topology_parse(text, &t, &err) < 0)
		fail_msg("%s", err.text);
	machine_of(m, &t);
}

/* --- by hand --- */

/* What is behind the header. */
static void check_body(const struct machine *m, size_t table, const uint8_t *want, size_t n)
{
	const uint8_t *t = m->image.data + table;
	uint8_t sum = 0;

	assert_int_equal(table_number(t, 4, 4), 36 + n);
	assert_memory_equal(t + 36, want, n);
	for (size_t i = 0; i < 36 + n; i++)
		sum = (uint8_t)(sum + t[i]);
	assert_int_equal(sum, 0);
}

#define CHECK_BODY(m, table, ...)                                                                  \
	do {                                                                                       \
		static const uint8_t want[] = { __VA_ARGS__ };                                     \
		check_body(m, table, want, sizeof(want));                                          \
	} while (0)

/* Two nodes with one LLC of 2 cores each; 4 GiB: 0 to 2 GiB, and 2 to 3 with 4 to 5. */
static void test_srat_by_hand_two_nodes_across_the_gap(void **state)
{
	struct machine m;

	machine_parse(&m, "cores=2;node=llcs:1,memory:2G;node=llcs:1,memory:2G");
	assert_memory_equal(m.image.data + m.srat, "SRAT", 4);
	CHECK_BODY(&m, m.srat,                                           /* */
		   1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                   /* reserved */
		   0, 16, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,      /* id 0, node 0 */
		   0, 16, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,      /* id 1, node 0 */
		   0, 16, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,      /* id 2, node 1 */
		   0, 16, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,      /* id 3, node 1 */
		   1, 40, 0, 0, 0, 0, 0, 0,                              /* node 0 */
		   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0,    /* 0, 2 GiB */
		   0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,       /* enabled */
		   1, 40, 1, 0, 0, 0, 0, 0,                              /* node 1 */
		   0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, /* 2 GiB, 1 GiB */
		   0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,       /* enabled */
		   1, 40, 1, 0, 0, 0, 0, 0,                              /* node 1 */
		   0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0,    /* 4 GiB, 1 GiB */
		   0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);      /* enabled */
	CHECK_BODY(&m, m.slit, 2, 0, 0, 0, 0, 0, 0, 0, 10, 20, 20, 10);
	buf_fini(&m.image);
}

/*
 * A node with CPUs and one with memory only, at distance 20. The second node's 300 ns are those of
 * node 0, its initiator. 200000 MB/s needs a unit of 4: 50000, and 5000 for 20000.
 */
static void test_hmat_by_hand_memory_only_node(void **state)
{
	struct machine m;

	machine_parse(&m, "node=llcs:1,memory:1G,latency_ns:80,bandwidth_mbs:200000;"
			  "node=memory:1G,latency_ns:300,bandwidth_mbs:20000,cache:64M,"
			  "cache_line:128,cache_indexing:complex,cache_policy:through");
	CHECK_BODY(&m, m.hmat, 0, 0, 0, 0, /* reserved */
		   /* proximity: memory 0 next to processors 0, memory 1 next to processors 0 */
		   0, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* */
		   0, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		   /* access latency, 1 initiator, 2 targets, unit 1000 ps: 80, 300 */
		   1, 0, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0xE8, 3,
		   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 80, 0, 44, 1,
		   /* access bandwidth, unit 4 MB/s: 50000, 5000 */
		   1, 0, 0, 0, 48, 0, 0, 0, 0, 3, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0,
		   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x50, 0xC3, 0x88, 0x13,
		   /* cache of memory 1: 64 MiB; level 1 of 1, complex, write through, 128 bytes */
		   2, 0, 0, 0, 32, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0x11,
		   0x22, 0x80, 0, 0, 0, 0, 0);
	assert_int_equal(m.image.data[m.hmat + 8], 2);
	buf_fini(&m.image);
}

struct first_cpu {
	uint32_t cpu, apic_id, node;
};

/* Some processors' entries: of 16 bytes each, in the order of the CPUs, behind 48 bytes. */
static void check_processors(const char *topology, const struct first_cpu *want, size_t n)
{
	struct machine m;

	machine_parse(&m, topology);
	for (size_t i = 0; i < n; i++) {
		const uint8_t entry[16] = { 0, 16, (uint8_t)want[i].node, (uint8_t)want[i].apic_id,
					    1 };
		assert_memory_equal(m.image.data + m.srat + 48 + 16 * want[i].cpu, entry, 16);
	}
	buf_fini(&m.image);
}

static void test_srat_by_hand_four_presets(void **state)
{
	/* 2 nodes with 2 LLCs of 4 CPUs */
	static const struct first_cpu numa2_4llc[] = {
		{ 0, 0, 0 }, { 7, 7, 0 }, { 8, 8, 1 }, { 9, 9, 1 }, { 15, 15, 1 }
	};
	/* 2 nodes with 4 LLCs of 8 cores with 2 threads */
	static const struct first_cpu numa2_8llc[] = {
		{ 0, 0, 0 }, { 63, 63, 0 }, { 64, 64, 1 }, { 127, 127, 1 }
	};
	/* 4 nodes with 2 LLCs of 4 CPUs */
	static const struct first_cpu numa4_8llc[] = {
		{ 7, 7, 0 }, { 8, 8, 1 }, { 15, 15, 1 }, { 16, 16, 2 }, { 24, 24, 3 }, { 31, 31, 3 }
	};
	/* 4 nodes with 3 LLCs of 8 cores with 2 threads */
	static const struct first_cpu numa4_12llc[] = { { 47, 47, 0 },   { 48, 48, 1 },
							{ 95, 95, 1 },   { 96, 96, 2 },
							{ 143, 143, 2 }, { 144, 144, 3 },
							{ 191, 191, 3 } };

	check_processors("numa2-4llc", numa2_4llc, ARRAY_SIZE(numa2_4llc));
	check_processors("numa2-8llc", numa2_8llc, ARRAY_SIZE(numa2_8llc));
	check_processors("numa4-8llc", numa4_8llc, ARRAY_SIZE(numa4_8llc));
	check_processors("numa4-12llc", numa4_12llc, ARRAY_SIZE(numa4_12llc));
}

/* --- as a reader finds it --- */

static void check_srat(const struct machine *m)
{
	const uint8_t *srat = m->image.data + m->srat;
	uint32_t cpu = 0;
	size_t range = 0;

	for (size_t off = 48; off < table_number(srat, 4, 4); off += srat[off + 1]) {
		const uint8_t *e = srat + off;

		if (e[0] == 1) {
			const struct memory_range *r = &m->memory.ranges[range++];
			assert_int_equal(e[1], 40);
			assert_int_equal(table_number(e, 2, 4), r->node);
			assert_int_equal(table_number(e, 8, 8), r->gpa);
			assert_int_equal(table_number(e, 16, 8), r->len);
			assert_int_equal(table_number(e, 28, 4), 1);
			continue;
		}
		uint32_t id = topology_apic_id(&m->t, cpu), node = topology_cpu_node(&m->t, cpu);
		assert_int_equal(range, 0); /* processors first: their nodes get their numbers */
		assert_int_equal(e[0], id <= 254 ? 0 : 2);
		assert_int_equal(e[0] ? table_number(e, 4, 4) : e[2] | table_number(e, 9, 3) << 8,
				 node);
		assert_int_equal(e[0] ? table_number(e, 8, 4) : e[3], id);
		assert_int_equal(table_number(e, e[0] ? 12 : 4, 4), 1);
		cpu++;
	}
	assert_int_equal(cpu, topology_n_cpus(&m->t));
	assert_int_equal(range, m->memory.n_ranges);
}

static void check_slit(const struct machine *m)
{
	const uint8_t *slit = m->image.data + m->slit;
	uint32_t n = m->t.n_nodes;

	assert_int_equal(table_number(slit, 4, 4), 44 + n * n);
	assert_int_equal(table_number(slit, 36, 8), n);
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < n; j++)
			assert_int_equal(slit[44 + i * n + j], m->t.distances[i][j]);
}

/* What Linux shows in sysfs is the initiator's row: exactly the declaration. */
static void check_locality(const struct machine *m, const uint8_t *e)
{
	uint32_t n_from = (uint32_t)table_number(e, 12, 4), n_to = (uint32_t)table_number(e, 16, 4);
	uint64_t unit = table_number(e, 24, 8);
	const uint8_t *entries = e + 32 + 4 * n_from + 4 * n_to;
	bool is_latency = e[9] == 0;

	assert_true(e[9] == 0 || e[9] == 3);
	assert_int_equal(n_to, m->t.n_nodes);
	if (is_latency)
		assert_int_equal(unit, 1000);
	for (uint32_t from = 0; from < n_from; from++)
		assert_int_equal(table_number(e, 32 + 4 * from, 4), from);
	for (uint32_t to = 0; to < n_to; to++) {
		const struct topology_node *n = &m->t.nodes[to];
		uint32_t near = topology_node_initiator(&m->t, to);
		uint64_t told = table_number(entries, 2 * (near * n_to + to), 2);

		assert_int_equal(is_latency ? told : told * unit,
				 is_latency ? n->latency_ns : n->bandwidth_mbs);
		for (uint32_t from = 0; from < n_from; from++) {
			uint64_t other = table_number(entries, 2 * (from * n_to + to), 2);
			assert_int_equal(other == 0, told == 0);
			assert_int_not_equal(other, 0xFFFF);
			assert_true(is_latency ? other >= told || from == near
					       : other <= told || from == near);
		}
	}
}

static void check_cache(const struct machine *m, const uint8_t *e)
{
	const struct topology_cache *c = &m->t.nodes[table_number(e, 8, 4)].cache;
	uint64_t attributes = table_number(e, 24, 4);

	assert_int_equal(table_number(e, 16, 8), c->size);
	assert_int_equal(attributes & 0xFF, 0x11);
	assert_int_equal(attributes >> 8 & 0xF, c->indexing == TOPOLOGY_CACHE_COMPLEX ? 2 : 1);
	assert_int_equal(attributes >> 12 & 0xF, c->policy == TOPOLOGY_CACHE_WRITE_THROUGH ? 2 : 1);
	assert_int_equal(attributes >> 16, c->line);
	assert_int_equal(table_number(e, 30, 2), 0);
}

static void check_hmat(const struct machine *m)
{
	const uint8_t *hmat = m->image.data + m->hmat;
	uint32_t counts[3] = { 0 }, n_caches = 0;

	for (size_t off = 40; off < table_number(hmat, 4, 4);
	     off += table_number(hmat, off + 4, 4)) {
		const uint8_t *e = hmat + off;

		assert_in_range(table_number(e, 0, 2), 0, 2);
		if (table_number(e, 0, 2) == 0) {
			uint32_t node = counts[0];
			assert_int_equal(table_number(e, 8, 2), 1);
			assert_int_equal(table_number(e, 12, 4),
					 topology_node_initiator(&m->t, node));
			assert_int_equal(table_number(e, 16, 4), node);
		} else if (table_number(e, 0, 2) == 1) {
			check_locality(m, e);
		} else {
			check_cache(m, e);
		}
		counts[table_number(e, 0, 2)]++;
	}
	for (uint32_t i = 0; i < m->t.n_nodes; i++)
		n_caches += m->t.nodes[i].cache.size != 0;
	assert_int_equal(counts[0], m->t.n_nodes);
	assert_int_equal(counts[2], n_caches);
}

static void check_machine(struct machine *m)
{
	check_srat(m);
	check_slit(m);
	check_hmat(m);
	buf_fini(&m->image);
}

static void test_tables_of_every_preset_are_the_declaration(void **state)
{
	for (size_t i = 0; i < topology_n_presets; i++) {
		struct machine m;

		machine_parse(&m, topology_presets[i].name);
		assert_int_equal(acpi_numa_is_needed(&m.t), topology_presets[i].nodes > 1);
		check_machine(&m);
	}
}

static void test_tables_of_thousands_of_topologies_are_the_declaration(void **state)
{
	struct random r = { 5 };

	for (int i = 0; i < 3000; i++) {
		const struct topology t = random_topology(&r, 512);
		struct machine m;

		machine_of(&m, &t);
		check_machine(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_srat_by_hand_two_nodes_across_the_gap),
		cmocka_unit_test(test_hmat_by_hand_memory_only_node),
		cmocka_unit_test(test_srat_by_hand_four_presets),
		cmocka_unit_test(test_tables_of_every_preset_are_the_declaration),
		cmocka_unit_test(test_tables_of_thousands_of_topologies_are_the_declaration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
