/* Performance plans on hosts that one can draw. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hosts.h"
#include "plan/plan.h"

static struct plan must_plan(const struct host *h, const struct plan_holders *held,
			     const struct plan_request *r)
{
	struct plan_shortage why;
	struct plan p = { 0 };

	assert_int_equal(plan_make(h, held, r, &p, &why), PLAN_OK);
	return p;
}

static void hold(struct plan_holders *held, enum plan_lock_kind kind, uint32_t id, bool exclusive)
{
	plan_holders_add(held,
			 &(struct plan_lock){ .kind = kind, .id = id, .exclusive = exclusive });
}

static void test_siblings_land_on_siblings(void **state UNUSED)
{
	struct host *h = host_regular(1, 2, 4, 2, true); /* core n: CPUs n and n + 8 */
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 1, 1, 3, 2);

	plan_holders_init(&none, h);
	struct plan p = must_plan(h, &none, &r);
	assert_true(p.is_smt_aligned);
	for (uint32_t core = 0; core < 3; core++)
		assert_int_equal(p.vcpu_cpus[core * 2 + 1], p.vcpu_cpus[core * 2] + 8);
	/* The service CPU is a spare one of the LLC, on a core without a vCPU. */
	assert_int_equal(p.service_cpu, 3);
	assert_int_equal(p.n_locks, 1);
	plan_fini(&p);
	(void)host_free(h);
}

static void test_guest_without_smt_gets_one_vcpu_per_core_first(void **state UNUSED)
{
	struct host *h = host_regular(1, 2, 4, 2, true);
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 1, 1, 4, 1);

	plan_holders_init(&none, h);
	struct plan p = must_plan(h, &none, &r);
	assert_true(p.is_smt_aligned);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(p.vcpu_cpus[i], i);
	plan_fini(&p);
	r = request_of(h, PLAN_PERFORMANCE, 1, 1, 6,
		       1); /* more than cores: the second threads follow */
	p = must_plan(h, &none, &r);
	assert_false(p.is_smt_aligned);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(p.vcpu_cpus[i], i);
	assert_int_equal(p.vcpu_cpus[4], 8);
	plan_fini(&p);
	(void)host_free(h);
}

static void test_guest_with_smt_on_a_host_without_says_so(void **state UNUSED)
{
	struct host *h = host_regular(1, 2, 4, 1, false);
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 1, 1, 2, 2);

	plan_holders_init(&none, h);
	struct plan p = must_plan(h, &none, &r);
	assert_false(p.is_smt_aligned);
	plan_fini(&p);
	(void)host_free(h);
}

static void test_remainder_goes_to_the_first_nodes(void **state UNUSED)
{
	struct host *h = host_regular(2, 4, 2, 1, false);
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 2, 5, 2, 1); /* 3 + 2 */

	plan_holders_init(&none, h);
	struct plan p = must_plan(h, &none, &r);
	assert_true(p.is_numa_aligned);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(h->llcs[p.vllc_llcs[i]].node, i < 3 ? 0 : 1);
	plan_fini(&p);
	(void)host_free(h);
}

static void test_largest_guest_node_finds_the_only_host_node_for_it(void **state UNUSED)
{
	/* Node 0 has one LLC, node 1 three: the guest's node 1 is the larger one. */
	struct host_cpu_desc cpus[8];
	struct host_desc desc = { .cpus = cpus, .n_cpus = ARRAY_SIZE(cpus) };
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct error err;
	struct host *h;

	for (uint32_t i = 0; i < ARRAY_SIZE(cpus); i++)
		cpus[i] = (struct host_cpu_desc){
			.cpu = i, .core_key = i, .llc_key = i / 2, .node_os_id = i >= 2
		};
	assert_int_equal(host_new(&desc, &h, &err), 0);
	plan_holders_init(&none, h);
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 2, 3, 1, 1);
	r.guest.node_llcs[0] = 1;
	r.guest.node_llcs[1] = 2;
	struct plan p = must_plan(h, &none, &r);
	assert_true(p.is_numa_aligned);
	assert_int_equal(p.vllc_llcs[0], 0);
	assert_int_equal(h->llcs[p.vllc_llcs[1]].node, 1);
	assert_int_equal(h->llcs[p.vllc_llcs[2]].node, 1);
	plan_fini(&p);
	(void)host_free(h);
}

