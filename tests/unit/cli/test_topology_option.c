/* --topology as a file, and the memory that goes with a topology. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"
#include "base/topology_text.h"
#include "cli/topology_option.h"

/* "@PATH" of a file with @content; the caller removes the file and frees. */
static char *file_with(const char *content)
{
	char path[] = "/tmp/ktstr-test-topology-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, content, strlen(content)), 0);
	fd_close(fd);
	return xasprintf("@%s", path);
}

static int parse_file(const char *content, struct topology *ret, struct error *err)
{
	CLEANUP(freep) char *arg = file_with(content);
	int res = topology_option_parse(arg, ret, err);

	assert_int_equal(unlink(arg + 1), 0);
	return res;
}

static void test_parse_file_is_a_declaration(void **state UNUSED)
{
	struct topology t;
	struct error err;

	assert_int_equal(parse_file("{\"cores\": 2, \"nodes\": [{\"llcs\": 2},"
				    " {\"memory\": \"1G\", \"latency_ns\": 300}],\n"
				    " \"distances\": [[10, 30], [30, 10]]}",
				    &t, &err),
			 0);
	assert_int_equal(topology_n_cpus(&t), 4);
	assert_int_equal(t.nodes[1].latency_ns, 300);
	assert_int_equal(t.distances[0][1], 30);
}

static void test_parse_file_errors_say_where(void **state UNUSED)
{
	static const struct {
		const char *content, *says;
		enum error_class class;
	} cases[] = {
		{ "", "line 1", ERROR_USAGE },
		{ "{\n\"nodes\": ]}", "line 2", ERROR_USAGE },
		{ "{\"cores\": 1, \"cores\": 2}", "duplicate", ERROR_USAGE },
		{ "{} {}", "line 1", ERROR_USAGE },
		{ "{\"nodes\": []}", "nodes: not an array", ERROR_USAGE },
		{ "{}", "nodes: missing", ERROR_USAGE },
		{ "{\"nodes\": [{\"llcs\": 1}, {\"llcs\": 1}], \"distances\": [[10, 2.5], [20, "
		  "10]]}",
		  "node 0 to node 1: distances: neither", ERROR_USAGE },
		{ "{\"nodes\": [{\"llcs\": 1, \"size\": 1}]}", "node 0: 'size': unknown key",
		  ERROR_USAGE },
		{ "{\"nodes\": [{\"llcs\": 5000}]}", "at most 4096 CPUs", ERROR_UNREPRESENTABLE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct topology t;
		struct error err;

		assert_true(parse_file(cases[i].content, &t, &err) < 0);
		assert_int_equal(err.class, cases[i].class);
		if (!strstr(err.text, cases[i].says) || !strstr(err.text, "/tmp/ktstr-test-") ||
		    !strstr(err.text, "--topology"))
			fail_msg("%s: %s", cases[i].content, err.text);
	}
}

static void test_parse_file_missing_or_no_file(void **state UNUSED)
{
	struct topology t;
	struct error err;

	assert_true(topology_option_parse("@/no/such/file", &t, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "/no/such/file"));
	assert_true(topology_option_parse("@/dev/zero", &t, &err) < 0);
	assert_true(topology_option_parse("@", &t, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
}

static void test_memory_is_given_or_the_nodes_own_or_the_default(void **state UNUSED)
{
	static const struct {
		const char *topology;
		uint64_t given, want; /* 0: error */
	} cases[] = {
		{ "1,1,1,1", 0, 512 },
		{ "1,1,1,1", 3, 0 },
		{ "1,1,1,1", 1024, 1024 },
		{ "node=llcs:1,memory:1G;node=memory:256M", 0, 1280 },
		{ "node=llcs:1,memory:1G;node=memory:256M", 1280, 1280 },
		{ "node=llcs:1,memory:1G;node=memory:256M", 1282, 0 },
		{ "node=llcs:1,memory:1G;node=memory:256M", 512, 0 },
		{ "node=llcs:1,memory:1G;node=llcs:1", 0, 1536 },
		{ "node=llcs:1,memory:1G;node=llcs:1", 2048, 2048 },
		{ "node=llcs:1,memory:1G;node=llcs:1", 1024, 0 },
		{ "4,4,1,1", 6, 0 },
		{ "node=llcs:1,memory:4096T", 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct memory_layout memory;
		struct topology t;
		struct error err;
		uint64_t mib = 0;

		assert_int_equal(topology_option_parse(cases[i].topology, &t, &err), 0);
		int res = topology_option_memory(&t, cases[i].given, &mib, &memory, &err);
		assert_int_equal(mib, cases[i].want);
		assert_int_equal(res < 0, cases[i].want == 0);
		if (res < 0) {
			assert_int_equal(err.class, ERROR_USAGE);
			assert_non_null(
			    strstr(err.text, cases[i].given ? "--memory" : "--topology"));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_file_is_a_declaration),
		cmocka_unit_test(test_parse_file_errors_say_where),
		cmocka_unit_test(test_parse_file_missing_or_no_file),
		cmocka_unit_test(test_memory_is_given_or_the_nodes_own_or_the_default),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
