/* Output that a signal can interrupt, to readers that are slow, gone, or stuck. */
#include "cli/out.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

enum { BIG = 1 << 20 };

struct fixture {
	int fds[2];    /* the pipe */
	int signal_fd; /* an eventfd stands for the signalfd */
	uint8_t *data;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->data = malloc(BIG);
	assert_non_null(f->data);
	for (size_t i = 0; i < BIG; i++)
		f->data[i] = (uint8_t)(i % 253);
	assert_int_equal(pipe2(f->fds, O_CLOEXEC), 0);
	f->signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(f->signal_fd >= 0);
	(void)signal(SIGPIPE, SIG_IGN);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fd_closep(&f->fds[0]);
	fd_closep(&f->fds[1]);
	fd_closep(&f->signal_fd);
	free(f->data);
	free(f);
	return 0;
}

/* In a child: reads all, slowly, and tells by its status whether it was right. */
static pid_t slow_reader(struct fixture *f)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	size_t at = 0;
	uint8_t bytes[30000];
	ssize_t n;
	fd_closep(&f->fds[1]);
	while ((n = read(f->fds[0], bytes, sizeof(bytes))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (bytes[i] != (uint8_t)(at++ % 253))
				_exit(1);
		usleep(1000);
	}
	_exit(at == BIG ? 0 : 2);
}

static void test_slow_reader_gets_everything(void **state)
{
	struct fixture *f = *state;
	pid_t pid = slow_reader(f);
	int status;

	assert_int_equal(out_write(f->fds[1], f->signal_fd, f->data, BIG), 0);
	fd_closep(&f->fds[1]);
	fd_closep(&f->fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_nonblocking_descriptor_of_others_is_waited_for(void **state)
{
	struct fixture *f = *state;
	int status;

	assert_int_equal(fd_set_nonblock(f->fds[1], true), 0);
	pid_t pid = slow_reader(f);
	assert_int_equal(out_write(f->fds[1], f->signal_fd, f->data, BIG), 0);
	assert_true(fcntl(f->fds[1], F_GETFL) & O_NONBLOCK);
	fd_closep(&f->fds[1]);
	fd_closep(&f->fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_reader_gone_is_epipe(void **state)
{
	struct fixture *f = *state;

	fd_closep(&f->fds[0]);
	assert_int_equal(out_write(f->fds[1], f->signal_fd, f->data, 10), -EPIPE);
}

static void test_signal_ends_a_write_to_a_stuck_reader(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) { /* reads nothing, then signals */
		usleep(50000);
		_exit(eventfd_write(f->signal_fd, 1) == 0 ? 0 : 1);
	}
	assert_int_equal(out_write(f->fds[1], f->signal_fd, f->data, BIG), -EINTR);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_pending_signal_writes_nothing(void **state)
{
	struct fixture *f = *state;
	char byte;

	assert_int_equal(eventfd_write(f->signal_fd, 1), 0);
	assert_int_equal(out_write(f->fds[1], f->signal_fd, f->data, 10), -EINTR);
	assert_int_equal(fd_set_nonblock(f->fds[0], true), 0);
	assert_int_equal(read(f->fds[0], &byte, 1), -1);
}

static void test_no_bytes_are_no_work(void **state)
{
	struct fixture *f = *state;

	fd_closep(&f->fds[0]);
	assert_int_equal(out_write(f->fds[1], f->signal_fd, f->data, 0), 0);
}

static void test_closed_descriptor_is_an_error(void **state)
{
	struct fixture *f = *state;
	int closed = f->fds[1];

	fd_closep(&f->fds[1]);
	assert_int_equal(out_write(closed, f->signal_fd, f->data, 10), -EBADF);
}

#define WITH_PIPE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PIPE(test_slow_reader_gets_everything),
		WITH_PIPE(test_nonblocking_descriptor_of_others_is_waited_for),
		WITH_PIPE(test_reader_gone_is_epipe),
		WITH_PIPE(test_signal_ends_a_write_to_a_stuck_reader),
		WITH_PIPE(test_pending_signal_writes_nothing),
		WITH_PIPE(test_no_bytes_are_no_work),
		WITH_PIPE(test_closed_descriptor_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
