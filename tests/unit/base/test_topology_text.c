/* Topologies as text: the three forms, what each mistake is told, and text that reads back as itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/num.h"
#include "base/topology_text.h"
#include "support/topologies.h"

static struct topology parse(const char *text)
{
	struct topology t;
	struct error err;

	if (topology_parse(text, &t, &err) < 0)
		fail_msg("'%s': %s", text, err.text);
	return t;
}

static void check_formats_as(const struct topology *t, const char *want)
{
	struct buf text = { 0 };

	topology_format(t, &text);
	assert_string_equal(buf_str(&text), want);
	buf_fini(&text);
}

static void test_parse_four_numbers(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint32_t n_cpus;
	} cases[] = { { "1,1,1,1", 1 },      { "2,4,2,1", 8 },       { "1,1,3,2", 6 },
		      { "3,5,1,1", 5 },      { "1,1,4096,1", 4096 }, { "64,4096,1,1", 4096 },
		      { "1,16,16,16", 4096 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct topology t = parse(cases[i].text);
		assert_int_equal(topology_n_cpus(&t), cases[i].n_cpus);
		check_formats_as(&t, cases[i].text);
	}
}

static void test_parse_presets_are_what_their_table_says(void **state UNUSED)
{
	struct topology t = parse("numa4-12llc");

	assert_int_equal(topology_n_presets, 24);
	check_formats_as(&t, "4,12,8,2");
	for (size_t i = 0; i < topology_n_presets; i++) {
		const struct topology_preset *p = &topology_presets[i];
		assert_ptr_equal(topology_preset_find(p->name), p);
		t = parse(p->name);
		assert_int_equal(topology_n_cpus(&t), p->llcs * p->cores * p->threads);
		assert_int_equal(t.n_nodes, p->nodes);
	}
}

static void test_parse_explicit_every_key(void **state UNUSED)
{
	const char *text = "cores=2;threads=3;node=llcs:2,memory:512M;"
			   "node=llcs:1,latency_ns:90,bandwidth_mbs:200000;"
			   "node=llcs:0,memory:1G,latency_ns:300,bandwidth_mbs:20000,cache:64M,"
			   "cache_line:128,cache_indexing:complex,cache_policy:through;"
			   "distances=10,21,30/21,10,17/30,17,10";
	const struct topology t = parse(text);

	assert_int_equal(t.n_nodes, 3);
	assert_int_equal(t.n_llcs, 3);
	assert_int_equal(t.cores_per_llc, 2);
	assert_int_equal(t.threads_per_core, 3);
	assert_int_equal(t.nodes[0].memory, 512 * MIB);
	assert_int_equal(t.nodes[0].cache.size, 0);
	assert_int_equal(t.nodes[1].memory, 0);
	assert_int_equal(t.nodes[1].latency_ns, 90);
	assert_int_equal(t.nodes[1].bandwidth_mbs, 200000);
	assert_int_equal(t.nodes[2].n_llcs, 0);
	assert_int_equal(t.nodes[2].cache.size, 64 * MIB);
	assert_int_equal(t.nodes[2].cache.line, 128);
	assert_int_equal(t.nodes[2].cache.indexing, TOPOLOGY_CACHE_COMPLEX);
	assert_int_equal(t.nodes[2].cache.policy, TOPOLOGY_CACHE_WRITE_THROUGH);
	assert_int_equal(t.distances[0][2], 30);
	assert_int_equal(t.distances[2][1], 17);
	check_formats_as(&t, text);
}

static void test_parse_explicit_defaults(void **state UNUSED)
{
	const struct topology t = parse("node=llcs:1,cache:1m;node=memory:2m");

	assert_int_equal(topology_n_cpus(&t), 1);
	assert_int_equal(t.nodes[0].cache.line, 64);
	assert_int_equal(t.distances[0][1], 20);
	assert_int_equal(t.nodes[1].memory, 2 * MIB);
	check_formats_as(&t, "cores=1;threads=1;node=llcs:1,cache:1M;node=llcs:0,memory:2M;"
			     "distances=10,20/20,10");
}

static void test_format_explicit_that_says_no_more_is_four_numbers(void **state UNUSED)
{
	const struct topology t = parse("cores=3;node=llcs:2;node=llcs:1;distances=10,20/20,10");

	check_formats_as(&t, "2,3,3,1");
}

static const struct {
	const char *text, *says;
	enum error_class class;
} mistakes[] = {
	{ "", "four numbers", ERROR_USAGE },
	{ "1", "four numbers", ERROR_USAGE },
	{ "1,1,1", "four numbers", ERROR_USAGE },
	{ "1,1,1,1,1", "four numbers", ERROR_USAGE },
	{ "1,1,1,1,", "four numbers", ERROR_USAGE },
	{ ",,,", "numa_nodes", ERROR_USAGE },
	{ "0,1,1,1", "numa_nodes", ERROR_USAGE },
	{ "1,0,1,1", "llcs", ERROR_USAGE },
	{ "1,1,0,1", "cores_per_llc", ERROR_USAGE },
	{ "1,1,1,0", "threads_per_core", ERROR_USAGE },
	{ "2,1,4,1", "2 NUMA nodes need at least as many LLCs", ERROR_USAGE },
	{ "65,65,1,1", "65 NUMA nodes", ERROR_UNREPRESENTABLE },
	{ "1,1,4097,1", "4096 CPUs", ERROR_UNREPRESENTABLE },
	{ "1,1,4294967296,1", "cores_per_llc", ERROR_USAGE },
	{ "1,1,1,11111111111111111111111111", "threads_per_core", ERROR_USAGE },
	{ "1,1,1,x", "preset", ERROR_USAGE },
	{ "1,1, 1,1", "preset", ERROR_USAGE },
	{ "huge-1llc", "'huge-1llc' is neither", ERROR_USAGE },
	{ "sockets=2", "'sockets': unknown part", ERROR_USAGE },
	{ "cores=2", "no NUMA node", ERROR_USAGE },
	{ "cores=0;node=llcs:1", "cores: 0", ERROR_USAGE },
	{ "cores=;node=llcs:1", "cores: ''", ERROR_USAGE },
	{ "cores=2;cores=2;node=llcs:1", "cores is given twice", ERROR_USAGE },
	{ "threads=2;threads=2;node=llcs:1", "threads is given twice", ERROR_USAGE },
	{ "node=llcs:1;;cores=2", "a ';' too many", ERROR_USAGE },
	{ "node=llcs:1;", "a ';' too many", ERROR_USAGE },
	{ ";", "a ';' too many", ERROR_USAGE },
	{ "node=", "node 0: '' is not KEY:VALUE", ERROR_USAGE },
	{ "node=llcs", "node 0: 'llcs' is not KEY:VALUE", ERROR_USAGE },
	{ "node=llcs:", "node 0: llcs: ''", ERROR_USAGE },
	{ "node=llcs:-1", "node 0: llcs: '-1'", ERROR_USAGE },
	{ "node=llcs:1,llcs:1", "node 0: llcs is given twice", ERROR_USAGE },
	{ "node=llcs:1;node=size:1M", "node 1: 'size': unknown key", ERROR_USAGE },
	{ "node=llcs:1,memory:512", "node 0: memory: '512' is no size", ERROR_USAGE },
	{ "node=llcs:1,memory:", "node 0: memory: ''", ERROR_USAGE },
	{ "node=llcs:1,memory:M", "node 0: memory: ''", ERROR_USAGE },
	{ "node=llcs:1,memory:0M", "node 0: memory: 0", ERROR_USAGE },
	{ "node=llcs:1,memory:1M", "node 0: memory of 1024 KiB", ERROR_USAGE },
	{ "node=llcs:1,memory:9999999999T", "node 0: memory", ERROR_USAGE },
	{ "node=llcs:1,memory:4097T", "node 0: memory: 4097 is not in the range 1 to 4096",
	  ERROR_USAGE },
	{ "node=llcs:1,memory:16777216T", "node 0: memory", ERROR_USAGE },
	{ "node=llcs:1,latency_ns:0", "node 0: latency_ns: 0", ERROR_USAGE },
	{ "node=llcs:1,latency_ns:65535", "65535 ns", ERROR_UNREPRESENTABLE },
	{ "node=llcs:1,bandwidth_mbs:1.5", "node 0: bandwidth_mbs: '1.5'", ERROR_USAGE },
	{ "node=llcs:1,cache:1", "node 0: cache: '1'", ERROR_USAGE },
	{ "node=llcs:1,cache_line:64", "without cache:SIZE", ERROR_USAGE },
	{ "node=llcs:1,cache:1M,cache_line:65", "line of 65 bytes", ERROR_USAGE },
	{ "node=llcs:1,cache:1M,cache_indexing:hash", "neither 'direct' nor 'complex'",
	  ERROR_USAGE },
	{ "node=llcs:1,cache:1M,cache_policy:wb", "neither 'back' nor 'through'", ERROR_USAGE },
	{ "node=memory:2M", "no CPU", ERROR_USAGE },
	{ "node=memory:2M;node=llcs:1", "node 0 has no LLC but node 1 has", ERROR_USAGE },
	{ "distances=10;node=llcs:1", "more rows than the 0 nodes before them", ERROR_USAGE },
	{ "node=llcs:1;distances=", "distances: node 0 to node 0: ''", ERROR_USAGE },
	{ "node=llcs:1;distances=11", "node 0 to itself is 11", ERROR_USAGE },
	{ "node=llcs:1;distances=10,20", "row of node 0 has more than the 1", ERROR_USAGE },
	{ "node=llcs:1;distances=10/20", "more rows than the 1 nodes", ERROR_USAGE },
	{ "node=llcs:1;node=memory:2M;distances=10,20", "1 rows, there are 2", ERROR_USAGE },
	{ "node=llcs:1;node=memory:2M;distances=10,20/20", "node 1 has 1 numbers", ERROR_USAGE },
	{ "node=llcs:1;node=memory:2M;distances=10,20/21,10", "node 0 to node 1 is 20, but",
	  ERROR_USAGE },
	{ "node=llcs:1;node=memory:2M;distances=10,256/256,10", "distances: node 0 to node 1: 256",
	  ERROR_USAGE },
	{ "node=llcs:1;node=memory:2M;distances=10,20/x,10", "distances: node 1 to node 0: 'x'",
	  ERROR_USAGE },
	{ "node=llcs:1;node=memory:2M;distances=10,255/255,10", "must be 11 to 254", ERROR_USAGE },
	{ "node=llcs:1;distances=10;distances=10", "behind distances", ERROR_USAGE },
	{ "node=llcs:1;distances=10;node=memory:2M", "behind distances", ERROR_USAGE },
	{ "cores=4097;node=llcs:1", "4096 CPUs", ERROR_UNREPRESENTABLE },
	{ "node=llcs:67108863;node=llcs:67108863", "4096 CPUs", ERROR_UNREPRESENTABLE },
};

static void test_parse_mistakes_are_named(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		struct topology t = { .n_nodes = 77 };
		struct error err;

		assert_true(topology_parse(mistakes[i].text, &t, &err) < 0);
		if (!strstr(err.text, mistakes[i].says) || err.class != mistakes[i].class)
			fail_msg("'%s': %s (class %d)", mistakes[i].text, err.text, (int)err.class);
		assert_int_equal(t.n_nodes, 77);
	}
}

static void test_parse_more_nodes_than_a_machine_has(void **state UNUSED)
{
	struct buf text = { 0 };
	struct topology t;
	struct error err;

	for (int i = 0; i <= TOPOLOGY_MAX_NODES; i++)
		buf_append_str(&text, i ? ";node=llcs:1" : "node=llcs:1");
	assert_true(topology_parse(buf_str(&text), &t, &err) < 0);
	assert_int_equal(err.class, ERROR_UNREPRESENTABLE);
	buf_fini(&text);
}

static void test_format_thousands_of_topologies_read_back_as_they_are(void **state UNUSED)
{
	struct random r = { 3 };

	for (int i = 0; i < 5000; i++) {
		const struct topology t = random_topology(&r, TOPOLOGY_MAX_CPUS);
		struct buf text = { 0 };

		topology_format(&t, &text);
		const struct topology back = parse(buf_str(&text));
		assert_memory_equal(&t, &back, sizeof(t));
		buf_fini(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_four_numbers),
		cmocka_unit_test(test_parse_presets_are_what_their_table_says),
		cmocka_unit_test(test_parse_explicit_every_key),
		cmocka_unit_test(test_parse_explicit_defaults),
		cmocka_unit_test(test_format_explicit_that_says_no_more_is_four_numbers),
		cmocka_unit_test(test_parse_mistakes_are_named),
		cmocka_unit_test(test_parse_more_nodes_than_a_machine_has),
		cmocka_unit_test(test_format_thousands_of_topologies_read_back_as_they_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
