/* Polls: eventfd, pipe, socket; re-arming; cancelling. */
#include "fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_poll_of_ready_fd_reports_once_at_arm(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fd = make_eventfd(1);

	reactor_poll(r, &p.op, fd, POLLIN, on_probe);
	assert_int_equal(p.n_events, 0); /* never from inside arm */
	turns_until(r, &p.n_events, 1);
	reactor_turn(r, 20 * NS_PER_MS);
	assert_int_equal(p.n_events, 1); /* still readable, but no new wake-up */
	assert_int_equal(p.events, POLLIN);
	finish_probe(r, &p);
	close(fd);
}

static void test_poll_of_unread_eventfd_reports_every_write(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fd = make_eventfd(0);

	reactor_poll(r, &p.op, fd, POLLIN, on_probe);
	reactor_turn(r, 0);
	assert_int_equal(p.n_events, 0);
	for (int i = 1; i <= 100; i++) {
		ring_eventfd(fd);
		turns_until(r, &p.n_events, i);
	}
	assert_int_equal(p.n_finals, 0);
	finish_probe(r, &p);
	assert_int_equal(p.res, -ECANCELED);
	close(fd);
}

static void test_poll_writes_between_turns_coalesce_or_count(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fd = make_eventfd(0);

	reactor_poll(r, &p.op, fd, POLLIN, on_probe);
	reactor_turn(r, 0);
	for (int i = 0; i < 10; i++)
		ring_eventfd(fd);
	reactor_turn(r, NS_PER_S);
	reactor_turn(r, 0);
	assert_in_range(p.n_events, 1, 10);
	finish_probe(r, &p);
	close(fd);
}

static void test_poll_of_pipe_reports_data_then_hup(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	reactor_poll(r, &p.op, fds[0], POLLIN, on_probe);
	reactor_turn(r, 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	turns_until(r, &p.n_events, 1);
	assert_int_equal(p.events, POLLIN);
	close(fds[1]);
	turns_until(r, &p.n_events, 2);
	assert_true(p.events & POLLHUP);
	finish_probe(r, &p);
	close(fds[0]);
}

static void test_poll_of_pipe_end_without_reader_reports_err(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	reactor_poll(r, &p.op, fds[1], POLLOUT, on_probe);
	turns_until(r, &p.n_events, 1);
	assert_true(p.events & POLLERR);
	finish_probe(r, &p);
	close(fds[1]);
}

static void test_poll_of_socket_reports_room_data_and_hup(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	reactor_poll(r, &p.op, fds[0], POLLIN | POLLOUT, on_probe);
	turns_until(r, &p.n_events, 1);
	assert_int_equal(p.events, POLLOUT);
	assert_int_equal(write(fds[1], "x", 1), 1);
	turns_until(r, &p.n_events, 2);
	assert_int_equal(p.events, POLLIN | POLLOUT);
	close(fds[1]);
	turns_until(r, &p.n_events, 3);
	assert_true(p.events & POLLHUP);
	finish_probe(r, &p);
	close(fds[0]);
}

static void test_poll_of_bad_fd_ends_with_ebadf(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };

	reactor_poll(r, &p.op, -1, POLLIN, on_probe);
	assert_int_equal(p.n_finals, 0);
	turns_until(r, &p.n_finals, 1);
	assert_int_equal(p.res, -EBADF);
	assert_int_equal(p.n_events, 0);
}

static void test_two_polls_of_one_fd_both_report_and_end_alone(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe a = { 0 }, b = { 0 };
	int fd = make_eventfd(0);

	reactor_poll(r, &a.op, fd, POLLIN, on_probe);
	reactor_poll(r, &b.op, fd, POLLIN, on_probe);
	reactor_turn(r, 0);
	ring_eventfd(fd);
	turns_until(r, &a.n_events, 1);
	turns_until(r, &b.n_events, 1);
	finish_probe(r, &a);
	ring_eventfd(fd);
	turns_until(r, &b.n_events, 2);
	assert_int_equal(a.n_events, 1);
	assert_int_equal(a.n_finals, 1);
	assert_int_equal(b.n_finals, 0);
	finish_probe(r, &b);
	close(fd);
}

static void test_closed_fd_keeps_its_poll_until_cancel(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fd = make_eventfd(0);
	int other = dup(fd);

	reactor_poll(r, &p.op, fd, POLLIN, on_probe);
	reactor_turn(r, 0);
	close(fd);
	ring_eventfd(other);
	turns_until(r, &p.n_events, 1);
	assert_int_equal(p.n_finals, 0);
	finish_probe(r, &p);
	assert_int_equal(p.res, -ECANCELED);
	close(other);
}

