/* Timers: order, punctuality, cancelling. */
#include "fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static void test_timers_fire_in_order_of_deadlines_then_of_arming(void **state)
{
	/* Deadlines in ms; the index of the one that comes n-th is in order[n]. */
	static const uint64_t deadlines[] = { 9, 3, 6, 3, 1, 9 };
	static const int order[] = { 4, 1, 3, 2, 0, 5 };
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe timers[ARRAY_SIZE(deadlines)] = { 0 };
	uint64_t start_ns = clock_now_ns();

	for (size_t i = 0; i < ARRAY_SIZE(deadlines); i++)
		reactor_timer(r, &timers[i].op, start_ns + deadlines[i] * NS_PER_MS, on_probe);
	for (size_t n = 0; n < ARRAY_SIZE(order); n++) {
		struct probe *p = &timers[order[n]];
		turns_until(r, &p->n_finals, 1);
		assert_int_equal(p->res, 0);
		if (n > 0)
			assert_true(timers[order[n - 1]].turn < p->turn);
	}
}

static void test_timer_is_never_early(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };

	for (int i = 1; i <= 20; i++) {
		uint64_t deadline_ns = clock_now_ns() + (uint64_t)i * 100 * NS_PER_US;
		reactor_timer(r, &p.op, deadline_ns, on_probe);
		turns_until(r, &p.n_finals, i);
		assert_true(clock_now_ns() >= deadline_ns);
	}
}

static void test_timer_in_the_past_fires_in_the_next_turn(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };

	reactor_timer(r, &p.op, 0, on_probe);
	assert_int_equal(p.n_finals, 0);
	reactor_turn(r, UINT64_MAX);
	assert_int_equal(p.n_finals, 1);
	assert_int_equal(p.res, 0);
}

static void on_rearm_past(struct reactor_op *op, int res, bool more)
{
	struct probe *p = container_of(op, struct probe, op);

	on_probe(op, res, more);
	if (p->n_finals < 5)
		reactor_timer(p->r, op, 0, on_rearm_past);
}

static void test_timer_rearmed_in_the_past_fires_once_a_turn(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { .r = r };

	reactor_timer(r, &p.op, 0, on_rearm_past);
	for (int i = 1; i <= 5; i++) {
		reactor_turn(r, UINT64_MAX);
		assert_int_equal(p.n_finals, i);
	}
}

struct late {
	struct probe poll;
	struct probe timer;
};

static void on_arm_past_timer(struct reactor_op *op, int res, bool more)
{
	struct late *late = container_of(op, struct late, poll.op);

	on_probe(op, res, more);
	if (more)
		reactor_timer(op->reactor, &late->timer.op, 0, on_probe);
}

static void test_timer_armed_in_the_past_by_a_callback_waits_for_the_next_turn(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct late late = { 0 };
	int fd = make_eventfd(1);

	reactor_poll(r, &late.poll.op, fd, POLLIN, on_arm_past_timer);
	turns_until(r, &late.poll.n_events, 1);
	assert_int_equal(late.timer.n_finals, 0);
	reactor_turn(r, UINT64_MAX);
	assert_int_equal(late.timer.n_finals, 1);
	finish_probe(r, &late.poll);
	close(fd);
}

static void test_turn_ends_at_its_limit_before_the_timer(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	uint64_t start_ns = clock_now_ns();

	reactor_timer(r, &p.op, start_ns + 60 * NS_PER_S, on_probe);
	reactor_turn(r, 5 * NS_PER_MS);
	uint64_t took_ns = clock_now_ns() - start_ns;
	assert_true(took_ns >= 5 * NS_PER_MS && took_ns < 5 * NS_PER_S);
	finish_probe(r, &p);
	assert_int_equal(p.res, -ECANCELED);
}

static void test_timer_at_the_end_of_time_waits_and_can_be_cancelled(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 }, soon = { 0 };

	reactor_timer(r, &p.op, UINT64_MAX, on_probe);
	reactor_timer(r, &soon.op, clock_now_ns() + NS_PER_MS, on_probe);
	turns_until(r, &soon.n_finals, 1);
	assert_int_equal(p.n_finals, 0);
	finish_probe(r, &p);
	assert_int_equal(p.res, -ECANCELED);
}

