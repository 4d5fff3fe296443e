/* From a request to a placement: with and without locks, against other processes, on both back ends of the reactor. */
#include "harness/reservation.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "scratch_dir.h"

/* 2 nodes with 2 LLCs of 2 CPUs each: host_source reads it as it would read this machine. */
#define HOST "numa:2 l3:2 core:2 pu:1"

struct fixture {
	char *path;
	struct reservation_host host;
	struct reactor *r;
	struct topology topology;
};

static void setup(struct fixture *f, bool with_locks)
{
	struct error err;

	*f = (struct fixture){ .path = scratch_dir_new(), .host = RESERVATION_HOST_INIT };
	f->host.source.spec = HOST;
	assert_int_equal(host_source_get(&f->host.source, &f->host.host, &err), 0);
	if (with_locks)
		assert_int_equal(lock_dir_open(&f->host.dir, f->path, true, &err), 0);
	assert_int_equal(reactor_new(&(struct reactor_config){ 0 }, &f->r, &err), 0);
}

static void teardown(struct fixture *f)
{
	f->r = reactor_free(f->r);
	reservation_host_close(&f->host);
	scratch_dir_free(f->path);
}

static void on_done(struct reservation *r, int res)
{
	reactor_stop(r->reactor, res);
}

static struct plan_request request(struct fixture *f, enum plan_tier tier, uint32_t nodes,
				   uint32_t llcs, uint32_t cores)
{
	f->topology = topology_uniform(nodes, llcs, cores, 1);
	return reservation_request(
	    &f->host, &(struct reservation_want){ .tier = tier, .topology = &f->topology });
}

static int reserve(struct fixture *f, struct reservation *r, const struct plan_request *request,
		   uint64_t wait_ms)
{
	reservation_start(r, f->r, &f->host, request, wait_ms * NS_PER_MS, on_done);
	return reactor_run(f->r);
}

static void test_performance_pins_and_binds_by_node(void **state UNUSED)
{
	struct fixture f;
	struct reservation r;

	setup(&f, true);
	struct plan_request q = request(&f, PLAN_PERFORMANCE, 2, 2, 1);
	assert_int_equal(reserve(&f, &r, &q, 0), 0);
	const struct placement *p = &r.placement;
	assert_true(p->is_performance);
	assert_int_equal(p->n_vcpus, 2);
	assert_int_equal(p->n_vcpu_cpus, 2);
	assert_int_equal(id_set_count(&p->cpus), 3); /* the service CPU is among them */
	assert_true(id_set_has(&p->cpus, p->service_cpu));
	for (uint32_t i = 0; i < 2; i++) {
		assert_true(p->vcpu_cpus[i] != p->service_cpu);
		assert_int_equal(id_set_count(&p->node_mems[i]), 1);
		assert_true(id_set_has(&p->node_mems[i], p->vcpu_cpus[i] / 4));
	}
	int fds[8];
	assert_int_equal(reservation_lock_fds(&r, fds), r.plan->n_locks);
	assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	reservation_fini(&r);
	teardown(&f);
}

static void test_second_waits_in_vain_and_names_the_holder(void **state UNUSED)
{
	struct fixture f;
	struct reservation first, second;
	char pid[16];

	setup(&f, true);
	struct plan_request q = request(&f, PLAN_PERFORMANCE, 2, 4, 1);
	assert_int_equal(reserve(&f, &first, &q, 0), 0);
	assert_int_equal(reserve(&f, &second, &q, 300), -ETIMEDOUT);
	assert_int_equal(second.err.class, ERROR_INFRA);
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_non_null(strstr(second.err.text, pid));
	assert_non_null(strstr(second.err.text, "ktstr locks --json"));
	assert_true(second.waited_ns >= 300 * NS_PER_MS);
	reservation_fini(&second);
	reservation_fini(&first);
	assert_int_equal(reserve(&f, &first, &q, 0), 0);
	reservation_fini(&first);
	teardown(&f);
}

static void test_cancel_ends_the_wait(void **state UNUSED)
{
	struct fixture f;
	struct reservation first, second;

	setup(&f, true);
	struct plan_request q = request(&f, PLAN_PERFORMANCE, 2, 4, 1);
	assert_int_equal(reserve(&f, &first, &q, 0), 0);
	reservation_start(&second, f.r, &f.host, &q, 60 * NS_PER_S, on_done);
	reactor_turn(f.r, 0);
	reservation_cancel(&second);
	assert_int_equal(reactor_run(f.r), -ECANCELED);
	reservation_fini(&second);
	reservation_fini(&first);
	teardown(&f);
}

static void test_without_locks_nobody_is_in_the_way(void **state UNUSED)
{
	struct fixture f;
	struct reservation first, second;
	int fds[8];

	setup(&f, false);
	struct plan_request q = request(&f, PLAN_PERFORMANCE, 2, 4, 1);
	assert_int_equal(reserve(&f, &first, &q, 0), 0);
	assert_int_equal(reserve(&f, &second, &q, 0), 0);
	assert_int_equal(first.placement.n_vcpus, 4);
	assert_int_equal(reservation_lock_fds(&first, fds), 0);
	reservation_fini(&second);
	reservation_fini(&first);
	teardown(&f);
}

