/* The turn and the life of ops: what holds for every kind, and what a reactor refuses. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- run and stop ---- */

struct stopper {
	struct reactor_msg msg;
	struct reactor *r;
	int status;
	int n_calls;
};

static void on_stop(struct reactor_msg *msg)
{
	struct stopper *s = container_of(msg, struct stopper, msg);

	s->n_calls++;
	reactor_stop(s->r, s->status);
}

static void test_run_returns_the_first_status_of_stop(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct stopper a = { .msg.fn = on_stop, .r = r, .status = 3 };
	struct stopper b = { .msg.fn = on_stop, .r = r, .status = 4 };

	(void)reactor_post(r, &a.msg);
	(void)reactor_post(r, &b.msg);
	assert_int_equal(reactor_run(r), 3);
	assert_int_equal(b.n_calls, 1); /* the turn is finished */
	(void)reactor_post(r, &b.msg);
	assert_int_equal(reactor_run(r), 4); /* it can run again */
}

static void test_stop_before_run_ends_it_at_once(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;

	reactor_stop(r, -5);
	assert_int_equal(reactor_run(r), -5);
}

static void *stop_after_200_ms(void *arg)
{
	struct stopper *s = arg;

	usleep(200000);
	(void)reactor_post(s->r, &s->msg);
	return NULL;
}

/* Exits with the number of times that the thread slept in reactor_run. */
static void run_idle(void *arg)
{
	struct reactor *r = make_reactor(0);
	struct stopper s = { .msg.fn = on_stop, .r = r };
	struct probe poll = { 0 }, timer = { 0 };
	struct rusage before, after;
	pthread_t thread;

	/* A poll whose file stays readable and a far timer are no reasons to wake up. */
	reactor_poll(r, &poll.op, make_eventfd(1), POLLIN, on_probe);
	reactor_timer(r, &timer.op, clock_now_ns() + 3600 * NS_PER_S, on_probe);
	while (!poll.n_events)
		reactor_turn(r, UINT64_MAX);
	if (pthread_create(&thread, NULL, stop_after_200_ms, &s))
		_exit(100);
	getrusage(RUSAGE_THREAD, &before);
	(void)reactor_run(r);
	getrusage(RUSAGE_THREAD, &after);
	if (pthread_join(thread, NULL) || poll.n_events != 1)
		_exit(101);
	_exit((int)(after.ru_nvcsw - before.ru_nvcsw));
}

/* In a new process: the kernel's late clean-up of a freed ring wakes its thread once more. */
static void test_idle_run_sleeps_without_waking_up(void **state)
{
	int status = run_in_child(run_idle, NULL);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

static void on_alarm(int signal)
{
}

static void test_signal_during_the_wait_loses_nothing(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct sigaction action = { .sa_handler = on_alarm }, saved;
	struct itimerval every_ms = { { 0, 1000 }, { 0, 1000 } }, off = { 0 };
	struct probe timer = { 0 };

	assert_int_equal(sigaction(SIGALRM, &action, &saved), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &every_ms, NULL), 0);
	reactor_timer(r, &timer.op, clock_now_ns() + 30 * NS_PER_MS, on_probe);
	turns_until(r, &timer.n_finals, 1);
	assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &saved, NULL), 0);
	assert_int_equal(timer.res, 0);
}

/* ---- all kinds ---- */

static pthread_t callback_thread;
static bool in_turn;

static void on_check_thread(struct reactor_op *op, int res, bool more)
{
	assert_true(in_turn);
	assert_true(pthread_equal(pthread_self(), callback_thread));
	on_probe(op, res, more);
}

enum { N_KINDS = 6 };

/* One op of each kind; none of them calls back from in here. */
static void arm_all_kinds(struct reactor *r, struct probe ops[static N_KINDS], int event_fd,
			  int file_fd, char *buf)
{
	struct iovec iov = { buf, 4 };

	reactor_poll(r, &ops[0].op, event_fd, POLLIN, on_check_thread);
	reactor_readv(r, &ops[1].op, file_fd, &iov, 1, 100, on_check_thread);
	reactor_writev(r, &ops[2].op, file_fd, &iov, 1, 0, on_check_thread);
	reactor_fsync(r, &ops[3].op, file_fd, on_check_thread);
	reactor_fallocate(r, &ops[4].op, file_fd, FALLOC_FL_KEEP_SIZE, 0, 4096, on_check_thread);
	reactor_timer(r, &ops[5].op, 0, on_check_thread);
	for (int i = 0; i < N_KINDS; i++) {
		assert_int_equal(ops[i].op.state, REACTOR_OP_ARMED);
		assert_int_equal(ops[i].n_events + ops[i].n_finals, 0);
	}
}