static void test_host_that_cannot_align_says_so_and_one_that_can_is_waited_for(void **state UNUSED)
{
	struct host *one = host_regular(1, 4, 2, 1, false);
	struct host *two = host_regular(2, 2, 2, 1, false);
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	CLEANUP(plan_holders_fini) struct plan_holders held = { 0 };
	struct plan_request r = request_of(one, PLAN_PERFORMANCE, 2, 2, 2, 1);
	struct plan_shortage why;
	struct plan p;

	plan_holders_init(&none, one);
	p = must_plan(one, &none, &r);
	assert_false(p.is_numa_aligned);
	plan_fini(&p);
	/* Both LLCs of node 0 are held: two free ones are left, on one node. */
	plan_holders_init(&held, two);
	hold(&held, PLAN_LOCK_LLC, 0, true);
	hold(&held, PLAN_LOCK_LLC, 1, true);
	r.allowed = two->allowed;
	assert_int_equal(plan_make(two, &held, &r, &p, &why), PLAN_BUSY);
	(void)host_free(one);
	(void)host_free(two);
}

static void test_combination_beyond_the_rotation_is_found(void **state UNUSED)
{
	struct host *h = host_regular(1, 6, 2, 1, false);
	CLEANUP(plan_holders_fini) struct plan_holders held = { 0 };
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 1, 2, 2, 1);

	plan_holders_init(&held, h);
	hold(&held, PLAN_LOCK_LLC, 1, true); /* free: 0, 2 and 5; no two of them in a row */
	hold(&held, PLAN_LOCK_LLC, 3, false);
	hold(&held, PLAN_LOCK_LLC, 4, true);
	for (r.offset = 0; r.offset < 12; r.offset++) {
		struct plan p = must_plan(h, &held, &r);
		assert_int_equal(p.n_vllcs, 2);
		plan_fini(&p);
	}
	(void)host_free(h);
}

static void test_offset_spreads_those_who_start_together(void **state UNUSED)
{
	struct host *h = host_regular(2, 4, 2, 1, false);
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct id_set seen = { 0 };

	plan_holders_init(&none, h);
	for (uint32_t offset = 0; offset < 8; offset++) {
		struct plan_request r = request_of(h, PLAN_PERFORMANCE, 1, 1, 2, 1);
		r.offset = offset;
		struct plan p = must_plan(h, &none, &r);
		id_set_add(&seen, p.vllc_llcs[0]);
		plan_fini(&p);
	}
	assert_int_equal(id_set_count(&seen), 8);
	(void)host_free(h);
}

static void test_service_cpu_is_locked_outside_when_none_is_to_spare(void **state UNUSED)
{
	struct host *h = host_regular(1, 3, 2, 1, false);
	CLEANUP(plan_holders_fini) struct plan_holders held = { 0 };
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 1, 1, 2, 1);

	plan_holders_init(&held, h);
	hold(&held, PLAN_LOCK_LLC, 2, false); /* a default run on CPU 4 */
	hold(&held, PLAN_LOCK_CPU, 4, true);
	struct plan p = must_plan(h, &held, &r);
	/* It shares the LLC that is in use rather than spoil a free one, and not the CPU that is taken. */
	assert_int_equal(p.vllc_llcs[0], 0);
	assert_int_equal(p.service_cpu, 5);
	assert_int_equal(p.n_locks, 3);
	assert_true(p.locks[0].kind == PLAN_LOCK_LLC && p.locks[0].id == 0 && p.locks[0].exclusive);
	assert_true(p.locks[1].kind == PLAN_LOCK_LLC && p.locks[1].id == 2 &&
		    !p.locks[1].exclusive);
	assert_true(p.locks[2].kind == PLAN_LOCK_CPU && p.locks[2].id == 5 && p.locks[2].exclusive);
	plan_fini(&p);
	(void)host_free(h);
}

