/* Topologies as text, and the APIC ids they give. */
#include "base/topology.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_parse_and_format_round_trip(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint32_t n_cpus;
	} cases[] = { { "1,1,1,1", 1 },      { "2,4,2,1", 8 },       { "1,1,3,2", 6 },
		      { "3,5,1,1", 5 },      { "1,1,4096,1", 4096 }, { "64,4096,1,1", 4096 },
		      { "1,16,16,16", 4096 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct topology t;
		struct error err;
		char text[TOPOLOGY_TEXT_MAX];
		assert_int_equal(topology_parse(cases[i].text, &t, &err), 0);
		assert_int_equal(topology_n_cpus(&t), cases[i].n_cpus);
		topology_format(&t, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void test_parse_bad_text_names_what_is_wrong(void **state UNUSED)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "", "four numbers" },
		{ "1", "four numbers" },
		{ "1,1,1", "four numbers" },
		{ "1,1,1,1,1", "four numbers" },
		{ "1,1,1,1,", "four numbers" },
		{ ",,,", "numa_nodes" },
		{ "0,1,1,1", "numa_nodes" },
		{ "1,0,1,1", "llcs" },
		{ "1,1,0,1", "cores_per_llc" },
		{ "1,1,1,0", "threads_per_core" },
		{ "1,1,1,x", "threads_per_core" },
		{ "1,1, 1,1", "cores_per_llc" },
		{ "1,-1,1,1", "llcs" },
		{ "65,65,1,1", "numa_nodes" },
		{ "2,1,4,1", "NUMA" },
		{ "1,1,4097,1", "cores_per_llc" },
		{ "1,2,4096,1", "4096" },
		{ "1,4096,4096,4096", "4096" },
		{ "1,1,1,11111111111111111", "four numbers" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct topology t = { .n_nodes = 77 };
		struct error err;
		assert_true(topology_parse(cases[i].text, &t, &err) < 0);
		assert_int_equal(err.class, ERROR_USAGE);
		if (!strstr(err.text, cases[i].says) || !strstr(err.text, "--topology"))
			fail_msg("'%s': %s", cases[i].text, err.text);
		assert_int_equal(t.n_nodes, 77);
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

/* Whatever the shape: ids ascend, and thread, core and LLC can be read back from their bits. */
static void test_apic_ids_hold_every_level_in_its_bits(void **state UNUSED)
{
	for (uint32_t llcs = 1; llcs <= 5; llcs++)
		for (uint32_t cores = 1; cores <= 9; cores++)
			for (uint32_t threads = 1; threads <= 3; threads++) {
				const struct topology t = topology_uniform(1, llcs, cores, threads);
				uint32_t last = 0;
				for (uint32_t cpu = 0; cpu < topology_n_cpus(&t); cpu++) {
					uint32_t id = topology_apic_id(&t, cpu);
					uint32_t thread_mask = (1u << topology_thread_bits(&t)) - 1;
					assert_true(cpu == 0 || id > last);
					assert_int_equal(id & thread_mask, cpu % threads);
					assert_int_equal(id >> topology_core_bits(&t),
							 cpu / threads / cores);
					last = id;
				}
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_format_round_trip),
		cmocka_unit_test(test_parse_bad_text_names_what_is_wrong),
		cmocka_unit_test(test_apic_ids_leave_gaps_where_a_count_is_no_power_of_two),
		cmocka_unit_test(test_apic_ids_hold_every_level_in_its_bits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
