/* Shapes, numbers of nodes, APIC ids, and every way in which a topology can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "base/topology.h"
#include "support/topologies.h"

static void test_uniform_spreads_llcs_the_first_nodes_with_one_more(void **state UNUSED)
{
	const struct topology t = topology_uniform(3, 8, 2, 1);
	struct error err;

	assert_int_equal(topology_check(&t, &err), 0);
	assert_true(topology_is_uniform(&t));
	assert_int_equal(t.nodes[0].n_llcs, 3);
	assert_int_equal(t.nodes[1].n_llcs, 3);
	assert_int_equal(t.nodes[2].n_llcs, 2);
	assert_int_equal(topology_node_first_llc(&t, 2), 6);
	assert_int_equal(topology_node_first_llc(&t, 3), 8);
	assert_int_equal(topology_llc_node(&t, 5), 1);
	assert_int_equal(topology_cpu_node(&t, 11), 1);
	assert_int_equal(topology_cpu_node(&t, 12), 2);
	assert_int_equal(t.distances[0][0], 10);
	assert_int_equal(t.distances[0][2], 20);
}

static void test_initiator_is_the_node_itself_or_the_nearest_with_cpus(void **state UNUSED)
{
	struct topology t = topology_uniform(4, 4, 1, 1);

	t.nodes[2].n_llcs = t.nodes[3].n_llcs = 0;
	t.n_llcs = 2;
	t.distances[1][2] = t.distances[2][1] = 15;
	t.distances[2][3] = t.distances[3][2] = 11; /* has no CPU: not an initiator */
	assert_int_equal(topology_node_initiator(&t, 0), 0);
	assert_int_equal(topology_node_initiator(&t, 1), 1);
	assert_int_equal(topology_node_initiator(&t, 2), 1);
	assert_int_equal(topology_node_initiator(&t, 3), 0); /* the first of equals */
}