static void test_fd_may_be_closed_right_after_cancel(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe armed = { 0 }, fresh = { 0 };
	int fd = make_eventfd(0);

	reactor_poll(r, &armed.op, fd, POLLIN, on_probe);
	reactor_turn(r, 0);
	reactor_poll(r, &fresh.op, fd, POLLIN, on_probe);
	reactor_cancel(r, &armed.op);
	reactor_cancel(r, &fresh.op);
	close(fd);
	turns_until(r, &armed.n_finals, 1);
	turns_until(r, &fresh.n_finals, 1);
	assert_int_equal(armed.res, -ECANCELED);
	assert_int_equal(fresh.res, -ECANCELED);
}

static void test_cancel_in_the_turn_of_arm_swallows_the_event(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fd = make_eventfd(1);

	reactor_poll(r, &p.op, fd, POLLIN, on_probe);
	finish_probe(r, &p);
	assert_int_equal(p.res, -ECANCELED);
	assert_int_equal(p.n_events, 0);
	close(fd);
}

static void test_cancel_after_wake_up_swallows_the_event(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fd = make_eventfd(0);

	reactor_poll(r, &p.op, fd, POLLIN, on_probe);
	reactor_turn(r, 0);
	ring_eventfd(fd);
	finish_probe(r, &p);
	assert_int_equal(p.res, -ECANCELED);
	assert_int_equal(p.n_events, 0);
	reactor_turn(r, 0);
	reactor_turn(r, 0);
	assert_int_equal(p.n_finals, 1);
	close(fd);
}

static void test_cancel_twice_ends_once(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fd = make_eventfd(0);

	reactor_poll(r, &p.op, fd, POLLIN, on_probe);
	reactor_turn(r, 0);
	reactor_cancel(r, &p.op);
	reactor_cancel(r, &p.op);
	assert_int_equal(p.op.state, REACTOR_OP_CANCELLING);
	turns_until(r, &p.n_finals, 1);
	reactor_turn(r, 0);
	assert_int_equal(p.n_finals, 1);
	close(fd);
}

/* Of two polls whose events come in one turn, the first callback cancels the other. */
struct rival {
	struct probe probe;
	struct rival *other;
};

static void on_rival(struct reactor_op *op, int res, bool more)
{
	struct rival *me = container_of(op, struct rival, probe.op);

	on_probe(op, res, more);
	if (more && me->other->probe.op.state == REACTOR_OP_ARMED)
		reactor_cancel(op->reactor, &me->other->probe.op);
}

static void test_cancel_from_callback_of_the_same_turn_ends_the_other_silently(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct rival a = { 0 }, b = { 0 };
	int fd = make_eventfd(0);

	a.other = &b;
	b.other = &a;
	reactor_poll(r, &a.probe.op, fd, POLLIN, on_rival);
	reactor_poll(r, &b.probe.op, fd, POLLIN, on_rival);
	reactor_turn(r, 0);
	ring_eventfd(fd);
	struct rival *winner = &a;
	uint64_t end_ns = clock_now_ns() + NS_PER_S;
	while (a.probe.n_finals + b.probe.n_finals == 0 && clock_now_ns() < end_ns)
		reactor_turn(r, 10 * NS_PER_MS);
	if (b.probe.n_events)
		winner = &b;
	assert_int_equal(winner->probe.n_events, 1);
	assert_int_equal(winner->probe.n_finals, 0);
	assert_int_equal(winner->other->probe.n_events, 0);
	assert_int_equal(winner->other->probe.n_finals, 1);
	assert_int_equal(winner->other->probe.res, -ECANCELED);
	finish_probe(r, &winner->probe);
	close(fd);
}

static void on_cancel_self(struct reactor_op *op, int res, bool more)
{
	on_probe(op, res, more);
	if (more)
		reactor_cancel(op->reactor, op);
}

static void test_cancel_from_own_event_ends_it(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { 0 };
	int fd = make_eventfd(1);

	reactor_poll(r, &p.op, fd, POLLIN, on_cancel_self);
	turns_until(r, &p.n_finals, 1);
	assert_int_equal(p.n_events, 1);
	assert_int_equal(p.res, -ECANCELED);
	close(fd);
}

/* Armed again in its final callback: the cancel of the first arm must not hit the second. */
static void on_rearm_once(struct reactor_op *op, int res, bool more)
{
	struct probe *p = container_of(op, struct probe, op);

	on_probe(op, res, more);
	if (!more && p->n_finals == 1)
		reactor_poll(p->r, op, op->fd, POLLIN, on_rearm_once);
}

