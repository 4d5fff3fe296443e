/* Text for readers who pause, go away, or never read, on both backends of the reactor. */
#include "cli/out_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"

enum { PAGE = 4096, BIG = 300 * 1000, TURN_NS = 100 * 1000 * 1000 };

struct fixture {
	struct reactor *reactor;
	struct out_queue queue;
	int read_fd, write_fd; /* a pipe with room for a page, its reader does not wait */
	uint8_t *data;
	struct buf got;
};

static int setup_on(enum reactor_backend backend, void **state)
{
	const struct reactor_config config = { .backend = backend };
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct error err;
	int fds[2];

	assert_int_equal(reactor_new(&config, &f->reactor, &err), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	f->read_fd = fds[0];
	f->write_fd = fds[1];
	assert_int_equal(fcntl(f->write_fd, F_SETPIPE_SZ, PAGE), PAGE);
	assert_int_equal(fd_set_nonblock(f->read_fd, true), 0);
	f->data = xcalloc(BIG, 1);
	for (size_t i = 0; i < BIG; i++)
		f->data[i] = (uint8_t)(i % 253);
	(void)signal(SIGPIPE, SIG_IGN);
	out_queue_init(&f->queue, f->write_fd);
	*state = f;
	return 0;
}

static int setup_uring(void **state)
{
	return setup_on(REACTOR_AUTO, state);
}

static int setup_epoll(void **state)
{
	return setup_on(REACTOR_EPOLL, state);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	out_queue_stop(&f->queue);
	out_queue_fini(&f->queue);
	reactor_turn(f->reactor, 0);
	f->reactor = reactor_free(f->reactor);
	fd_closep(&f->read_fd);
	fd_closep(&f->write_fd);
	buf_fini(&f->got);
	freep(&f->data);
	freep(&f);
	return 0;
}

static void read_some(struct fixture *f)
{
	ssize_t n = read(f->read_fd, buf_reserve(&f->got, PAGE), PAGE);

	if (n > 0)
		f->got.len += (size_t)n;
}

/* The reader reads, now and then, until it has @n bytes. */
static void read_all(struct fixture *f, size_t n)
{
	uint64_t end = clock_now_ns() + 60 * NS_PER_S;

	while (f->got.len < n && clock_now_ns() < end) {
		read_some(f);
		reactor_turn(f->reactor, 0);
	}
	assert_int_equal(f->got.len, n);
	assert_memory_equal(f->got.data, f->data, n);
}

static void test_text_that_fits_is_written_at_once(void **state)
{
	struct fixture *f = *state;

	out_queue_put(&f->queue, f->data, 100); /* also without a reactor */
	read_some(f);
	assert_int_equal(f->got.len, 100);
	assert_true(out_queue_is_empty(&f->queue));
}

static void test_reader_who_pauses_gets_all_and_holds_up_nobody(void **state)
{
	struct fixture *f = *state;

	out_queue_put(&f->queue, f->data, BIG / 4);
	assert_false(out_queue_is_empty(&f->queue));
	out_queue_start(&f->queue, f->reactor);
	out_queue_put(&f->queue, f->data + BIG / 4, BIG / 4);
	read_all(f, BIG / 2);
	assert_true(out_queue_is_empty(&f->queue));
	out_queue_put(&f->queue, f->data + BIG / 2, BIG / 2); /* a second pause */
	assert_false(out_queue_is_empty(&f->queue));
	read_all(f, BIG);
	assert_int_equal(f->queue.error, 0);
}

static void test_reader_who_goes_is_no_error(void **state)
{
	struct fixture *f = *state;

	out_queue_start(&f->queue, f->reactor);
	out_queue_put(&f->queue, f->data, BIG);
	fd_closep(&f->read_fd);
	uint64_t end = clock_now_ns() + 60 * NS_PER_S;
	while (!out_queue_is_empty(&f->queue) && clock_now_ns() < end)
		reactor_turn(f->reactor, TURN_NS);
	assert_true(out_queue_is_empty(&f->queue));
	assert_int_equal(f->queue.error, 0);
}

static void test_first_error_is_kept(void **state)
{
	struct fixture *f = *state;
	CLEANUP(fd_closep) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	assert_true(full >= 0);
	out_queue_init(&f->queue, full);
	out_queue_put(&f->queue, "a", 1);
	assert_int_equal(f->queue.error, -ENOSPC);
	assert_true(out_queue_is_empty(&f->queue));
	f->queue.fd = -1;
	out_queue_put(&f->queue, "b", 1);
	out_queue_flush(&f->queue);
	assert_int_equal(f->queue.error, -ENOSPC);
}

static void on_alarm(int signal UNUSED)
{
}

static void test_flush_waits_until_a_signal_is_handled(void **state)
{
	struct fixture *f = *state;
	const struct sigaction action = { .sa_handler = on_alarm };
	/* Again and again: one may come before the wait. */
	const struct itimerval every = { { 0, 20000 }, { 0, 20000 } }, off = { 0 };

	out_queue_put(&f->queue, f->data, BIG);
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
	out_queue_flush(&f->queue);
	assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
	assert_int_equal(f->queue.error, -EINTR);
	assert_true(out_queue_is_empty(&f->queue));
}

#define ON_BOTH(test)                                                                              \
	{ #test, test, setup_uring, teardown, NULL },                                              \
	{                                                                                          \
#test " (epoll)", test, setup_epoll, teardown, NULL                                \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(test_text_that_fits_is_written_at_once),
		ON_BOTH(test_reader_who_pauses_gets_all_and_holds_up_nobody),
		ON_BOTH(test_reader_who_goes_is_no_error),
		ON_BOTH(test_first_error_is_kept),
		ON_BOTH(test_flush_waits_until_a_signal_is_handled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
