/* The wait for a place, on both back ends of the reactor, against other processes. */
#include "harness/waiter.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "hosts.h"
#include "scratch_dir.h"

struct fixture {
	char *path;
	struct lock_dir dir;
	struct host *h; /* 2 LLCs of 2 CPUs */
	struct reactor *r;
	struct reactor_op timer;
	void (*on_timer)(struct fixture *f);
	pid_t other;
};

static void setup(struct fixture *f, enum reactor_backend backend)
{
	struct error err;

	*f = (struct fixture){ .path = scratch_dir_new(), .h = host_regular(1, 2, 2, 1, false) };
	assert_int_equal(lock_dir_open(&f->dir, f->path, true, &err), 0);
	if (reactor_new(&(struct reactor_config){ .backend = backend }, &f->r, &err) < 0) {
		print_message("%s\n", err.text);
		lock_dir_close(&f->dir);
		scratch_dir_free(f->path);
		f->h = host_free(f->h);
		skip();
	}
}

static void teardown(struct fixture *f)
{
	(void)reactor_free(f->r);
	lock_dir_close(&f->dir);
	scratch_dir_free(f->path);
	f->h = host_free(f->h);
}

static void on_done(struct waiter *w, int res)
{
	reactor_stop(w->reactor, res);
}

/* Waits for @llcs whole LLCs, at most @timeout_ms. */
static int wait_for(struct fixture *f, struct waiter *w, uint32_t llcs, uint64_t timeout_ms)
{
	struct plan_request r = request_of(f->h, PLAN_PERFORMANCE, 1, llcs, 1, 1);
	const struct waiter_config config = { .host = f->h,
					      .dir = &f->dir,
					      .request = &r,
					      .timeout_ns = timeout_ms * NS_PER_MS,
					      .fn = on_done };

	waiter_start(w, f->r, &config);
	return reactor_run(f->r);
}

static const struct plan_lock both[] = { { PLAN_LOCK_LLC, true, 0 }, { PLAN_LOCK_LLC, true, 1 } };

static void on_fixture_timer(struct reactor_op *op, int res UNUSED, bool more UNUSED)
{
	struct fixture *f = container_of(op, struct fixture, timer);

	f->on_timer(f);
}

static void after_ms(struct fixture *f, uint64_t ms, void (*fn)(struct fixture *f))
{
	f->on_timer = fn;
	reactor_timer(f->r, &f->timer, clock_now_ns() + ms * NS_PER_MS, on_fixture_timer);
}

static void kill_other(struct fixture *f)
{
	holder_kill(f->other);
}

static void check_free_place(enum reactor_backend backend)
{
	struct fixture f;
	struct waiter w;

	setup(&f, backend);
	assert_int_equal(wait_for(&f, &w, 1, 60000), 0);
	assert_int_equal(w.stats.n_looks, 1);
	assert_int_equal(w.acquire.plan.n_vllcs, 1);
	waiter_fini(&w);
	teardown(&f);
}

static void check_release_wakes(enum reactor_backend backend)
{
	struct fixture f;
	struct waiter w;

	setup(&f, backend);
	f.other = holder_start(f.path, both, 2);
	after_ms(&f, 400, kill_other);
	uint64_t begin_ns = clock_now_ns();
	assert_int_equal(wait_for(&f, &w, 2, 60000), 0);
	/* By the event: the retries after the first look are over by then, and nothing else is timed. */
	assert_true(clock_now_ns() - begin_ns < 30 * NS_PER_S);
	assert_true(clock_now_ns() - begin_ns >= 400 * NS_PER_MS);
	waiter_fini(&w);
	teardown(&f);
}

static void check_time_out_names_the_holder(enum reactor_backend backend)
{
	CLEANUP(freep) char *pid = NULL;
	struct fixture f;
	struct waiter w;

	setup(&f, backend);
	f.other = holder_start(f.path, both, 2);
	pid = xasprintf("LLC 0: %d (", (int)f.other);
	assert_int_equal(wait_for(&f, &w, 1, 0), -ETIMEDOUT);
	assert_int_equal(w.stats.n_looks, 1);
	assert_int_equal(w.err.class, ERROR_INFRA);
	assert_non_null(strstr(w.err.text, pid));
	waiter_fini(&w);
	assert_int_equal(wait_for(&f, &w, 1, 150), -ETIMEDOUT);
	waiter_fini(&w);
	holder_kill(f.other);
	teardown(&f);
}

static void check_waiting_costs_nothing(enum reactor_backend backend)
{
	struct fixture f;
	struct waiter w;

	setup(&f, backend);
	f.other = holder_start(f.path, both, 2);
	assert_int_equal(wait_for(&f, &w, 1, 1500), -ETIMEDOUT);
	/* Before and after there is a watch, three retries, the end; in 1.5 s nothing else. */
	assert_in_range(w.stats.n_looks, 5, 6);
	assert_true(w.stats.n_wakeups <= 7);
	waiter_fini(&w);
	holder_kill(f.other);
	teardown(&f);
}

static void check_impossible_does_not_wait(enum reactor_backend backend)
{
	struct fixture f;
	struct waiter w;

	setup(&f, backend);
	assert_int_equal(wait_for(&f, &w, 3, 60000), -ENODEV);
	assert_int_equal(w.err.class, ERROR_SKIP);
	waiter_fini(&w);
	teardown(&f);
}

