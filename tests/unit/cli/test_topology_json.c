/* Declarations as JSON: both ways for thousands of topologies, and what is no declaration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "arch/arch.h"
#include "base/num.h"
#include "base/topology_text.h"
#include "cli/topology_json.h"
#include "support/topologies.h"

static void test_declaration_thousands_of_topologies_read_back_as_they_are(void **state UNUSED)
{
	struct random r = { 6 };

	for (int i = 0; i < 2000; i++) {
		const struct topology t = random_topology(&r, TOPOLOGY_MAX_CPUS);
		struct buf text = { 0 };
		struct topology back;
		struct error err;
		json_t *doc = topology_json_declaration(&t);

		assert_int_equal(topology_json_text(doc, &text, &err), 0);
		if (topology_parse(buf_str(&text), &back, &err) < 0)
			fail_msg("%s: %s", buf_str(&text), err.text);
		assert_memory_equal(&t, &back, sizeof(t));
		buf_fini(&text);
		json_decref(doc);
	}
}

static void test_text_what_is_no_declaration_is_named(void **state UNUSED)
{
	static const struct {
		const char *json, *says;
	} cases[] = {
		{ "[]", "not a JSON object" },
		{ "{\"sockets\": 1}", "'sockets': unknown" },
		{ "{}", "nodes: missing" },
		{ "{\"nodes\": 2}", "nodes: not an array" },
		{ "{\"nodes\": [1]}", "nodes: member 0 is no object" },
		{ "{\"nodes\": [{\"llcs\": 1}, {}]}", "nodes: member 1 is no object" },
		{ "{\"nodes\": [{\"llcs\": 1.5}]}", "node 0: llcs: neither" },
		{ "{\"nodes\": [{\"llcs\": null}]}", "node 0: llcs: neither" },
		{ "{\"nodes\": [{\"memory\": \"1G,llcs:7\"}]}", "node 0: memory: neither" },
		{ "{\"nodes\": [{\"memory\": \"\"}]}", "node 0: memory: neither" },
		{ "{\"nodes\": [{\"llcs:1,memory\": \"2M\"}]}",
		  "node 0: 'llcs:1,memory': unknown" },
		{ "{\"nodes\": [{\"\": 1}]}", "node 0: ''" },
		{ "{\"cores\": [2], \"nodes\": [{\"llcs\": 1}]}", "cores: neither" },
		{ "{\"threads\": \"2;cores\", \"nodes\": [{\"llcs\": 1}]}", "threads: neither" },
		{ "{\"nodes\": [{\"llcs\": 1}], \"distances\": 10}", "distances: not an array" },
		{ "{\"nodes\": [{\"llcs\": 1}], \"distances\": []}", "distances: not an array" },
		{ "{\"nodes\": [{\"llcs\": 1}], \"distances\": [10]}", "row of node 0" },
		{ "{\"nodes\": [{\"llcs\": 1}], \"distances\": [[]]}", "row of node 0" },
		{ "{\"nodes\": [{\"llcs\": 1}], \"distances\": [[true]]}", "distances: neither" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *doc = json_loads(cases[i].json, 0, NULL);
		struct buf text = { 0 };
		struct error err;

		assert_non_null(doc);
		assert_true(topology_json_text(doc, &text, &err) < 0);
		assert_int_equal(err.class, ERROR_USAGE);
		if (!strstr(err.text, cases[i].says))
			fail_msg("%s: %s", cases[i].json, err.text);
		buf_fini(&text);
		json_decref(doc);
	}
}

static json_int_t number(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	assert_true(json_is_integer(v));
	return json_integer_value(v);
}

static const char *string(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	assert_non_null(s);
	return s;
}

static void test_document_shows_cpus_llcs_and_nodes(void **state UNUSED)
{
	struct memory_layout memory;
	struct topology t;
	struct error err;

	assert_int_equal(topology_parse("cores=3;threads=2;node=llcs:2,memory:4G;"
					"node=memory:1G,latency_ns:300",
					&t, &err),
			 0);
	assert_int_equal(memory_layout_make(&t, 5 * GIB, &arch_memory_space, &memory, &err), 0);
	json_t *doc = topology_json_document(&t, &memory);
	const json_t *cpus = json_object_get(doc, "cpus"), *nodes = json_object_get(doc, "nodes");
	const json_t *last = json_array_get(cpus, 11), *cxl = json_array_get(nodes, 1);

	assert_int_equal(number(doc, "n_cpus"), 12);
	assert_int_equal(json_array_size(cpus), 12);
	assert_int_equal(number(last, "llc"), 1);
	assert_int_equal(number(last, "core"), 2);
	assert_int_equal(number(last, "thread"), 1);
	assert_int_equal(number(last, "apic_id"), 1 << 3 | 2 << 1 | 1);
	assert_string_equal(string(json_array_get(json_object_get(doc, "llcs"), 1), "cpus"),
			    "6-11");
	assert_string_equal(string(json_array_get(nodes, 0), "cpus"), "0-11");
	assert_int_equal(json_array_size(json_object_get(json_array_get(nodes, 0), "memory")), 2);
	assert_string_equal(string(cxl, "cpus"), "");
	assert_int_equal(number(cxl, "memory_mib"), 1024);
	assert_int_equal(number(cxl, "latency_ns"), 300);
	assert_int_equal(number(cxl, "initiator"), 0);
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_declaration_thousands_of_topologies_read_back_as_they_are),
		cmocka_unit_test(test_text_what_is_no_declaration_is_named),
		cmocka_unit_test(test_document_shows_cpus_llcs_and_nodes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
