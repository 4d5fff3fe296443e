/* Budgets and default windows on hosts that one can draw, and the numbers they begin with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hosts.h"
#include "plan/plan.h"

struct fixture {
	struct host *h;
	struct plan_holders held;
};

static struct fixture setup(struct host *h)
{
	struct fixture f = { .h = h };

	plan_holders_init(&f.held, h);
	return f;
}

static void teardown(struct fixture *f)
{
	plan_holders_fini(&f->held);
	f->h = host_free(f->h);
}

static void hold(struct fixture *f, enum plan_lock_kind kind, uint32_t id, bool exclusive)
{
	plan_holders_add(&f->held,
			 &(struct plan_lock){ .kind = kind, .id = id, .exclusive = exclusive });
}

/* Plans @r; its CPUs have to be @cpus. The locks stay held if @keep. */
static void need_cpus(struct fixture *f, const struct plan_request *r, const char *cpus, bool keep)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct plan_shortage why;
	struct plan p;

	assert_int_equal(plan_make(f->h, &f->held, r, &p, &why), PLAN_OK);
	id_set_format(&p.cpus, &text);
	assert_string_equal(buf_str(&text), cpus);
	for (uint32_t i = 0; keep && i < p.n_locks; i++)
		plan_holders_add(&f->held, &p.locks[i]);
	plan_fini(&p);
}

static void test_last_llc_is_taken_in_part(void **state UNUSED)
{
	struct fixture f = setup(host_regular(1, 4, 4, 1, false));
	struct plan_request r = request_budget(f.h, 6);

	need_cpus(&f, &r, "0-5", false);
	r.offset = 2;
	need_cpus(&f, &r, "8-13", false);
	r.offset = 3;
	need_cpus(&f, &r, "0-1,12-15", false);
	teardown(&f);
}

/*
 * The trap of an earlier implementation: LLCs outside of the allowed CPUs are left out of the list that is planned over, and
 * then its positions were taken for LLC numbers. Here the usable LLCs are 2 and 3 of 4.
 */
static void test_llcs_are_told_by_index_where_the_usable_ones_have_gaps(void **state UNUSED)
{
	struct fixture f = setup(host_regular(1, 4, 2, 1, false));
	struct plan_request r = request_budget(f.h, 2);
	struct plan_shortage why;
	struct plan p;

	request_allow(&r, "4-7");
	for (r.offset = 0; r.offset < 4; r.offset++) {
		assert_int_equal(plan_make(f.h, &f.held, &r, &p, &why), PLAN_OK);
		assert_int_equal(p.locks[0].kind, PLAN_LOCK_LLC);
		assert_true(p.locks[0].id == 2 || p.locks[0].id == 3);
		assert_int_equal(p.n_locks, 3);
		assert_int_equal(id_set_next(&p.cpus, 0), p.locks[0].id * 2);
		plan_fini(&p);
	}
	r.n_cpus = 4; /* all that is allowed */
	assert_int_equal(plan_make(f.h, &f.held, &r, &p, &why), PLAN_OK);
	assert_int_equal(p.locks[0].id, 2);
	assert_int_equal(p.locks[1].id, 3);
	plan_fini(&p);
	teardown(&f);
}

static void test_spill_goes_to_the_nearest_node(void **state UNUSED)
{
	static const uint8_t distances[] = { 10, 30, 20, 30, 10, 20, 20, 20, 10 };
	static const uint32_t ids[] = { 0, 1, 2 };
	struct host_cpu_desc cpus[6];
	struct host_desc desc = {
		.cpus = cpus, .n_cpus = 6, .node_os_ids = ids, .distances = distances, .n_nodes = 3
	};
	struct error err;
	struct host *h;

	for (uint32_t i = 0; i < 6; i++)
		cpus[i] = (struct host_cpu_desc){
			.cpu = i, .core_key = i, .llc_key = i / 2, .node_os_id = i / 2
		};
	assert_int_equal(host_new(&desc, &h, &err), 0);
	struct fixture f = setup(h);
	struct plan_request r = request_budget(f.h, 3);
	need_cpus(&f, &r, "0-1,4", false);
	teardown(&f);
}