static struct waiter *to_cancel;

static void cancel_waiter(struct fixture *f UNUSED)
{
	waiter_cancel(to_cancel);
}

static void check_cancel(enum reactor_backend backend)
{
	struct fixture f;
	struct waiter w;

	setup(&f, backend);
	f.other = holder_start(f.path, both, 2);
	to_cancel = &w;
	after_ms(&f, 50, cancel_waiter);
	assert_int_equal(wait_for(&f, &w, 1, 60000), -ECANCELED);
	waiter_fini(&w);
	holder_kill(f.other);
	teardown(&f);
}

/* Somebody was stopped while it had the select lock: that must not stop the host. */
static void check_stopped_selector(enum reactor_backend backend)
{
	struct fixture f;
	struct waiter w;

	setup(&f, backend);
	int fd = lock_dir_open_file(f.dir.fd, LOCK_SELECT_FILE, false);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(wait_for(&f, &w, 1, 60000), 0);
	assert_true(w.stats.n_looks >= 3);
	waiter_fini(&w);
	(void)close(fd);
	teardown(&f);
}

static int select_fd;

static void end_selection(struct fixture *f UNUSED)
{
	assert_int_equal(flock(select_fd, LOCK_UN), 0);
	assert_int_equal(futimens(select_fd, NULL), 0);
}

static void check_bell_of_the_selector(enum reactor_backend backend)
{
	struct fixture f;
	struct waiter w;

	setup(&f, backend);
	select_fd = lock_dir_open_file(f.dir.fd, LOCK_SELECT_FILE, false);
	assert_int_equal(flock(select_fd, LOCK_EX | LOCK_NB), 0);
	after_ms(&f, 100, end_selection);
	assert_int_equal(wait_for(&f, &w, 1, 60000), 0);
	waiter_fini(&w);
	(void)close(select_fd);
	teardown(&f);
}

/* A waiter that came earlier, could run, and does not: a stopped process. Its ticket is all there is of it. */
static void check_stopped_waiter_ahead(enum reactor_backend backend)
{
	struct tickets t = TICKETS_INIT;
	struct fixture f;
	struct waiter w;
	struct error err;

	setup(&f, backend);
	struct plan_request r = request_of(f.h, PLAN_PERFORMANCE, 1, 1, 2, 1);
	assert_int_equal(tickets_take(&t, &f.dir, &r, clock_now_ns(), &err), 0);
	uint64_t begin_ns = clock_now_ns();
	assert_int_equal(wait_for(&f, &w, 1, 60000), 0);
	assert_true(clock_now_ns() - begin_ns >= QUEUE_PATIENCE_NS);
	waiter_fini(&w);
	tickets_fini(&t);
	teardown(&f);
}

static void check_place_is_given_up(enum reactor_backend backend)
{
	struct fixture f;
	struct waiter w;
	int fds[8];

	setup(&f, backend);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(wait_for(&f, &w, 1, 0), 0);
		assert_int_equal(locks_held_fds(&w.acquire.locks, fds), 1);
		waiter_fini(&w);
	}
	teardown(&f);
}

#define BOTH_BACKENDS(name, check)                                                                 \
	static void name##_uring(void **state UNUSED)                                              \
	{                                                                                          \
		check(REACTOR_URING);                                                              \
	}                                                                                          \
	static void name##_epoll(void **state UNUSED)                                              \
	{                                                                                          \
		check(REACTOR_EPOLL);                                                              \
	}

BOTH_BACKENDS(test_free_place_is_taken_at_once, check_free_place)
BOTH_BACKENDS(test_death_of_a_holder_wakes, check_release_wakes)
BOTH_BACKENDS(test_time_out_names_the_holder, check_time_out_names_the_holder)
BOTH_BACKENDS(test_waiting_costs_nothing, check_waiting_costs_nothing)
BOTH_BACKENDS(test_what_is_impossible_is_not_waited_for, check_impossible_does_not_wait)
BOTH_BACKENDS(test_cancel_ends_the_wait, check_cancel)
BOTH_BACKENDS(test_stopped_selector_stops_nobody, check_stopped_selector)
BOTH_BACKENDS(test_end_of_a_selection_rings, check_bell_of_the_selector)
BOTH_BACKENDS(test_stopped_waiter_ahead_stops_nobody, check_stopped_waiter_ahead)
BOTH_BACKENDS(test_place_is_given_up_at_the_end, check_place_is_given_up)

#define BOTH(name) cmocka_unit_test(name##_uring), cmocka_unit_test(name##_epoll)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_free_place_is_taken_at_once),
		BOTH(test_death_of_a_holder_wakes),
		BOTH(test_time_out_names_the_holder),
		BOTH(test_waiting_costs_nothing),
		BOTH(test_what_is_impossible_is_not_waited_for),
		BOTH(test_cancel_ends_the_wait),
		BOTH(test_stopped_selector_stops_nobody),
		BOTH(test_end_of_a_selection_rings),
		BOTH(test_stopped_waiter_ahead_stops_nobody),
		BOTH(test_place_is_given_up_at_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