static void test_cancelled_timer_ends_in_a_turn_that_does_not_wait(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };

	reactor_timer(r, &p.op, clock_now_ns() + 60 * NS_PER_S, on_probe);
	reactor_turn(r, 0);
	reactor_cancel(r, &p.op);
	reactor_cancel(r, &p.op);
	assert_int_equal(p.n_finals, 0);
	reactor_turn(r, UINT64_MAX);
	assert_int_equal(p.n_finals, 1);
	assert_int_equal(p.res, -ECANCELED);
}

static void test_end_turns_until_the_last_callback(void **state)
{
	struct fixture *f = *state;
	struct probe armed = { .r = f->r };
	struct probe cancelled = { .r = f->r };

	reactor_timer(f->r, &armed.op, UINT64_MAX, on_probe);
	reactor_timer(f->r, &cancelled.op, UINT64_MAX, on_probe);
	reactor_cancel(f->r, &cancelled.op);
	reactor_end(f->r, &armed.op);
	assert_int_equal(armed.n_finals, 1);
	assert_int_equal(armed.res, -ECANCELED);
	reactor_end(f->r, &cancelled.op);
	assert_int_equal(cancelled.n_finals, 1);
	reactor_end(f->r, &armed.op); /* idle: nothing */
	assert_int_equal(armed.n_finals, 1);
}

/* A request's completion cancels its time-out, which is due in the same turn: it must not win. */
struct request {
	struct probe io;
	struct probe timeout;
};

static void on_io(struct reactor_op *op, int res, bool more)
{
	struct request *q = container_of(op, struct request, io.op);

	on_probe(op, res, more);
	if (more && !reactor_op_is_idle(&q->timeout.op))
		reactor_cancel(op->reactor, &q->timeout.op);
}

static void test_timer_due_and_cancelled_in_one_turn_ends_cancelled(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct request q = { 0 };
	int fd = make_eventfd(0);

	reactor_poll(r, &q.io.op, fd, POLLIN, on_io);
	reactor_turn(r, 0);
	ring_eventfd(fd);
	reactor_timer(r, &q.timeout.op, 0, on_probe);
	turns_until(r, &q.timeout.n_finals, 1);
	assert_int_equal(q.timeout.res, -ECANCELED);
	assert_int_equal(q.io.n_events, 1);
	finish_probe(r, &q.io);
	close(fd);
}

static void test_many_timers_half_cancelled_all_end_once(void **state)
{
	enum { N_TIMERS = 10000 };
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe *timers = calloc(N_TIMERS, sizeof(*timers));
	uint64_t start_ns = clock_now_ns();
	unsigned seed = 1;

	assert_non_null(timers);
	for (int i = 0; i < N_TIMERS; i++)
		reactor_timer(r, &timers[i].op,
			      start_ns + (uint64_t)(rand_r(&seed) % 50) * NS_PER_MS, on_probe);
	for (int i = 0; i < N_TIMERS; i += 2)
		reactor_cancel(r, &timers[i].op);
	for (int i = 0; i < N_TIMERS; i++) {
		turns_until(r, &timers[i].n_finals, 1);
		assert_int_equal(timers[i].res, i % 2 ? 0 : -ECANCELED);
	}
	free(timers);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_timers_fire_in_order_of_deadlines_then_of_arming),
		TEST(test_timer_is_never_early),
		TEST(test_timer_in_the_past_fires_in_the_next_turn),
		TEST(test_timer_rearmed_in_the_past_fires_once_a_turn),
		TEST(test_timer_armed_in_the_past_by_a_callback_waits_for_the_next_turn),
		TEST(test_turn_ends_at_its_limit_before_the_timer),
		TEST(test_timer_at_the_end_of_time_waits_and_can_be_cancelled),
		TEST(test_end_turns_until_the_last_callback),
		TEST(test_cancelled_timer_ends_in_a_turn_that_does_not_wait),
		TEST(test_timer_due_and_cancelled_in_one_turn_ends_cancelled),
		TEST(test_many_timers_half_cancelled_all_end_once),
	};

	return fixture_main(argc, argv, "reactor timers", tests, ARRAY_SIZE(tests));
}
