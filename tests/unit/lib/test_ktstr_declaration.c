/* Declarations: which are refused and why, and that the list has all of a good one. */
#include "ktstr_declaration.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void run(struct ktstr *t UNUSED)
{
}

static void test_topologies(void **state)
{
	static const struct {
		const char *text;
		struct ktstr_topology topology; /* nodes 0: refused */
	} cases[] = {
		{ "1,1,1,1", { 1, 1, 1, 1 } },
		{ "2,4,3,2", { 2, 4, 3, 2 } },
		{ "1,4096,1,1", { 1, 4096, 1, 1 } },
		{ "", { 0 } },
		{ "1,1,1", { 0 } },
		{ "1,1,1,1,1", { 0 } },
		{ "1,1,1,0", { 0 } },
		{ "1,1,1,1 ", { 0 } },
		{ " 1,1,1,1", { 0 } },
		{ "1,1,-1,1", { 0 } },
		{ "1,1,+1,1", { 0 } },
		{ "2,1,1,1", { 2, 1, 1, 1 } }, /* a node of memory only */
		{ "node=llcs:1", { 0 } },
		{ "1,64,64,2", { 0 } },
		{ "1,1,1,4097", { 0 } },
		{ "1,18446744073709551617,1,1", { 0 } },
		{ "x", { 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ktstr_topology got = { 9, 9, 9, 9 };
		bool good = ktstr_declaration_parse_topology(cases[i].text, &got);
		assert_int_equal(good, cases[i].topology.nodes != 0);
		if (good)
			assert_memory_equal(&got, &cases[i].topology, sizeof(got));
		else
			assert_int_equal(got.nodes, 9);
	}
}

static void expect_refused(const struct ktstr_test *tests, const char *name, const char *why)
{
	char text[400] = "";
	FILE *f = fmemopen(text, sizeof(text), "w");

	assert_non_null(f);
	assert_false(ktstr_declaration_check(tests, f));
	assert_int_equal(fclose(f), 0);
	if (!strstr(text, name) || !strstr(text, why) || text[strcspn(text, "\n") + 1] != '\0')
		fail_msg("wanted one line with '%s' and '%s': %s", name, why, text);
}

static void test_mistakes_are_told(void **state)
{
	char too_long[200];
	memset(too_long, 'n', sizeof(too_long));
	too_long[128] = '\0';
	const struct {
		struct ktstr_test test;
		const char *why;
	} cases[] = {
		{ { .name = "", .run = run }, "its name" },
		{ { .name = "with space", .run = run }, "its name" },
		{ { .name = "-option", .run = run }, "its name" },
		{ { .name = "/absolute", .run = run }, "its name" },
		{ { .name = "gr\xc3\xbcn", .run = run }, "its name" },
		{ { .name = too_long, .run = run }, "its name" },
		{ { .name = "good", .run = run }, "same name" },
		{ { .name = "x" }, "no function" },
		{ { .name = "x", .run = run, .topology = "4" }, "topology" },
		{ { .name = "x", .run = run, .perf = true, .cpu_cap = 1 }, "exclude" },
		{ { .name = "x", .run = run, .disk_fs = "ext4" }, "no disk" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct ktstr_test tests[] = { { .name = "good", .run = run },
						    cases[i].test,
						    { 0 } };
		expect_refused(tests, cases[i].test.name, cases[i].why);
	}
}

static const struct ktstr_test declared[] = {
	{ .name = "plain", .run = run },
	{ .name = "a/b-c_d.9",
	  .run = run,
	  .summary = "says \"quote\"\nand \xff",
	  .topology = "1,2,3,1",
	  .memory_mib = 4294967295,
	  .timeout_s = 30,
	  .cpu_cap = 2,
	  .disk_mib = 64,
	  .disk_fs = "ext4",
	  .net = true,
	  .vm_only = true },
	{ .name = "fast", .run = run, .topology = "a-preset", .perf = true },
	{ 0 },
};

/* The lines of the list of @tests, as an array. */
static json_t *list_of(const struct ktstr_test *tests)
{
	char *text = NULL, *save = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	json_t *lines = json_array();
	json_error_t why;

	assert_non_null(f);
	ktstr_declaration_list(tests, f);
	assert_int_equal(fclose(f), 0);
	assert_true(n > 0 && text[n - 1] == '\n');
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &why);
		if (!json_is_object(object))
			fail_msg("%s in: %s", why.text, line);
		json_array_append_new(lines, object);
	}
	free(text);
	return lines;
}

static void test_list_has_everything_declared_and_nothing_else(void **state)
{
	json_t *lines = list_of(declared);
	json_t *wanted = json_pack(
	    "[{s:i, s:i}, {s:s}, {s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:s, s:b, s:b}, {s:s, s:s, "
	    "s:b}]",
	    "ktstr_list", 1, "n_tests", 3, "name", "plain", "name", "a/b-c_d.9", "summary",
	    "says \"quote\"\nand \xef\xbf\xbd", "topology", "1,2,3,1", "memory_mib",
	    (json_int_t)4294967295, "timeout_s", 30, "cpu_cap", 2, "disk_mib", 64, "disk_fs",
	    "ext4", "net", 1, "vm_only", 1, "name", "fast", "topology", "a-preset", "perf", 1);

	assert_non_null(wanted);
	if (!json_equal(lines, wanted))
		fail_msg("%s", json_dumps(lines, JSON_INDENT(1)));
	json_decref(lines);
	json_decref(wanted);
	assert_true(ktstr_declaration_check(declared, stderr));
}

static void test_empty_list_says_so(void **state)
{
	const struct ktstr_test none[] = { { 0 } };
	json_t *lines = list_of(none);

	assert_int_equal(json_array_size(lines), 1);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(lines, 0), "n_tests")),
			 0);
	json_decref(lines);
}

static void test_find(void **state)
{
	assert_ptr_equal(ktstr_declaration_find(declared, "fast"), &declared[2]);
	assert_null(ktstr_declaration_find(declared, "fas"));
	assert_null(ktstr_declaration_find(declared, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_topologies),
		cmocka_unit_test(test_mistakes_are_told),
		cmocka_unit_test(test_list_has_everything_declared_and_nothing_else),
		cmocka_unit_test(test_empty_list_says_so),
		cmocka_unit_test(test_find),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