static int make_temp_file(void)
{
	char path[] = "/tmp/test_reactor.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

static void test_every_kind_ends_once_on_the_owner_within_a_turn(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe ops[N_KINDS] = { 0 };
	char buf[4] = "abc";
	int event_fd = make_eventfd(1), file_fd = make_temp_file();

	callback_thread = pthread_self();
	in_turn = false;
	arm_all_kinds(r, ops, event_fd, file_fd, buf);
	in_turn = true;
	turns_until(r, &ops[0].n_events, 1);
	for (int i = 1; i < N_KINDS; i++) {
		turns_until(r, &ops[i].n_finals, 1);
		assert_true(ops[i].res >= 0);
	}
	in_turn = false;
	reactor_cancel(r, &ops[0].op);
	in_turn = true;
	turns_until(r, &ops[0].n_finals, 1);
	reactor_turn(r, 0);
	for (int i = 0; i < N_KINDS; i++)
		assert_int_equal(ops[i].n_finals, 1);
	close(event_fd);
	close(file_fd);
}

static void test_every_kind_cancelled_at_once_ends_once(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe ops[N_KINDS] = { 0 };
	char buf[4] = "abc";
	int event_fd = make_eventfd(1), file_fd = make_temp_file();

	callback_thread = pthread_self();
	in_turn = false;
	arm_all_kinds(r, ops, event_fd, file_fd, buf);
	for (int i = 0; i < N_KINDS; i++)
		reactor_cancel(r, &ops[i].op);
	for (int i = 0; i < N_KINDS; i++)
		assert_int_equal(ops[i].n_finals, 0);
	in_turn = true;
	for (int i = 0; i < N_KINDS; i++) {
		turns_until(r, &ops[i].n_finals, 1);
		assert_true(ops[i].res == -ECANCELED ||
			    (ops[i].res >= 0 && i != 0 && i != N_KINDS - 1));
		assert_int_equal(ops[i].n_events, 0);
	}
	close(event_fd);
	close(file_fd);
}

/* ---- destroying from callbacks ---- */

/* An object that is freed in the last final callback of its ops, its deferred work taken back. */
struct device {
	struct reactor_op poll;
	struct reactor_op timer;
	struct reactor_op read;
	struct reactor_deferred deferred;
	struct reactor *r;
	char buf[16];
	int fd;
	int *n_freed;
};

static void device_free_if_idle(struct device *d)
{
	if (!reactor_op_is_idle(&d->poll) || !reactor_op_is_idle(&d->timer) ||
	    !reactor_op_is_idle(&d->read))
		return;
	reactor_undefer(d->r, &d->deferred);
	(*d->n_freed)++;
	close(d->fd);
	free(d);
}

static void on_device_poll(struct reactor_op *op, int res, bool more)
{
	struct device *d = container_of(op, struct device, poll);

	reactor_defer(d->r, &d->deferred);
	if (!more) {
		device_free_if_idle(d);
		return;
	}
	reactor_cancel(d->r, &d->poll);
	if (!reactor_op_is_idle(&d->timer))
		reactor_cancel(d->r, &d->timer);
	if (!reactor_op_is_idle(&d->read))
		reactor_cancel(d->r, &d->read);
}

static void on_device_timer(struct reactor_op *op, int res, bool more)
{
	device_free_if_idle(container_of(op, struct device, timer));
}

static void on_device_read(struct reactor_op *op, int res, bool more)
{
	device_free_if_idle(container_of(op, struct device, read));
}

static void on_device_deferred(struct reactor_deferred *deferred)
{
}

static void test_owner_freed_in_its_last_callback_is_not_touched_again(void **state)
{
	enum { N_DEVICES = 50 };
	struct reactor *r = ((struct fixture *)*state)->r;
	int file_fd = make_temp_file();
	int n_freed = 0;

	assert_int_equal(write(file_fd, "0123456789abcdef", 16), 16);
	for (int i = 0; i < N_DEVICES; i++) {
		struct device *d = calloc(1, sizeof(*d));
		assert_non_null(d);
		d->r = r;
		d->n_freed = &n_freed;
		d->deferred.fn = on_device_deferred;
		d->fd = make_eventfd(1);
		struct iovec iov = { d->buf, sizeof(d->buf) };
		reactor_poll(r, &d->poll, d->fd, POLLIN, on_device_poll);
		reactor_timer(r, &d->timer, clock_now_ns() + (uint64_t)(i % 3) * NS_PER_MS,
			      on_device_timer);
		reactor_readv(r, &d->read, file_fd, &iov, 1, 0, on_device_read);
		if (i % 10 == 0)
			reactor_turn(r, 0);
	}
	turns_until(r, &n_freed, N_DEVICES);
	close(file_fd);
}

/* ---- deferred work ---- */

struct log {
	struct reactor_deferred deferred;
	struct reactor_deferred second;
	struct reactor *r;
	struct probe polls[3];
	struct reactor_msg msg;
	int n_messages;
	int n_runs;
	int n_events_seen;
	int n_messages_seen;
};

static int log_n_events(const struct log *log)
{
	return log->polls[0].n_events + log->polls[1].n_events + log->polls[2].n_events;
}

static void on_log_deferred(struct reactor_deferred *d)
{
	struct log *log = container_of(d, struct log, deferred);

	log->n_runs++;
	log->n_events_seen = log_n_events(log);
	log->n_messages_seen = log->n_messages;
}

static struct log *the_log;

static void on_log_poll(struct reactor_op *op, int res, bool more)
{
	on_probe(op, res, more);
	if (more)
		reactor_defer(op->reactor, &the_log->deferred);
}

static void on_log_message(struct reactor_msg *msg)
{
	struct log *log = container_of(msg, struct log, msg);

	log->n_messages++;
	reactor_defer(log->r, &log->deferred);
}

static void test_deferred_runs_once_after_everything_else_of_the_turn(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct log log = { .deferred.fn = on_log_deferred, .r = r, .msg.fn = on_log_message };
	int fd = make_eventfd(0);

	the_log = &log;
	for (int i = 0; i < 3; i++)
		reactor_poll(r, &log.polls[i].op, fd, POLLIN, on_log_poll);
	reactor_turn(r, 0);
	ring_eventfd(fd);
	(void)reactor_post(r, &log.msg);
	int n_turns = 0;
	for (; log_n_events(&log) < 3 || !log.n_messages; n_turns++)
		reactor_turn(r, NS_PER_S);
	assert_int_equal(log.n_runs, n_turns);
	assert_int_equal(log.n_events_seen, 3);
	assert_int_equal(log.n_messages_seen, 1);
	assert_int_equal(n_turns, 1); /* all was there before the turn */
	for (int i = 0; i < 3; i++)
		finish_probe(r, &log.polls[i]);
	close(fd);
}

static void on_defer_again(struct reactor_deferred *d)
{
	struct log *log = container_of(d, struct log, deferred);

	if (++log->n_runs < 5)
		reactor_defer(log->r, d);
}

static void test_deferred_from_deferred_runs_in_the_next_turn_without_waiting(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct log log = { .deferred.fn = on_defer_again, .r = r };

	reactor_defer(r, &log.deferred);
	reactor_defer(r, &log.deferred);
	for (int i = 1; i <= 5; i++) {
		reactor_turn(r, UINT64_MAX);
		assert_int_equal(log.n_runs, i);
	}
}

static void on_undefer_second(struct reactor_deferred *d)
{
	struct log *log = container_of(d, struct log, deferred);

	log->n_runs++;
	reactor_undefer(log->r, &log->second);
}

static void on_second(struct reactor_deferred *d)
{
	container_of(d, struct log, second)->n_runs += 100;
}

static void test_undeferred_work_does_not_run_even_in_this_turn(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct log log = { .deferred.fn = on_undefer_second, .second.fn = on_second, .r = r };

	reactor_defer(r, &log.deferred);
	reactor_defer(r, &log.second);
	reactor_turn(r, UINT64_MAX);
	assert_int_equal(log.n_runs, 1);
	reactor_undefer(r, &log.second); /* not deferred: nothing */
	reactor_turn(r, 0);
	assert_int_equal(log.n_runs, 1);
}

/* ---- bugs of the owner end the process ---- */

static void *arm_elsewhere(void *arg)
{
	static struct probe p;

	reactor_timer(arg, &p.op, 0, on_probe);
	return NULL;
}

static void bug_arm_twice(void *arg)
{
	struct reactor *r = make_reactor(0);
	struct probe p = { 0 };

	reactor_timer(r, &p.op, 0, on_probe);
	reactor_timer(r, &p.op, 0, on_probe);
}

static void bug_arm_while_cancelling(void *arg)
{
	struct reactor *r = make_reactor(0);
	struct probe p = { 0 };

	reactor_timer(r, &p.op, 0, on_probe);
	reactor_cancel(r, &p.op);
	reactor_timer(r, &p.op, 0, on_probe);
}

static void bug_cancel_idle(void *arg)
{
	struct probe p = { 0 };

	reactor_cancel(make_reactor(0), &p.op);
}

static void bug_free_with_armed(void *arg)
{
	struct reactor *r = make_reactor(0);
	struct probe p = { 0 };

	reactor_poll(r, &p.op, make_eventfd(0), POLLIN, on_probe);
	reactor_turn(r, 0);
	reactor_free(r);
}

static void bug_free_with_cancelling(void *arg)
{
	struct reactor *r = make_reactor(0);
	struct probe p = { 0 };

	reactor_timer(r, &p.op, UINT64_MAX, on_probe);
	reactor_cancel(r, &p.op);
	reactor_free(r);
}

static void bug_free_with_message(void *arg)
{
	struct reactor *r = make_reactor(0);
	struct stopper s = { .msg.fn = on_stop, .r = r };

	(void)reactor_post(r, &s.msg);
	reactor_free(r);
}

static void bug_free_with_deferred(void *arg)
{
	struct reactor *r = make_reactor(0);
	struct log log = { .deferred.fn = on_log_deferred, .r = r };

	reactor_defer(r, &log.deferred);
	reactor_free(r);
}

static void bug_arm_on_other_thread(void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, arm_elsewhere, make_reactor(0)) == 0)
		pthread_join(thread, NULL);
}