/* A runner without locks still knows what it gave out itself. */
static void test_without_locks_ones_own_are_spread(void **state UNUSED)
{
	static const enum plan_tier tiers[] = { PLAN_DEFAULT, PLAN_BUDGET };
	enum { N = 9 };

	for (size_t t = 0; t < ARRAY_SIZE(tiers); t++) {
		struct reservation r[N] = { 0 };
		struct fixture f;
		uint32_t n_by_cpu[8] = { 0 };
		setup(&f, false);
		struct plan_request q = request(&f, tiers[t], 1, 1, 2);
		q.budget = PLAN_BUDGET_AUTHOR;
		q.n_cpus = 2;
		for (size_t i = 0; i < N; i++) {
			assert_int_equal(reserve(&f, &r[i], &q, 0), 0);
			assert_int_equal(id_set_count(&r[i].placement.cpus), 2);
			id_set_for_each(cpu, &r[i].placement.cpus)
			{
				n_by_cpu[cpu]++;
				assert_true(n_by_cpu[cpu] <= i / 4 + 1);
			}
		}
		/* Two on each CPU again, and one where the third was: there is the next one's place. */
		struct id_set freed = r[2].placement.cpus;
		reservation_fini(&r[N - 1]);
		reservation_fini(&r[2]);
		assert_int_equal(reserve(&f, &r[2], &q, 0), 0);
		assert_true(id_set_is_equal(&freed, &r[2].placement.cpus));
		for (size_t i = 0; i < N; i++)
			reservation_fini(&r[i]);
		for (uint32_t i = 0; i < f.host.given.n_cpus; i++)
			assert_int_equal(
			    f.host.given.cpus[i].shared + f.host.given.cpus[i].exclusive, 0);
		teardown(&f);
	}
}

static void test_errors_have_the_class_of_their_cause(void **state UNUSED)
{
	struct fixture f;
	struct error err;

	setup(&f, false);
	struct reservation_need need;
	struct plan_request q = request(&f, PLAN_PERFORMANCE, 2, 4, 2);
	assert_true(reservation_check(&f.host, &q, &need, &err) < 0); /* no CPU left for service */
	assert_int_equal(err.class, ERROR_SKIP);
	q = request(&f, PLAN_BUDGET, 1, 1, 1);
	q.budget = PLAN_BUDGET_OPERATOR;
	q.n_cpus = 9;
	assert_true(reservation_check(&f.host, &q, &need, &err) < 0);
	assert_int_equal(err.class, ERROR_USAGE);
	q.budget = PLAN_BUDGET_AUTHOR;
	assert_true(reservation_check(&f.host, &q, &need, &err) < 0);
	assert_int_equal(err.class, ERROR_SKIP);
	q.n_cpus = 8;
	assert_int_equal(reservation_check(&f.host, &q, &need, &err), 0);
	teardown(&f);
}

static void need_is(struct fixture *f, const struct plan_request *q, uint32_t n_cpus,
		    uint32_t n_locks)
{
	struct reservation_need need;
	struct error err;

	assert_int_equal(reservation_check(&f->host, q, &need, &err), 0);
	assert_int_equal(need.n_cpus, n_cpus);
	assert_int_equal(need.n_locks, n_locks);
}

/* Who admits tests by CPUs must know what their locks keep from others. */
static void test_need_is_what_others_cannot_have_meanwhile(void **state UNUSED)
{
	struct fixture f;

	setup(&f, false);
	struct plan_request q = request(&f, PLAN_DEFAULT, 1, 1, 2);
	need_is(&f, &q, 2, 3);
	q.tier = PLAN_BUDGET;
	q.budget = PLAN_BUDGET_AUTHOR;
	q.n_cpus = 1;
	need_is(&f, &q, 1, 2);
	/* One vCPU, and the LLC's other CPU for service; then a whole LLC, and one CPU of another. */
	q = request(&f, PLAN_PERFORMANCE, 1, 1, 1);
	need_is(&f, &q, 2, 1);
	q = request(&f, PLAN_PERFORMANCE, 1, 1, 2);
	need_is(&f, &q, 3, 3);
	/* CPUs that we may not use are nobody's here. */
	q = request(&f, PLAN_PERFORMANCE, 1, 1, 1);
	struct id_set allowed = { 0 };
	id_set_add(&allowed, 0);
	id_set_add(&allowed, 2);
	((struct host *)(uintptr_t)f.host.host)->allowed = allowed;
	q.allowed = allowed;
	need_is(&f, &q, 2, 3);
	teardown(&f);
}

static void test_open_finds_this_machine_and_keeps_it(void **state UNUSED)
{
	CLEANUP(freep) char *path = scratch_dir_new();
	CLEANUP(freep) char *locks = xasprintf("%s/locks", path);
	CLEANUP(freep) char *kept = xasprintf("%s/host", path);
	struct reservation_host h;
	struct error err;

	if (reservation_host_open(&h, path, locks, true, &err) < 0)
		fail_msg("%s", err.text);
	uint32_t n_cpus = h.host->n_cpus, n_llcs = h.host->n_llcs;
	reservation_host_close(&h);
	assert_int_equal(access(kept, R_OK), 0);
	assert_int_equal(reservation_host_open(&h, path, locks, false, &err), 0);
	assert_int_equal(h.host->n_cpus, n_cpus);
	assert_int_equal(h.host->n_llcs, n_llcs);
	assert_int_equal(h.dir.fd, -1);
	reservation_host_close(&h);
	scratch_dir_free(TAKE_PTR(path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_performance_pins_and_binds_by_node),
		cmocka_unit_test(test_second_waits_in_vain_and_names_the_holder),
		cmocka_unit_test(test_cancel_ends_the_wait),
		cmocka_unit_test(test_without_locks_nobody_is_in_the_way),
		cmocka_unit_test(test_without_locks_ones_own_are_spread),
		cmocka_unit_test(test_errors_have_the_class_of_their_cause),
		cmocka_unit_test(test_need_is_what_others_cannot_have_meanwhile),
		cmocka_unit_test(test_open_finds_this_machine_and_keeps_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
