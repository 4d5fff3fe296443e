/* Sizes of guest memory: the budget, the default, the host. */
#include "cli/memory_size.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/num.h"

static const struct memory_need small = {
	.kernel_end = 60 * MIB, .packed = 2 * MIB, .unpacked = 4 * MIB, .n_cpus = 1
};

static void test_need_adds_up(void **state UNUSED)
{
	static const struct {
		struct memory_need need;
		uint64_t mib;
	} cases[] = {
		{ { 0, 0, 0, 1 }, 50 },                         /* 49 + 1/63 */
		{ { 60 * MIB, 2 * MIB, 4 * MIB, 1 }, 118 },     /* 115 + 2 */
		{ { 60 * MIB, 2 * MIB, 48 * MIB, 1 }, 162 },    /* 159 + 3 */
		{ { 60 * MIB, 100 * MIB, 200 * MIB, 4 }, 574 }, /* 564 + 9: tmpfs has half */
		{ { 60 * MIB, 2 * MIB, 4 * MIB, 256 }, 376 },   /* 370 + 6 */
		{ { 14 * MIB + 1, 0, 0, 0 }, 64 },              /* the last byte counts */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(memory_size_need_mib(&cases[i].need), cases[i].mib);
}

/* The unpacked files fit into half of what the kernel has left. */
static void test_need_leaves_room_for_the_files(void **state UNUSED)
{
	for (uint64_t unpacked = 0; unpacked < 4096 * MIB; unpacked += 7 * MIB + 4096) {
		struct memory_need n = { 60 * MIB, unpacked / 2, unpacked, 8 };
		uint64_t all = memory_size_need_mib(&n) * MIB;

		assert_true(all % (2 * MIB) == 0);
		assert_true((all - n.kernel_end - n.packed - all / 64) / 2 >= unpacked);
	}
}

static void test_choose_default_is_what_is_needed_or_512(void **state UNUSED)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	struct memory_need large = small;
	struct error err;
	uint64_t mib;

	assert_int_equal(memory_size_choose(0, &small, &t, &mib, &err), 0);
	assert_int_equal(mib, 512);
	large.unpacked = 1024 * MIB;
	assert_int_equal(memory_size_choose(0, &large, &t, &mib, &err), 0);
	assert_int_equal(mib, memory_size_need_mib(&large));
}

static void test_choose_bare_guest_gets_what_is_asked_for(void **state UNUSED)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	struct error err;
	uint64_t mib;

	assert_int_equal(memory_size_choose(2, NULL, &t, &mib, &err), 0);
	assert_int_equal(mib, 2);
	assert_int_equal(memory_size_choose(0, NULL, &t, &mib, &err), 0);
	assert_int_equal(mib, 512);
}

static void test_choose_nodes_with_memory_of_their_own_count(void **state UNUSED)
{
	struct topology t = topology_uniform(2, 2, 1, 1);
	struct error err;
	uint64_t mib;

	t.nodes[1].memory = 1024 * MIB;
	assert_int_equal(memory_size_choose(0, &small, &t, &mib, &err), 0);
	assert_int_equal(mib, 1024 + 512);
	t.nodes[0].memory = 100 * MIB;
	assert_int_equal(memory_size_choose(0, &small, &t, &mib, &err), 0);
	assert_int_equal(mib, 1124);
	t.nodes[1].memory = 2 * MIB;
	assert_int_equal(memory_size_choose(0, &small, &t, &mib, &err), -ENOMEM);
}

static void test_choose_too_small_names_both_numbers(void **state UNUSED)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	struct error err;
	uint64_t mib;

	assert_int_equal(memory_size_choose(118, &small, &t, &mib, &err), 0);
	assert_int_equal(mib, 118);
	assert_int_equal(memory_size_choose(116, &small, &t, &mib, &err), -ENOMEM);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "--memory 116:"));
	assert_non_null(strstr(err.text, "needs 118 MiB"));
}

static void test_host_too_small_is_a_skip_with_both_numbers(void **state UNUSED)
{
	const struct host_memory host = { .ram = 1000 * MIB, .swap = 24 * MIB };
	struct error err;

	assert_int_equal(memory_size_check_host(1024, &host, &err), 0);
	assert_int_equal(memory_size_check_host(1026, &host, &err), -ENOMEM);
	assert_int_equal(err.class, ERROR_SKIP);
	assert_non_null(strstr(err.text, "memory of 1026 MiB"));
	assert_non_null(strstr(err.text, "1000 MiB, and 24 MiB of swap"));
	struct host_memory own = memory_size_of_host();
	assert_in_range(own.ram, 64 * MIB, UINT64_C(1) << 52);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_need_adds_up),
		cmocka_unit_test(test_need_leaves_room_for_the_files),
		cmocka_unit_test(test_choose_default_is_what_is_needed_or_512),
		cmocka_unit_test(test_choose_bare_guest_gets_what_is_asked_for),
		cmocka_unit_test(test_choose_nodes_with_memory_of_their_own_count),
		cmocka_unit_test(test_choose_too_small_names_both_numbers),
		cmocka_unit_test(test_host_too_small_is_a_skip_with_both_numbers),
	};

	return cmocka_run_group_tests_name("cli/memory_size", tests, NULL, NULL);
}