static void on_turn_in_turn(struct reactor_op *op, int res, bool more)
{
	reactor_turn(op->reactor, 0);
}

static void bug_turn_in_callback(void *arg)
{
	struct reactor *r = make_reactor(0);
	struct probe p = { 0 };

	reactor_timer(r, &p.op, 0, on_turn_in_turn);
	reactor_turn(r, 0);
}

static void test_bugs_of_the_owner_abort(void **state)
{
	static void (*const bugs[])(void *) = {
		bug_arm_twice,          bug_arm_while_cancelling, bug_cancel_idle,
		bug_free_with_armed,    bug_free_with_cancelling, bug_free_with_message,
		bug_free_with_deferred, bug_arm_on_other_thread,  bug_turn_in_callback,
	};

	for (size_t i = 0; i < ARRAY_SIZE(bugs); i++) {
		int status = run_in_child(bugs[i], NULL);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
			fail_msg("bug %zu: status %#x, expected SIGABRT", i, (unsigned)status);
	}
}

static void test_free_of_null_is_null(void **state)
{
	assert_null(reactor_free(NULL));
}

static void test_two_reactors_of_a_thread_do_not_share(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct reactor *other = make_reactor(0);
	struct probe a = { 0 }, b = { 0 };

	reactor_timer(r, &a.op, 0, on_probe);
	reactor_timer(other, &b.op, 0, on_probe);
	reactor_turn(r, 0);
	assert_int_equal(a.n_finals, 1);
	assert_int_equal(b.n_finals, 0);
	reactor_turn(other, 0);
	assert_int_equal(b.n_finals, 1);
	reactor_free(other);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_run_returns_the_first_status_of_stop),
		TEST(test_stop_before_run_ends_it_at_once),
		TEST(test_idle_run_sleeps_without_waking_up),
		TEST(test_signal_during_the_wait_loses_nothing),
		TEST(test_every_kind_ends_once_on_the_owner_within_a_turn),
		TEST(test_every_kind_cancelled_at_once_ends_once),
		TEST(test_owner_freed_in_its_last_callback_is_not_touched_again),
		TEST(test_deferred_runs_once_after_everything_else_of_the_turn),
		TEST(test_deferred_from_deferred_runs_in_the_next_turn_without_waiting),
		TEST(test_undeferred_work_does_not_run_even_in_this_turn),
		TEST(test_bugs_of_the_owner_abort),
		TEST(test_free_of_null_is_null),
		TEST(test_two_reactors_of_a_thread_do_not_share),
	};

	return fixture_main(argc, argv, "reactor", tests, ARRAY_SIZE(tests));
}