static void test_bandwidth_unit_is_the_smallest_in_which_all_are_16_bits(void **state UNUSED)
{
	static const struct {
		uint32_t a, b, unit;
	} cases[] = {
		{ 0, 0, 1 },
		{ 20000, 0, 1 },
		{ 65534, 1, 1 },
		{ 65535, 0, 3 },
		{ 65536, 0, 2 },
		{ 200000, 0, 4 },
		{ 200000, 20000, 4 },
		{ 200001, 3, 0 },
		{ 131074, 2, 0 },
		{ 300000, 65000, 5 },
		{ 4294967291u, 0, 4294967291u },
		{ 4294967291u, 1, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct topology t = topology_uniform(2, 2, 1, 1);
		struct error err;

		t.nodes[0].bandwidth_mbs = cases[i].a;
		t.nodes[1].bandwidth_mbs = cases[i].b;
		assert_int_equal(topology_bandwidth_unit(&t), cases[i].unit);
		assert_int_equal(topology_check(&t, &err) == 0, cases[i].unit != 0);
	}
}

static void test_apic_ids_leave_gaps_where_a_count_is_no_power_of_two(void **state UNUSED)
{
	static const struct {
		uint32_t shape[4];
		uint32_t thread_bits, core_bits;
		uint32_t ids[8];
	} cases[] = {
		{ { 1, 1, 4, 1 }, 0, 2, { 0, 1, 2, 3 } },
		{ { 1, 1, 2, 2 }, 1, 2, { 0, 1, 2, 3 } },
		{ { 1, 2, 3, 1 }, 0, 2, { 0, 1, 2, 4, 5, 6 } },
		{ { 1, 2, 1, 3 }, 2, 2, { 0, 1, 2, 4, 5, 6 } },
		{ { 2, 2, 3, 1 }, 0, 2, { 0, 1, 2, 4, 5, 6 } },
		{ { 1, 1, 3, 2 }, 1, 3, { 0, 1, 2, 3, 4, 5 } },
		{ { 2, 4, 2, 1 }, 0, 1, { 0, 1, 2, 3, 4, 5, 6, 7 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint32_t *n = cases[i].shape;
		const struct topology t = topology_uniform(n[0], n[1], n[2], n[3]);
		assert_int_equal(topology_thread_bits(&t), cases[i].thread_bits);
		assert_int_equal(topology_core_bits(&t), cases[i].core_bits);
		for (uint32_t cpu = 0; cpu < topology_n_cpus(&t); cpu++)
			assert_int_equal(topology_apic_id(&t, cpu), cases[i].ids[cpu]);
	}
}

/* Whatever the shape: ids ascend, thread, core and LLC can be read back, nodes are ranges. */
static void check_numbers(const struct topology *t)
{
	uint32_t thread_mask = (1u << topology_thread_bits(t)) - 1, last = 0, last_node = 0;
	uint32_t llcs[TOPOLOGY_MAX_NODES] = { 0 };

	for (uint32_t cpu = 0; cpu < topology_n_cpus(t); cpu++) {
		uint32_t id = topology_apic_id(t, cpu), node = topology_cpu_node(t, cpu);
		uint32_t llc = cpu / t->threads_per_core / t->cores_per_llc;

		assert_true(cpu == 0 || id > last);
		assert_int_equal(id & thread_mask, cpu % t->threads_per_core);
		assert_int_equal(id >> topology_core_bits(t), llc);
		assert_true(node >= last_node && t->nodes[node].n_llcs);
		assert_in_range(llc, topology_node_first_llc(t, node),
				topology_node_first_llc(t, node + 1) - 1);
		llcs[node] += cpu % topology_cpus_per_llc(t) == 0;
		last = id;
		last_node = node;
	}
	for (uint32_t i = 0; i < t->n_nodes; i++)
		assert_int_equal(llcs[i], t->nodes[i].n_llcs);
}

static void test_numbers_of_thousands_of_topologies_are_consistent(void **state UNUSED)
{
	struct random r = { 1 };

	for (int i = 0; i < 5000; i++) {
		const struct topology t = random_topology(&r, 256);
		check_numbers(&t);
	}
}

/* --- what is wrong --- */

static void cores_0(struct topology *t)
{
	t->cores_per_llc = 0;
}

static void threads_0(struct topology *t)
{
	t->threads_per_core = 0;
}

static void nodes_0(struct topology *t)
{
	t->n_nodes = 0;
}

static void nodes_65(struct topology *t)
{
	t->n_nodes = TOPOLOGY_MAX_NODES + 1;
}

static void no_llcs(struct topology *t)
{
	for (uint32_t i = 0; i < t->n_nodes; i++)
		t->nodes[i].n_llcs = 0;
}

static void llcs_do_not_add_up(struct topology *t)
{
	t->n_llcs++;
}

static void memory_only_first(struct topology *t)
{
	t->nodes[0].n_llcs = 0;
	t->nodes[1].n_llcs = t->n_llcs;
}

static void too_many_cpus(struct topology *t)
{
	t->cores_per_llc = TOPOLOGY_MAX_CPUS + 1;
}

static void too_many_cpus_wrapping(struct topology *t)
{
	t->cores_per_llc = t->threads_per_core = 1u << 31;
}

static void too_many_ids(struct topology *t)
{
	for (uint32_t i = 0; i < t->n_nodes; i++)
		t->nodes[i].n_llcs = i == 0;
	t->n_llcs = 1;
	t->cores_per_llc = 1025; /* x 3: 3075 CPUs, but 2048 x 4 ids */
	t->threads_per_core = 3;
}

static void memory_odd(struct topology *t)
{
	t->nodes[1].memory = 3 * MIB;
}

static void latency_large(struct topology *t)
{
	t->nodes[1].latency_ns = TOPOLOGY_MAX_LATENCY_NS + 1;
}

static void bandwidths_mixed(struct topology *t)
{
	t->nodes[0].bandwidth_mbs = 131074;
	t->nodes[1].bandwidth_mbs = 1;
}

static void cache_line_odd(struct topology *t)
{
	t->nodes[1].cache = (struct topology_cache){ .size = MIB, .line = 48 };
}

static void cache_line_large(struct topology *t)
{
	t->nodes[1].cache = (struct topology_cache){ .size = MIB, .line = 65536 };
}

static void cache_size_odd(struct topology *t)
{
	t->nodes[1].cache = (struct topology_cache){ .size = 3 * KIB, .line = 2048 };
}

static void local_distance_11(struct topology *t)
{
	t->distances[1][1] = 11;
}

static void distance_10(struct topology *t)
{
	t->distances[0][1] = t->distances[1][0] = 10;
}

static void distance_0(struct topology *t)
{
	t->distances[0][1] = 0;
}

static void distance_255(struct topology *t)
{
	t->distances[0][1] = t->distances[1][0] = 255;
}

static void distances_differ(struct topology *t)
{
	t->distances[0][1] = 30;
	t->distances[1][0] = 31;
}

static const struct {
	void (*break_it)(struct topology *t);
	enum error_class class;
	const char *says;
} violations[] = {
	{ cores_0, ERROR_USAGE, "0 cores per LLC" },
	{ threads_0, ERROR_USAGE, "0 threads" },
	{ nodes_0, ERROR_USAGE, "no NUMA node" },
	{ nodes_65, ERROR_UNREPRESENTABLE, "65 NUMA nodes" },
	{ no_llcs, ERROR_USAGE, "no CPU" },
	{ llcs_do_not_add_up, ERROR_USAGE, "LLCs, the topology has" },
	{ memory_only_first, ERROR_USAGE, "node 0 has no LLC but node 1 has" },
	{ too_many_cpus, ERROR_UNREPRESENTABLE, "at most 4096 CPUs" },
	{ too_many_cpus_wrapping, ERROR_UNREPRESENTABLE, "at most 4096 CPUs" },
	{ too_many_ids, ERROR_UNREPRESENTABLE, "need 8192 APIC ids" },
	{ memory_odd, ERROR_USAGE, "node 1: memory of 3072 KiB" },
	{ latency_large, ERROR_UNREPRESENTABLE, "node 1: a latency of 65535 ns" },
	{ bandwidths_mixed, ERROR_UNREPRESENTABLE, "no common unit" },
	{ cache_line_odd, ERROR_USAGE, "node 1: a cache line of 48 bytes" },
	{ cache_line_large, ERROR_USAGE, "node 1: a cache line of 65536 bytes" },
	{ cache_size_odd, ERROR_USAGE, "node 1: a cache of 3072 bytes" },
	{ local_distance_11, ERROR_USAGE, "node 1 to itself is 11; it must be 10" },
	{ distance_10, ERROR_USAGE, "node 0 to node 1 is 10; it must be 11 to 254" },
	{ distance_0, ERROR_USAGE, "node 0 to node 1 is 0; it must be 11 to 254" },
	{ distance_255, ERROR_USAGE, "node 0 to node 1 is 255; it must be 11 to 254" },
	{ distances_differ, ERROR_USAGE, "node 0 to node 1 is 30, but node 1 to node 0 is 31" },
};

/* Whatever else it is: one rule broken, that rule named. */
static void test_check_names_the_violation_in_thousands_of_topologies(void **state UNUSED)
{
	struct random r = { 2 };

	for (int n = 0; n < 5000;) {
		struct topology t = random_topology(&r, 256);
		size_t i = random_below(&r, ARRAY_SIZE(violations));
		struct error err;

		if (t.n_nodes < 2)
			continue;
		violations[i].break_it(&t);
		assert_true(topology_check(&t, &err) < 0);
		assert_int_equal(err.class, violations[i].class);
		if (!strstr(err.text, violations[i].says))
			fail_msg("violation %zu: %s", i, err.text);
		n++;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uniform_spreads_llcs_the_first_nodes_with_one_more),
		cmocka_unit_test(test_initiator_is_the_node_itself_or_the_nearest_with_cpus),
		cmocka_unit_test(test_bandwidth_unit_is_the_smallest_in_which_all_are_16_bits),
		cmocka_unit_test(test_apic_ids_leave_gaps_where_a_count_is_no_power_of_two),
		cmocka_unit_test(test_numbers_of_thousands_of_topologies_are_consistent),
		cmocka_unit_test(test_check_names_the_violation_in_thousands_of_topologies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
