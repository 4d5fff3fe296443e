/* Work announced in memory: no announcement is missed, however the two sides interleave. */
#include "fixture.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/* A guest's queue, reduced to its index: the other side counts up, and rings if it was asked to. */
struct queue {
	struct reactor *r;
	struct reactor_watch watch;
	struct reactor_op bell_op;
	int bell_fd;
	_Atomic unsigned n_announced;
	_Atomic unsigned n_done;
	_Atomic bool is_bell_wanted;
	unsigned n_rung, n_found, n_asked;
	bool unwatch_at_work;
};

static struct queue *queue_of(struct reactor_watch *w)
{
	return container_of(w, struct queue, watch);
}

static bool look(struct reactor_watch *w)
{
	struct queue *q = queue_of(w);

	return atomic_load(&q->n_announced) != atomic_load(&q->n_done);
}

static bool ask(struct reactor_watch *w)
{
	struct queue *q = queue_of(w);

	q->n_asked++;
	atomic_store(&q->is_bell_wanted, true);
	return look(w);
}

static void take_all(struct queue *q)
{
	atomic_store(&q->is_bell_wanted, false);
	atomic_store(&q->n_done, atomic_load(&q->n_announced));
}

static void work(struct reactor_watch *w)
{
	struct queue *q = queue_of(w);

	q->n_found++;
	take_all(q);
	if (q->unwatch_at_work)
		reactor_unwatch(q->r, w);
}

static const struct reactor_watch_ops ops = { .look = look, .ask = ask, .work = work };

static void on_bell(struct reactor_op *op, int res, bool more UNUSED)
{
	struct queue *q = container_of(op, struct queue, bell_op);

	if (res < 0)
		return;
	q->n_rung++;
	q->watch.found = false;
	take_all(q);
}

static void start(struct queue *q, struct reactor *r)
{
	*q = (struct queue){ .r = r, .watch.ops = &ops, .bell_fd = make_eventfd(0) };
	reactor_poll(r, &q->bell_op, q->bell_fd, POLLIN, on_bell);
	reactor_watch(r, &q->watch);
	reactor_turn(r, 0);
	q->n_asked = q->n_rung = q->n_found = 0;
}

static void stop(struct queue *q)
{
	reactor_unwatch(q->r, &q->watch);
	reactor_cancel(q->r, &q->bell_op);
	while (!reactor_op_is_idle(&q->bell_op))
		reactor_turn(q->r, UINT64_MAX);
	(void)close(q->bell_fd);
}

static void announce(struct queue *q)
{
	atomic_fetch_add(&q->n_announced, 1);
	if (atomic_load(&q->is_bell_wanted))
		ring_eventfd(q->bell_fd);
}

/* The other side: one announcement after the other, each when the last one is done. */

enum { N_ROUNDS = 20000, PAUSE_EVERY = 1000 };

static void *announce_many(void *arg)
{
	const struct timespec pause = { .tv_nsec = NS_PER_MS };
	struct queue *q = arg;

	for (unsigned i = 0; i < N_ROUNDS; i++) {
		if (i % PAUSE_EVERY == 0)
			(void)nanosleep(&pause,
					NULL); /* now and then the reactor sleeps for sure */
		announce(q);
		while (atomic_load(&q->n_done) != i + 1)
			(void)sched_yield();
	}
	return NULL;
}

static void test_no_announcement_is_missed(void **state)
{
	struct fixture *f = *state;
	struct queue q;
	pthread_t thread;

	start(&q, f->r);
	assert_int_equal(pthread_create(&thread, NULL, announce_many, &q), 0);
	uint64_t deadline_ns = clock_now_ns() + 60 * NS_PER_S;
	while (atomic_load(&q.n_done) != N_ROUNDS) {
		unsigned before = atomic_load(&q.n_done);
		uint64_t begin_ns = clock_now_ns();
		reactor_turn(f->r, 10 * NS_PER_S);
		/* A turn that slept its whole time has missed one. */
		assert_true(clock_now_ns() - begin_ns < 10 * NS_PER_S ||
			    atomic_load(&q.n_done) != before);
		assert_true(clock_now_ns() < deadline_ns);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(q.n_rung > 0); /* the pauses */
	stop(&q);
}

static void test_before_a_sleep_the_bell_is_asked_for(void **state)
{
	struct fixture *f = *state;
	struct queue q;

	start(&q, f->r);
	take_all(&q);
	reactor_turn(f->r, NS_PER_MS);
	assert_int_equal(q.n_asked, 1);
	announce(&q);
	assert_int_equal(q.n_rung, 0);
	reactor_turn(f->r, NS_PER_S);
	assert_int_equal(q.n_rung + q.n_found, 1);
	assert_int_equal(q.n_done, 1);
	stop(&q);
}

static void test_what_came_before_the_bell_was_asked_for_needs_no_sleep(void **state)
{
	struct fixture *f = *state;
	struct queue q;

	start(&q, f->r);
	take_all(&q);
	announce(&q); /* not rung: nobody asked */
	uint64_t begin_ns = clock_now_ns();
	reactor_turn(f->r, 20 * NS_PER_S);
	assert_true(clock_now_ns() - begin_ns < 10 * NS_PER_S);
	assert_int_equal(q.n_found, 1);
	assert_int_equal(q.n_rung, 0);
	stop(&q);
}

static void test_work_may_unwatch_itself(void **state)
{
	struct fixture *f = *state;
	struct queue q[2];

	start(&q[0], f->r);
	start(&q[1], f->r);
	q[0].unwatch_at_work = true;
	take_all(&q[0]);
	take_all(&q[1]);
	announce(&q[0]);
	announce(&q[1]);
	reactor_turn(f->r, NS_PER_S);
	assert_int_equal(q[0].n_found, 1);
	assert_int_equal(q[1].n_found, 1);
	stop(&q[0]);
	stop(&q[1]);
}

/* Waits were short lately: the reactor looks before it sleeps. What is armed meanwhile must get away. */
static void test_more_ops_than_the_queue_takes_are_armed_amid_looks(void **state)
{
	enum { N_SHORT_WAITS = 20, N_POLLS = 3 };
	struct fixture *f = *state;
	struct probe probes[N_POLLS] = { 0 };
	int fds[N_POLLS];
	struct queue q;

	start(&q, f->r);
	for (int i = 0; i < N_SHORT_WAITS; i++) {
		announce(&q);
		reactor_turn(f->r, NS_PER_S);
	}
	for (int i = 0; i < N_POLLS; i++) {
		fds[i] = make_eventfd(1);
		reactor_poll(f->r, &probes[i].op, fds[i], POLLIN, on_probe);
	}
	for (int i = 0; i < N_POLLS; i++)
		turns_until(f->r, &probes[i].n_events, 1);
	for (int i = 0; i < N_POLLS; i++) {
		finish_probe(f->r, &probes[i]);
		(void)close(fds[i]);
	}
	stop(&q);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
#define TINY(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup_tiny, fixture_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_no_announcement_is_missed),
		TEST(test_before_a_sleep_the_bell_is_asked_for),
		TEST(test_what_came_before_the_bell_was_asked_for_needs_no_sleep),
		TEST(test_work_may_unwatch_itself),
		TINY(test_more_ops_than_the_queue_takes_are_armed_amid_looks),
	};

	return fixture_main(argc, argv, "reactor watches", tests, ARRAY_SIZE(tests));
}