static void test_rearm_in_final_callback_survives_the_old_cancel(void **state)
{
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe p = { .r = r };
	int fd = make_eventfd(0);

	reactor_poll(r, &p.op, fd, POLLIN, on_rearm_once);
	reactor_turn(r, 0);
	finish_probe(r, &p);
	assert_int_equal(p.op.state, REACTOR_OP_ARMED);
	for (int i = 1; i <= 3; i++) {
		ring_eventfd(fd);
		turns_until(r, &p.n_events, i);
	}
	assert_int_equal(p.n_finals, 1);
	finish_probe(r, &p);
	close(fd);
}

/* More ready polls than completion entries: the kernel ends some, their owners must not notice. */
static void test_polls_beyond_the_completion_queue_go_on_unseen(void **state)
{
	enum { N_POLLS = 200, N_ROUNDS = 5 };
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe *polls = calloc(N_POLLS, sizeof(*polls));
	int fds[N_POLLS];

	assert_non_null(polls);
	for (int i = 0; i < N_POLLS; i++) {
		fds[i] = make_eventfd(1);
		reactor_poll(r, &polls[i].op, fds[i], POLLIN, on_probe);
	}
	for (int i = 0; i < N_POLLS; i++)
		turns_until(r, &polls[i].n_events, 1);
	for (int round = 0; round < N_ROUNDS; round++) {
		for (int i = 0; i < N_POLLS; i++) {
			polls[i].n_events = 0;
			ring_eventfd(fds[i]);
		}
		uint64_t end_ns = clock_now_ns() + 10 * NS_PER_S;
		for (int i = 0; i < N_POLLS; i++)
			while (!polls[i].n_events && clock_now_ns() < end_ns)
				reactor_turn(r, 10 * NS_PER_MS);
	}
	for (int i = 0; i < N_POLLS; i++) {
		assert_true(polls[i].n_events > 0);
		assert_int_equal(polls[i].n_finals, 0);
		reactor_cancel(r, &polls[i].op);
	}
	for (int i = 0; i < N_POLLS; i++) {
		turns_until(r, &polls[i].n_finals, 1);
		assert_int_equal(polls[i].res, -ECANCELED);
		close(fds[i]);
	}
	free(polls);
}

/* One submission entry, so a turn for each poll: none of them may sleep while others wait for it.
 */
static void test_polls_beyond_the_submission_queue_are_armed_without_delay(void **state)
{
	enum { N_POLLS = 50 };
	struct reactor *r = ((struct fixture *)*state)->r;
	struct probe polls[N_POLLS] = { 0 };
	int idle = make_eventfd(0), ready = make_eventfd(1);

	for (int i = 0; i < N_POLLS; i++)
		reactor_poll(r, &polls[i].op, i + 1 < N_POLLS ? idle : ready, POLLIN, on_probe);
	turns_until(r, &polls[N_POLLS - 1].n_events, 1);
	for (int i = 0; i < N_POLLS; i++)
		finish_probe(r, &polls[i]);
	close(idle);
	close(ready);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_poll_of_ready_fd_reports_once_at_arm),
		TEST(test_poll_of_unread_eventfd_reports_every_write),
		TEST(test_poll_writes_between_turns_coalesce_or_count),
		TEST(test_poll_of_pipe_reports_data_then_hup),
		TEST(test_poll_of_pipe_end_without_reader_reports_err),
		TEST(test_poll_of_socket_reports_room_data_and_hup),
		TEST(test_poll_of_bad_fd_ends_with_ebadf),
		TEST(test_two_polls_of_one_fd_both_report_and_end_alone),
		TEST(test_closed_fd_keeps_its_poll_until_cancel),
		TEST(test_fd_may_be_closed_right_after_cancel),
		TEST(test_cancel_in_the_turn_of_arm_swallows_the_event),
		TEST(test_cancel_after_wake_up_swallows_the_event),
		TEST(test_cancel_twice_ends_once),
		TEST(test_cancel_from_callback_of_the_same_turn_ends_the_other_silently),
		TEST(test_cancel_from_own_event_ends_it),
		TEST(test_rearm_in_final_callback_survives_the_old_cancel),
		cmocka_unit_test_setup_teardown(
		    test_polls_beyond_the_submission_queue_are_armed_without_delay,
		    fixture_setup_tiny, fixture_teardown),
		TEST(test_polls_beyond_the_completion_queue_go_on_unseen),
		cmocka_unit_test_setup_teardown(test_polls_beyond_the_completion_queue_go_on_unseen,
						fixture_setup_tiny, fixture_teardown),
	};

	return fixture_main(argc, argv, "reactor polls", tests, ARRAY_SIZE(tests));
}
