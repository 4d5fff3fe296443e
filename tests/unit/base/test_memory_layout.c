/* Where the nodes' memory lies, on the address space of an x86 machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
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
	l = make(&t, 2 * MIB);
	assert_int_equal(l.n_ranges, 1);
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
	check_fails(&t, 4 * MIB, "2 MiB for node 0: each of the 3 nodes needs 4 MiB at least");
	check_fails(&t, 10 * MIB, "2 MiB for node 2");
	check_fails(&t, 1ull << 46, "addresses end");
	t.nodes[1].memory = 3 * MIB;
	check_fails(&t, 16 * MIB, "node 1");
	t.nodes[1].memory = 16 * MIB;
	check_fails(&t, 16 * MIB, "adds up to 16 MiB, all there is");
	check_fails(&t, 14 * MIB, "adds up to 16 MiB, but");
	t.nodes[1].memory = 2 * MIB;
	check_fails(&t, 32 * MIB, "2 MiB for node 1");
	t.nodes[1].memory = 16 * MIB;
	t.nodes[0].memory = t.nodes[2].memory = 16 * MIB;
	check_fails(&t, 64 * MIB, "adds up to 48 MiB");
	t.nodes[0].memory = t.nodes[2].memory = UINT64_MAX - 2 * MIB + 1;
	check_fails(&t, 64 * MIB, "adds up to");
}

/* Uniform or not, with sizes of their own or not, with nodes without CPUs; returns its memory. */
static uint64_t random_machine(struct topology *t)
{
	uint32_t nodes = 1 + (uint32_t)random() % TOPOLOGY_MAX_NODES;
	uint64_t unit = TOPOLOGY_MEMORY_UNIT, own = 0;
	uint32_t sharers = 0;

	*t = topology_uniform(nodes, nodes, 1, 1);
	for (uint32_t i = 0; i < nodes; i++) {
		if (random() % 3)
			t->nodes[i].memory =
			    unit * (2 + (uint64_t)random() % (random() % 8 ? 1000 : 100000));
		if (i && random() % 4 == 0)
			t->nodes[i].n_llcs = 0;
		own += t->nodes[i].memory;
		sharers += !t->nodes[i].memory;
	}
	return own + (sharers ? unit * (2 * sharers + (uint64_t)random() % 5000) : 0);
}

static void check_random_layout(const struct topology *t, uint64_t bytes)
{
	struct memory_layout l = make(t, bytes);
	uint64_t end = 0, sum = 0, least = UINT64_MAX, most = 0;
	uint32_t node = 0;

	assert_true(l.n_ranges <= MEMORY_LAYOUT_MAX_RANGES);
	for (size_t i = 0; i < l.n_ranges; i++) {
		const struct memory_range *r = &l.ranges[i];

		assert_true(r->len && r->len % TOPOLOGY_MEMORY_UNIT == 0);
		/* Each begins where the one before it ended, but for the gap. */
		assert_true(r->gpa == end || (end == pc.gap_start && r->gpa == pc.gap_end));
		assert_true(r->gpa + r->len <= pc.gap_start || r->gpa >= pc.gap_end);
		assert_true(r->node == node || r->node == node + 1);
		node = r->node;
		end = r->gpa + r->len;
		sum += r->len;
	}
	assert_int_equal(sum, bytes);
	assert_int_equal(end, memory_layout_end(&l));
	assert_int_equal(node, t->n_nodes - 1);
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		uint64_t has = memory_layout_node_bytes(&l, i);

		if (t->nodes[i].memory) {
			assert_int_equal(has, t->nodes[i].memory);
			continue;
		}
		least = num_min(least, has);
		most = num_max(most, has);
	}
	assert_true(most == 0 || most - least <= TOPOLOGY_MEMORY_UNIT);
}

static void test_make_random_machines_keep_every_rule(void **state)
{
	srandom(1);
	for (unsigned i = 0; i < 20000; i++) {
		struct topology t;
		uint64_t bytes = random_machine(&t);

		check_random_layout(&t, bytes);
	}
}

/* The last byte that fits, and one unit more. */
static void test_make_ends_with_the_space(void **state)
{
	const struct topology t = topology_uniform(3, 3, 1, 1);
	uint64_t room = pc.limit - GIB;
	struct memory_layout l = make(&t, room);
	struct error err;

	assert_int_equal(memory_layout_end(&l), pc.limit);
	assert_int_equal(memory_layout_make(&t, room + TOPOLOGY_MEMORY_UNIT, &pc, &l, &err),
			 -ERANGE);
	assert_non_null(strstr(err.text, "67108864 MiB"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make_one_node_below_and_across_the_gap),
		cmocka_unit_test(test_make_shares_give_the_first_nodes_a_unit_more),
		cmocka_unit_test(test_make_the_gap_splits_the_node_that_reaches_it),
		cmocka_unit_test(test_make_own_sizes_first_the_rest_is_shared),
		cmocka_unit_test(test_make_impossible_sizes_are_named),
		cmocka_unit_test(test_make_random_machines_keep_every_rule),
		cmocka_unit_test(test_make_ends_with_the_space),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