static void test_mems_are_the_nodes_of_the_cpus_used(void **state UNUSED)
{
	struct fixture f = setup(host_regular(2, 1, 4, 1, false));
	struct plan_request r = request_budget(f.h, 4);
	struct plan_shortage why;
	struct plan p;

	assert_int_equal(plan_make(f.h, &f.held, &r, &p, &why), PLAN_OK);
	assert_int_equal(id_set_count(&p.mems), 1);
	plan_fini(&p);
	r.n_cpus = 5;
	assert_int_equal(plan_make(f.h, &f.held, &r, &p, &why), PLAN_OK);
	assert_int_equal(id_set_count(&p.mems), 2);
	plan_fini(&p);
	teardown(&f);
}

static void test_consolidation_joins_and_spread_avoids(void **state UNUSED)
{
	struct fixture f = setup(host_regular(1, 3, 4, 1, false));
	struct plan_request r = request_budget(f.h, 2);

	hold(&f, PLAN_LOCK_LLC, 1, false);
	hold(&f, PLAN_LOCK_CPU, 4, false);
	need_cpus(&f, &r, "5-6", false);
	r.spread = true;
	need_cpus(&f, &r, "0-1", false);
	teardown(&f);
}

static void test_budgets_share_cpus_only_when_all_are_taken(void **state UNUSED)
{
	struct fixture f = setup(host_regular(1, 2, 4, 1, false));
	struct plan_request r = request_budget(f.h, 3);

	need_cpus(&f, &r, "0-2", true);
	need_cpus(&f, &r, "4-6", true);
	need_cpus(&f, &r, "0,3,7", true); /* the two that are free, one that is held once */
	teardown(&f);
}

static void test_exclusive_holders_are_passed_over(void **state UNUSED)
{
	struct fixture f = setup(host_regular(1, 2, 4, 1, false));
	struct plan_request r = request_budget(f.h, 3);
	struct plan_shortage why;
	struct plan p;

	hold(&f, PLAN_LOCK_LLC, 0, true);
	hold(&f, PLAN_LOCK_LLC, 1, false);
	hold(&f, PLAN_LOCK_CPU, 5, true);
	need_cpus(&f, &r, "4,6-7", false);
	r.n_cpus = 4;
	assert_int_equal(plan_make(f.h, &f.held, &r, &p, &why), PLAN_BUSY);
	teardown(&f);
}

static void test_default_window_is_exclusive_and_within_the_allowed_cpus(void **state UNUSED)
{
	struct fixture f = setup(host_regular(1, 2, 4, 1, false));
	struct plan_request r = request_of(f.h, PLAN_DEFAULT, 1, 1, 2, 1);
	struct plan_shortage why;
	struct plan p;

	request_allow(&r, "2-3,6-7");
	need_cpus(&f, &r, "2-3", true);
	need_cpus(&f, &r, "6-7", true);
	assert_int_equal(plan_make(f.h, &f.held, &r, &p, &why), PLAN_BUSY);
	teardown(&f);
}

static void test_default_window_of_a_large_guest_is_all_there_is(void **state UNUSED)
{
	struct fixture f = setup(host_regular(1, 1, 4, 1, false));
	struct plan_request r = request_of(f.h, PLAN_DEFAULT, 1, 1, 16, 1);

	need_cpus(&f, &r, "0-3", false);
	teardown(&f);
}

static void test_cores_are_taken_whole(void **state UNUSED)
{
	struct fixture f = setup(host_regular(1, 1, 4, 2, true)); /* cores 0,4 1,5 2,6 3,7 */
	struct plan_request r = request_of(f.h, PLAN_DEFAULT, 1, 1, 1, 1);

	need_cpus(&f, &r, "0", true);
	need_cpus(&f, &r, "1", true); /* not the sibling of a CPU that is somebody's own */
	r = request_of(f.h, PLAN_DEFAULT, 1, 1, 2, 1);
	need_cpus(&f, &r, "2,6", true);
	teardown(&f);
}