static void test_service_cpus_of_two_plans_differ(void **state UNUSED)
{
	struct host *h = host_regular(1, 3, 2, 1, false);
	CLEANUP(plan_holders_fini) struct plan_holders held = { 0 };
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 1, 1, 2, 1);

	plan_holders_init(&held, h);
	struct plan a = must_plan(h, &held, &r);
	for (uint32_t i = 0; i < a.n_locks; i++)
		plan_holders_add(&held, &a.locks[i]);
	struct plan b = must_plan(h, &held, &r);
	assert_int_not_equal(a.service_cpu, b.service_cpu);
	assert_int_not_equal(a.vllc_llcs[0], b.vllc_llcs[0]);
	plan_fini(&a);
	plan_fini(&b);
	(void)host_free(h);
}

static void test_only_allowed_cpus_count(void **state UNUSED)
{
	struct host *h = host_regular(1, 2, 4, 1, false);
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 1, 1, 3, 1);
	struct plan_shortage why;
	struct plan p;

	plan_holders_init(&none, h);
	request_allow(&r, "1,4-7");
	p = must_plan(h, &none, &r);
	assert_int_equal(p.vllc_llcs[0], 1);
	plan_fini(&p);
	request_allow(&r, "0-1,4-5");
	assert_int_equal(plan_make(h, &none, &r, &p, &why), PLAN_PERF_UNAVAILABLE);
	assert_int_equal(why.need_llcs, 1);
	assert_int_equal(why.have_llcs, 0);
	assert_int_equal(why.llc_cpus, 3);
	(void)host_free(h);
}

static void test_no_cpu_for_service_is_unavailable_with_need_and_have(void **state UNUSED)
{
	struct host *h = host_regular(1, 2, 4, 1, false);
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 1, 2, 4, 1);
	struct plan_shortage why;
	struct error err;
	struct plan p;

	plan_holders_init(&none, h);
	enum plan_result result = plan_make(h, &none, &r, &p, &why);
	assert_int_equal(result, PLAN_PERF_UNAVAILABLE);
	assert_int_equal(why.need_cpus, 9);
	assert_int_equal(why.have_cpus, 8);
	assert_true(plan_result_error(result, &r, &why, &err) < 0);
	assert_int_equal(err.class, ERROR_SKIP);
	assert_non_null(strstr(err.text, "needs 9 CPUs"));
	(void)host_free(h);
}

static void test_memory_only_guest_node_needs_no_llc(void **state UNUSED)
{
	struct host *h = host_regular(1, 2, 4, 1, false);
	CLEANUP(plan_holders_fini) struct plan_holders none = { 0 };
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 2, 1, 2, 1);

	plan_holders_init(&none, h);
	r.guest.node_llcs[0] = 1;
	r.guest.node_llcs[1] = 0;
	struct plan p = must_plan(h, &none, &r);
	assert_true(p.is_numa_aligned);
	plan_fini(&p);
	(void)host_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siblings_land_on_siblings),
		cmocka_unit_test(test_guest_without_smt_gets_one_vcpu_per_core_first),
		cmocka_unit_test(test_guest_with_smt_on_a_host_without_says_so),
		cmocka_unit_test(test_remainder_goes_to_the_first_nodes),
		cmocka_unit_test(test_largest_guest_node_finds_the_only_host_node_for_it),
		cmocka_unit_test(
		    test_host_that_cannot_align_says_so_and_one_that_can_is_waited_for),
		cmocka_unit_test(test_combination_beyond_the_rotation_is_found),
		cmocka_unit_test(test_offset_spreads_those_who_start_together),
		cmocka_unit_test(test_service_cpu_is_locked_outside_when_none_is_to_spare),
		cmocka_unit_test(test_service_cpus_of_two_plans_differ),
		cmocka_unit_test(test_only_allowed_cpus_count),
		cmocka_unit_test(test_no_cpu_for_service_is_unavailable_with_need_and_have),
		cmocka_unit_test(test_memory_only_guest_node_needs_no_llc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
