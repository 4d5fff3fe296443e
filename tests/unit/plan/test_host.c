/* How CPUs become LLCs and nodes: numbers, votes, distances. */
#include "plan/host.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "hosts.h"

static struct host *make(struct host_cpu_desc *cpus, uint32_t n)
{
	struct host_desc desc = { .cpus = cpus, .n_cpus = n };
	struct host *h;
	struct error err;

	assert_int_equal(host_new(&desc, &h, &err), 0);
	return h;
}

static void test_llcs_are_numbered_by_their_lowest_cpu(void **state UNUSED)
{
	struct host_cpu_desc cpus[] = {
		{ .cpu = 9, .llc_key = 1, .core_key = 9 },
		{ .cpu = 2, .llc_key = 7, .core_key = 2 },
		{ .cpu = 4, .llc_key = 1, .core_key = 4 },
		{ .cpu = 5, .llc_key = 3, .core_key = 5 },
	};
	struct host *h = make(cpus, ARRAY_SIZE(cpus));

	assert_int_equal(h->n_llcs, 3);
	assert_int_equal(h->n_ids, 10);
	assert_int_equal(h->cpus[2].llc, 0);
	assert_int_equal(h->cpus[4].llc, 1);
	assert_int_equal(h->cpus[9].llc, 1);
	assert_int_equal(h->cpus[5].llc, 2);
	assert_int_equal(h->cpus[3].llc, HOST_NO_LLC);
	assert_int_equal(h->order[h->llcs[1].first], 4);
	assert_int_equal(h->order[h->llcs[1].first + 1], 9);
	(void)host_free(h);
}

static void test_allowed_cpus_change_no_llc_number(void **state UNUSED)
{
	struct host_cpu_desc cpus[] = { { .cpu = 0, .llc_key = 1 }, { .cpu = 1, .llc_key = 2 } };
	struct id_set allowed = { 0 };
	struct host_desc desc = { .cpus = cpus, .n_cpus = 2, .allowed = &allowed };
	struct error err;
	struct host *h;

	id_set_add(&allowed, 1);
	id_set_add(&allowed, 77); /* not online */
	assert_int_equal(host_new(&desc, &h, &err), 0);
	assert_int_equal(h->cpus[1].llc, 1);
	assert_int_equal(id_set_count(&h->allowed), 1);
	(void)host_free(h);
}

static void test_nothing_allowed_or_a_cpu_twice_is_an_error(void **state UNUSED)
{
	struct host_cpu_desc cpus[] = { { .cpu = 0 }, { .cpu = 0 } };
	struct id_set allowed = { 0 };
	struct host_desc desc = { .cpus = cpus, .n_cpus = 1, .allowed = &allowed };
	struct error err;
	struct host *h;

	assert_true(host_new(&desc, &h, &err) < 0);
	desc.allowed = NULL;
	desc.n_cpus = 2;
	assert_true(host_new(&desc, &h, &err) < 0);
}

static void test_llc_belongs_to_the_node_of_most_and_to_the_lowest_of_equals(void **state UNUSED)
{
	struct host_cpu_desc cpus[] = {
		/* LLC 0: 2 to 1; LLC 1: a tie */
		{ .cpu = 0, .llc_key = 0, .node_os_id = 8 },
		{ .cpu = 1, .llc_key = 0, .node_os_id = 8 },
		{ .cpu = 2, .llc_key = 0, .node_os_id = 3 },
		{ .cpu = 3, .llc_key = 1, .node_os_id = 8 },
		{ .cpu = 4, .llc_key = 1, .node_os_id = 3 },
	};
	struct host *h = make(cpus, ARRAY_SIZE(cpus));

	assert_int_equal(h->n_nodes, 2);
	assert_int_equal(h->nodes[0].os_id, 3);
	assert_int_equal(h->nodes[h->llcs[0].node].os_id, 8);
	assert_int_equal(h->nodes[h->llcs[1].node].os_id, 3);
	assert_int_equal(h->nodes[0].n_llcs, 1);
	(void)host_free(h);
}

static void test_threads_of_a_core_stand_together(void **state UNUSED)
{
	struct host *h = host_regular(1, 1, 3, 2, true); /* cores 0,3 1,4 2,5 */
	static const uint32_t want[] = { 0, 3, 1, 4, 2, 5 };

	assert_memory_equal(h->order, want, sizeof(want));
	assert_int_equal(h->cpus[3].core, h->cpus[0].core);
	assert_int_not_equal(h->cpus[1].core, h->cpus[0].core);
	(void)host_free(h);
}

static void test_distances_default_to_10_and_20(void **state UNUSED)
{
	struct host *h = host_regular(3, 1, 1, 1, false);
	uint32_t order[3];

	assert_int_equal(host_distance(h, 1, 1), 10);
	assert_int_equal(host_distance(h, 1, 2), 20);
	host_nodes_by_distance(h, 1, order);
	assert_int_equal(order[0], 1);
	assert_int_equal(order[1], 0);
	assert_int_equal(order[2], 2);
	(void)host_free(h);
}

static void test_unreachable_nodes_are_last_and_nodes_without_cpus_are_left_out(void **state UNUSED)
{
	struct host_cpu_desc cpus[] = { { .cpu = 0, .llc_key = 0, .node_os_id = 0 },
					{ .cpu = 1, .llc_key = 1, .node_os_id = 1 },
					{ .cpu = 2, .llc_key = 2, .node_os_id = 4 } };
	static const uint32_t ids[] = { 0, 1, 2, 4 }; /* 2: memory only */
	static const uint8_t distances[] = { 10, 255, 12, 31, 255, 10, 12, 40,
					     12, 12,  10, 12, 31,  40, 12, 10 };
	struct host_desc desc = {
		.cpus = cpus, .n_cpus = 3, .node_os_ids = ids, .distances = distances, .n_nodes = 4
	};
	struct error err;
	struct host *h;
	uint32_t order[3];

	assert_int_equal(host_new(&desc, &h, &err), 0);
	assert_int_equal(host_distance(h, 0, 2), 31);
	host_nodes_by_distance(h, 0, order);
	assert_int_equal(order[0], 0);
	assert_int_equal(order[1], 2);
	assert_int_equal(order[2], 1);
	(void)host_free(h);
}

static void test_half_a_matrix_counts_as_none(void **state UNUSED)
{
	struct host_cpu_desc cpus[] = { { .cpu = 0, .node_os_id = 0 },
					{ .cpu = 1, .node_os_id = 1 } };
	static const uint32_t ids[] = { 0 };
	static const uint8_t distances[] = { 99 };
	struct host_desc desc = {
		.cpus = cpus, .n_cpus = 2, .node_os_ids = ids, .distances = distances, .n_nodes = 1
	};
	struct error err;
	struct host *h;

	assert_int_equal(host_new(&desc, &h, &err), 0);
	assert_int_equal(host_distance(h, 0, 0), 10);
	assert_int_equal(host_distance(h, 0, 1), 20);
	(void)host_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_llcs_are_numbered_by_their_lowest_cpu),
		cmocka_unit_test(test_allowed_cpus_change_no_llc_number),
		cmocka_unit_test(test_nothing_allowed_or_a_cpu_twice_is_an_error),
		cmocka_unit_test(test_llc_belongs_to_the_node_of_most_and_to_the_lowest_of_equals),
		cmocka_unit_test(test_threads_of_a_core_stand_together),
		cmocka_unit_test(test_distances_default_to_10_and_20),
		cmocka_unit_test(
		    test_unreachable_nodes_are_last_and_nodes_without_cpus_are_left_out),
		cmocka_unit_test(test_half_a_matrix_counts_as_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
