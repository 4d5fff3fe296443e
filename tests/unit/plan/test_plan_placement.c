/* Plans in the words of who applies them, and the caveats that go with them. */
#include "plan/plan_placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hosts.h"

struct fixture {
	struct host *h;
	struct plan plan;
	struct placement p;
	struct buf caveats;
};

static void plan(struct fixture *f, struct host *h, const struct plan_request *r)
{
	struct plan_holders nobody;
	struct plan_shortage why;

	*f = (struct fixture){ .h = h };
	plan_holders_init(&nobody, h);
	assert_int_equal(plan_make(h, &nobody, r, &f->plan, &why), PLAN_OK);
	plan_holders_fini(&nobody);
	f->p = plan_placement(h, r, &f->plan);
	plan_caveats(r, &f->plan, &f->caveats);
}

static void fini(struct fixture *f)
{
	placement_fini(&f->p);
	plan_fini(&f->plan);
	buf_fini(&f->caveats);
	f->h = host_free(f->h);
}

static void test_performance_memory_is_where_the_vcpus_are(void **state UNUSED)
{
	struct host *h = host_regular(4, 2, 4, 1, false);
	struct fixture f;
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 2, 3, 4, 1);

	r.offset = 3;
	plan(&f, h, &r);
	assert_int_equal(f.p.n_nodes, 2);
	assert_int_equal(f.p.n_vcpus, 12);
	for (uint32_t v = 0; v < 12; v++) {
		uint32_t node = v < 8 ? 0 : 1;
		assert_int_equal(id_set_count(&f.p.node_mems[node]), 1);
		assert_true(id_set_has(&f.p.node_mems[node], h->cpus[f.p.vcpu_cpus[v]].node));
		assert_true(id_set_has(&f.p.cpus, f.p.vcpu_cpus[v]));
	}
	assert_true(id_set_has(&f.p.mems, h->cpus[f.p.service_cpu].node));
	assert_int_equal(f.caveats.len, 0);
	fini(&f);
}

static void test_memory_only_nodes_come_from_all_of_the_vcpus_nodes(void **state UNUSED)
{
	struct host *h = host_regular(2, 2, 4, 1, false);
	struct fixture f;
	struct plan_request r = request_of(h, PLAN_PERFORMANCE, 2, 2, 2, 1);

	r.guest.n_nodes = 3;
	r.guest.node_llcs[0] = r.guest.node_llcs[2] = 1;
	r.guest.node_llcs[1] = 0;
	plan(&f, h, &r);
	assert_int_equal(id_set_count(&f.p.node_mems[0]), 1);
	assert_int_equal(id_set_count(&f.p.node_mems[1]), 2);
	assert_int_equal(id_set_count(&f.p.node_mems[2]), 1);
	fini(&f);
}

static void test_budget_has_cpus_and_nothing_else(void **state UNUSED)
{
	struct host *h = host_regular(2, 2, 4, 1, false);
	struct fixture f;
	struct plan_request r = request_budget(h, 3);

	plan(&f, h, &r);
	assert_true(!f.p.is_performance && !f.p.vcpu_cpus && !f.p.node_mems);
	assert_int_equal(id_set_count(&f.p.cpus), 3);
	assert_int_equal(f.p.n_vcpu_cpus, 3);
	assert_int_equal(f.caveats.len, 0);
	fini(&f);
}

static void need_caveat(struct host *h, const struct plan_request *r, const char *text,
			const char *not_text)
{
	struct fixture f;

	plan(&f, h, r);
	const char *got = buf_str(&f.caveats);
	if (!strstr(got, text) || strstr(got, not_text))
		fail_msg("caveats: %s", got);
	assert_int_equal(got[f.caveats.len - 1], '\n');
	fini(&f);
}

static void test_caveats_name_factor_and_who_asked(void **state UNUSED)
{
	struct host *h = host_regular(1, 1, 2, 1, false);
	struct plan_request r = request_of(h, PLAN_DEFAULT, 1, 1, 3, 1);

	need_caveat(h, &r, "warning: nobody asked for it, but 3 vCPUs share 2 CPUs (1.5 to 1)",
		    "budget says");
	h = host_regular(1, 1, 2, 1, false);
	r = request_of(h, PLAN_BUDGET, 1, 1, 4, 1);
	r.budget = PLAN_BUDGET_OPERATOR;
	r.n_cpus = 1;
	need_caveat(h, &r, "4 vCPUs share 1 CPUs (4.0 to 1), as the CPU budget says", "warning");
	h = host_regular(2, 1, 2, 1, false);
	r = request_budget(h, 3);
	r.guest = request_of(h, PLAN_BUDGET, 1, 1, 3, 1).guest;
	need_caveat(h, &r, "several NUMA nodes (0-1)", "share");
	h = host_regular(1, 4, 2, 1, false);
	r = request_of(h, PLAN_PERFORMANCE, 2, 2, 1, 2);
	need_caveat(h, &r, "NUMA nodes are not nodes of this host", "share");
	h = host_regular(1, 4, 2, 1, false);
	need_caveat(h, &r, "cores are not cores of this host", "share");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_performance_memory_is_where_the_vcpus_are),
		cmocka_unit_test(test_memory_only_nodes_come_from_all_of_the_vcpus_nodes),
		cmocka_unit_test(test_budget_has_cpus_and_nothing_else),
		cmocka_unit_test(test_caveats_name_factor_and_who_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