static void test_budget_numbers(void **state UNUSED)
{
	static const struct {
		uint32_t vcpus, allowed, want;
	} cases[] = {
		{ 1, 1, 1 },  { 1, 2, 1 },       { 1, 4, 2 },  { 1, 10, 3 },   { 1, 11, 4 },
		{ 8, 10, 8 }, { 256, 320, 256 }, { 64, 4, 4 }, { 2, 100, 30 },
	};
	struct plan_request r = { .tier = PLAN_BUDGET };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		r.guest = (struct plan_guest){ .n_nodes = 1,
					       .n_llcs = 1,
					       .cores_per_llc = cases[i].vcpus,
					       .threads_per_core = 1 };
		assert_int_equal(plan_budget_cpus(&r, cases[i].allowed), cases[i].want);
	}
}

static void test_cap_above_the_allowance_is_usage_and_an_authors_budget_a_skip(void **state UNUSED)
{
	struct fixture f = setup(host_regular(1, 1, 4, 1, false));
	struct plan_request r = request_budget(f.h, 5);
	struct plan_shortage why;
	struct error err;
	struct plan p;

	enum plan_result result = plan_make(f.h, &f.held, &r, &p, &why);
	assert_int_equal(result, PLAN_CAP_UNSATISFIABLE);
	assert_true(plan_result_error(result, &r, &why, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "--cpu-cap or KTSTR_CPU_CAP: 5 is more than the 4 CPUs"));
	r.budget = PLAN_BUDGET_AUTHOR;
	result = plan_make(f.h, &f.held, &r, &p, &why);
	assert_int_equal(result, PLAN_INSUFFICIENT);
	assert_true(plan_result_error(result, &r, &why, &err) < 0);
	assert_int_equal(err.class, ERROR_SKIP);
	teardown(&f);
}

static void test_cap_comes_from_the_flag_then_the_environment(void **state UNUSED)
{
	struct error err;
	uint32_t n;

	assert_int_equal(plan_parse_cap("3", "7", &n, &err), 0);
	assert_int_equal(n, 3);
	assert_int_equal(plan_parse_cap(NULL, "7", &n, &err), 0);
	assert_int_equal(n, 7);
	assert_int_equal(plan_parse_cap(NULL, "", &n, &err), 0);
	assert_int_equal(n, 0);
	assert_int_equal(plan_parse_cap(NULL, NULL, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_true(plan_parse_cap("0", NULL, &n, &err) < 0);
	assert_non_null(strstr(err.text, "--cpu-cap"));
	assert_true(plan_parse_cap("", NULL, &n, &err) < 0);
	assert_true(plan_parse_cap(NULL, "0", &n, &err) < 0);
	assert_true(plan_parse_cap(NULL, "many", &n, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "KTSTR_CPU_CAP"));
	assert_int_equal(plan_parse_cap("2", "many", &n, &err),
			 0); /* the flag wins, so nobody asks */
}

static void test_neighbouring_pids_get_distant_offsets(void **state UNUSED)
{
	uint32_t n_at[8] = { 0 };

	for (uint32_t pid = 1000; pid < 1064; pid++)
		n_at[plan_offset_of_pid(pid) % 8]++;
	for (size_t i = 0; i < ARRAY_SIZE(n_at); i++)
		assert_in_range(n_at[i], 2, 20);
	assert_int_equal(plan_offset_of_pid(77), plan_offset_of_pid(77));
	assert_int_not_equal(plan_offset_of_pid(77), plan_offset_of_pid(78));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_llc_is_taken_in_part),
		cmocka_unit_test(test_llcs_are_told_by_index_where_the_usable_ones_have_gaps),
		cmocka_unit_test(test_spill_goes_to_the_nearest_node),
		cmocka_unit_test(test_mems_are_the_nodes_of_the_cpus_used),
		cmocka_unit_test(test_consolidation_joins_and_spread_avoids),
		cmocka_unit_test(test_budgets_share_cpus_only_when_all_are_taken),
		cmocka_unit_test(test_exclusive_holders_are_passed_over),
		cmocka_unit_test(test_default_window_is_exclusive_and_within_the_allowed_cpus),
		cmocka_unit_test(test_default_window_of_a_large_guest_is_all_there_is),
		cmocka_unit_test(test_cores_are_taken_whole),
		cmocka_unit_test(test_budget_numbers),
		cmocka_unit_test(
		    test_cap_above_the_allowance_is_usage_and_an_authors_budget_a_skip),
		cmocka_unit_test(test_cap_comes_from_the_flag_then_the_environment),
		cmocka_unit_test(test_neighbouring_pids_get_distant_offsets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
