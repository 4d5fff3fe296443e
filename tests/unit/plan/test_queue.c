/* Turns: first come first served, back-fill, claims of those who waited long, patience with those who do not come. */
#include "plan/queue.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "hosts.h"

#define NOW UINT64_C(100000000000)

struct fixture {
	struct host *h; /* 4 LLCs of 2 CPUs */
	struct plan_holders locks;
	struct queue_entry entries[4];
	struct queue_entry *list[4];
	struct queue q;
};

static void setup(struct fixture *f)
{
	*f = (struct fixture){ .h = host_regular(1, 4, 2, 1, false) };
	plan_holders_init(&f->locks, f->h);
	f->q =
	    (struct queue){ .host = f->h, .locks = &f->locks, .earlier = f->list, .now_ns = NOW };
}

static void teardown(struct fixture *f)
{
	plan_holders_fini(&f->locks);
	f->h = host_free(f->h);
}

static struct plan_request wants(const struct fixture *f, uint32_t llcs)
{
	return request_of(f->h, PLAN_PERFORMANCE, 1, llcs, 1, 1);
}

static void add(struct fixture *f, uint32_t llcs, uint64_t age_ns)
{
	size_t n = f->q.n_earlier++;

	f->entries[n] =
	    (struct queue_entry){ .request = wants(f, llcs), .arrived_ns = NOW - age_ns };
	f->list[n] = &f->entries[n];
}

static void hold_llc(struct fixture *f, uint32_t llc)
{
	plan_holders_add(
	    &f->locks, &(struct plan_lock){ .kind = PLAN_LOCK_LLC, .id = llc, .exclusive = true });
}

static void release_llc(struct fixture *f, uint32_t llc)
{
	f->locks.llcs[llc].exclusive = 0;
}

static enum plan_result admit(struct fixture *f, uint32_t llcs, bool *ret_held_back)
{
	struct plan_request r = wants(f, llcs);
	struct plan_shortage why;
	struct plan p;

	enum plan_result result = queue_admit(&f->q, &r, &p, &why, ret_held_back);
	if (result == PLAN_OK)
		plan_fini(&p);
	return result;
}

static void test_nobody_before_means_the_plan_decides(void **state UNUSED)
{
	struct fixture f;
	bool held_back = true;

	setup(&f);
	assert_int_equal(admit(&f, 4, &held_back), PLAN_OK);
	assert_false(held_back);
	hold_llc(&f, 0);
	assert_int_equal(admit(&f, 4, &held_back), PLAN_BUSY);
	assert_false(held_back);
	assert_int_equal(admit(&f, 5, &held_back), PLAN_PERF_UNAVAILABLE);
	teardown(&f);
}

static void test_place_is_kept_for_who_could_run_now(void **state UNUSED)
{
	struct fixture f;
	bool held_back;

	setup(&f);
	hold_llc(&f, 0);
	hold_llc(&f, 1);
	hold_llc(&f, 2);
	add(&f, 1, 1); /* came a nanosecond before */
	assert_int_equal(admit(&f, 1, &held_back), PLAN_BUSY);
	assert_true(held_back);
	release_llc(&f, 2); /* enough for both */
	assert_int_equal(admit(&f, 1, &held_back), PLAN_OK);
	teardown(&f);
}

static void test_back_fill_before_a_wide_one_that_came_just_now(void **state UNUSED)
{
	struct fixture f;
	bool held_back;

	setup(&f);
	hold_llc(&f, 0);
	add(&f, 4, QUEUE_AGE_NS - 1);
	assert_int_equal(admit(&f, 1, &held_back), PLAN_OK);
	teardown(&f);
}

static void test_claim_of_who_waited_long_gathers_what_is_free(void **state UNUSED)
{
	struct fixture f;
	bool held_back;

	setup(&f);
	hold_llc(&f, 0);
	add(&f, 3, QUEUE_AGE_NS); /* 1, 2 and 3 are free: it can run; one more is not there */
	assert_int_equal(admit(&f, 1, &held_back), PLAN_BUSY);
	hold_llc(&f, 1); /* now it cannot, and what is free is kept for it all the same */
	f.entries[0].able_since_ns = 0;
	assert_int_equal(admit(&f, 1, &held_back), PLAN_BUSY);
	assert_true(held_back);
	f.entries[0].request = wants(&f, 2); /* a narrower one runs beside the next */
	f.q.n_earlier = 0;
	add(&f, 1, QUEUE_AGE_NS);
	assert_int_equal(admit(&f, 1, &held_back), PLAN_OK);
	teardown(&f);
}

static void test_who_does_not_come_holds_nobody_up_for_long(void **state UNUSED)
{
	struct fixture f;
	bool held_back;

	setup(&f);
	hold_llc(&f, 0);
	hold_llc(&f, 1);
	hold_llc(&f, 2);
	add(&f, 1, QUEUE_AGE_NS * 5);
	assert_int_equal(admit(&f, 1, &held_back), PLAN_BUSY);
	assert_int_equal(f.entries[0].able_since_ns, NOW);
	f.q.now_ns = NOW + QUEUE_PATIENCE_NS - 1;
	assert_int_equal(admit(&f, 1, &held_back), PLAN_BUSY);
	f.q.now_ns = NOW + QUEUE_PATIENCE_NS;
	assert_int_equal(admit(&f, 1, &held_back), PLAN_OK);
	hold_llc(&f, 3); /* patience begins anew when it could not run in between */
	assert_int_equal(admit(&f, 1, &held_back), PLAN_BUSY);
	assert_int_equal(f.entries[0].able_since_ns, 0);
	teardown(&f);
}

/*
 * Narrow ones come and go for ever on all LLCs, each holding one; a wide one needs all four. Whatever the order in which they
 * end, no narrow one starts on an LLC that the claim has gathered, so the wide one runs after each of them ended once.
 */
static void test_wide_request_is_not_starved(void **state UNUSED)
{
	struct random r = { .state = 99 };

	for (int round = 0; round < 200; round++) {
		struct fixture f;
		bool held_back;
		setup(&f);
		for (uint32_t i = 0; i < 4; i++)
			hold_llc(&f, i);
		add(&f, 3 + random_below(&r, 2), QUEUE_AGE_NS);
		uint32_t ended = 0;
		while (admit(&f, 1, &held_back) == PLAN_BUSY && !f.entries[0].able_since_ns) {
			assert_true(ended < 4);
			uint32_t llc = random_below(&r, 4);
			ended += f.locks.llcs[llc].exclusive;
			release_llc(&f, llc);
		}
		assert_true(f.entries[0].able_since_ns);
		teardown(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_before_means_the_plan_decides),
		cmocka_unit_test(test_place_is_kept_for_who_could_run_now),
		cmocka_unit_test(test_back_fill_before_a_wide_one_that_came_just_now),
		cmocka_unit_test(test_claim_of_who_waited_long_gathers_what_is_free),
		cmocka_unit_test(test_who_does_not_come_holds_nobody_up_for_long),
		cmocka_unit_test(test_wide_request_is_not_starved),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
