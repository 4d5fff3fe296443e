/* Where the nodes' memory lies, on the address space of an x86 machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/memory_layout.h"
#include "base/num.h"

static const struct memory_space pc = { 0, 3 * GIB, 4 * GIB, 1ull << 46 };

static struct memory_layout make(const struct topology *t, uint64_t bytes)
{
	struct memory_layout l;
	struct error err;

	if (memory_layout_make(t, bytes, &pc, &l, &err) < 0)
		fail_msg("%s", err.text);
	return l;
}

static void check_range(const struct memory_layout *l, size_t i, uint64_t gpa, uint64_t len,
			uint32_t node)
{
	assert_true(i < l->n_ranges);
	assert_int_equal(l->ranges[i].gpa, gpa);
	assert_int_equal(l->ranges[i].len, len);
	assert_int_equal(l->ranges[i].node, node);
}

static void test_make_one_node_below_and_across_the_gap(void **state)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	struct memory_layout l = make(&t, 512 * MIB);

	assert_int_equal(l.n_ranges, 1);
	check_range(&l, 0, 0, 512 * MIB, 0);
	l = make(&t, 3 * GIB);
	assert_int_equal(l.n_ranges, 1);
	l = make(&t, 3 * GIB + 2 * MIB);
	assert_int_equal(l.n_ranges, 2);
	check_range(&l, 0, 0, 3 * GIB, 0);
	check_range(&l, 1, 4 * GIB, 2 * MIB, 0);
	assert_int_equal(memory_layout_node_bytes(&l, 0), 3 * GIB + 2 * MIB);
}

static void test_make_shares_give_the_first_nodes_a_unit_more(void **state)
{
	const struct topology t = topology_uniform(3, 3, 1, 1);
	struct memory_layout l = make(&t, 16 * MIB);

	assert_int_equal(l.n_ranges, 3);
	check_range(&l, 0, 0, 6 * MIB, 0);
	check_range(&l, 1, 6 * MIB, 6 * MIB, 1);
	check_range(&l, 2, 12 * MIB, 4 * MIB, 2);
}

static void test_make_the_gap_splits_the_node_that_reaches_it(void **state)
{
	const struct topology t = topology_uniform(2, 2, 1, 1);
	struct memory_layout l = make(&t, 4 * GIB);

	assert_int_equal(l.n_ranges, 3);
	check_range(&l, 1, 2 * GIB, GIB, 1);
	check_range(&l, 2, 4 * GIB, GIB, 1);
	l = make(&t, 6 * GIB); /* a border at the gap */
	assert_int_equal(l.n_ranges, 2);
	check_range(&l, 1, 4 * GIB, 3 * GIB, 1);
}

static void test_make_own_sizes_first_the_rest_is_shared(void **state)
{
	struct topology t = topology_uniform(3, 3, 1, 1);

	t.nodes[1].memory = 64 * MIB;
	struct memory_layout l = make(&t, 128 * MIB);
	check_range(&l, 0, 0, 32 * MIB, 0);
	check_range(&l, 1, 32 * MIB, 64 * MIB, 1);
	check_range(&l, 2, 96 * MIB, 32 * MIB, 2);
}

static void check_fails(const struct topology *t, uint64_t bytes, const char *says)
{
	struct memory_layout l = { .n_ranges = 77 };
	struct error err;

	assert_true(memory_layout_make(t, bytes, &pc, &l, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	if (!strstr(err.text, says))
		fail_msg("%s", err.text);
	assert_int_equal(l.n_ranges, 77);
}

static void test_make_impossible_sizes_are_named(void **state)
{
	struct topology t = topology_uniform(3, 3, 1, 1);

	check_fails(&t, 0, "multiple of 2 MiB");
	check_fails(&t, 3 * MIB, "multiple of 2 MiB");
	check_fails(&t, 4 * MIB, "nothing for node 2");
	check_fails(&t, 1ull << 46, "addresses end");
	t.nodes[1].memory = 3 * MIB;
	check_fails(&t, 16 * MIB, "node 1");
	t.nodes[1].memory = 16 * MIB;
	check_fails(&t, 16 * MIB, "adds up to 16 MiB");
	t.nodes[0].memory = t.nodes[2].memory = 16 * MIB;
	check_fails(&t, 64 * MIB, "adds up to 48 MiB");
	t.nodes[0].memory = t.nodes[2].memory = UINT64_MAX - 2 * MIB + 1;
	check_fails(&t, 64 * MIB, "adds up to");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make_one_node_below_and_across_the_gap),
		cmocka_unit_test(test_make_shares_give_the_first_nodes_a_unit_more),
		cmocka_unit_test(test_make_the_gap_splits_the_node_that_reaches_it),
		cmocka_unit_test(test_make_own_sizes_first_the_rest_is_shared),
		cmocka_unit_test(test_make_impossible_sizes_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
