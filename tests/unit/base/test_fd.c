/* Whole-buffer I/O over pipes, with short transfers and signals in between. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BIG = 1 << 20 };

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void test_close_keeps_errno_and_takes_minus_one(void **state UNUSED)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int number = fd;

	assert_true(fd >= 0);
	errno = EDOM;
	fd_closep(&fd);
	assert_int_equal(fd, -1);
	assert_false(is_open(number));
	errno = EDOM;
	assert_int_equal(fd_close(fd), -1);
	assert_int_equal(errno, EDOM);
}

static void test_take_fd_hands_over(void **state UNUSED)
{
	int fd = 5;

	assert_int_equal(TAKE_FD(fd), 5);
	assert_int_equal(fd, -1);
}

static void on_alarm(int sig UNUSED)
{
}

/* A child writes @n bytes in odd pieces while this process is interrupted all the time. */
static int piecewise_writer(size_t n)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		uint8_t byte = 0;
		for (size_t i = 0; i < n; i++, byte++) {
			if (write(fds[1], &byte, 1) != 1)
				_exit(1);
			if (i % 100 == 0)
				usleep(200);
		}
		_exit(0);
	}
	close(fds[1]);
	return fds[0];
}

static void interrupt_often(bool on)
{
	const struct sigaction sa = { .sa_handler = on_alarm }; /* no SA_RESTART: EINTR */
	const struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { 0 };

	assert_int_equal(sigaction(SIGALRM, &sa, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, on ? &often : &never, NULL), 0);
}

static void test_read_exact_in_pieces_and_interrupted_is_whole(void **state UNUSED)
{
	uint8_t bytes[3000];
	CLEANUP(fd_closep) int fd = piecewise_writer(sizeof(bytes));

	interrupt_often(true);
	int res = fd_read_exact(fd, bytes, sizeof(bytes));
	interrupt_often(false);
	assert_int_equal(res, 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], (uint8_t)i);
	assert_int_equal(wait(NULL) > 0, 1);
}

static void test_read_exact_early_end_is_eio(void **state UNUSED)
{
	char bytes[8];
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fd_write_all(fds[1], "abc", 3), 0);
	close(fds[1]);
	assert_int_equal(fd_read_exact(fds[0], bytes, sizeof(bytes)), -EIO);
	close(fds[0]);
	assert_int_equal(fd_read_exact(fds[0], bytes, sizeof(bytes)), -EBADF);
}

static void test_pread_exact_reads_at_an_offset_or_fails(void **state UNUSED)
{
	CLEANUP(fd_closep) int fd = memfd_create("test", MFD_CLOEXEC);
	char bytes[4];

	assert_int_equal(fd_write_all(fd, "0123456789", 10), 0);
	assert_int_equal(fd_pread_exact(fd, bytes, 4, 6), 0);
	assert_memory_equal(bytes, "6789", 4);
	assert_int_equal(fd_pread_exact(fd, bytes, 4, 7), -EIO);
	assert_int_equal(fd_pread_exact(fd, bytes, 0, 100), 0);
	assert_int_equal(fd_pread_exact(fd, bytes, 1, UINT64_MAX), -EINVAL);
}

static void test_pwrite_all_writes_at_an_offset_or_fails(void **state UNUSED)
{
	CLEANUP(fd_closep) int fd = memfd_create("test", MFD_CLOEXEC);
	char bytes[8];

	assert_int_equal(fd_pwrite_all(fd, "ab", 2, 6), 0);
	assert_int_equal(fd_pread_exact(fd, bytes, 8, 0), 0);
	assert_memory_equal(bytes, "\0\0\0\0\0\0ab", 8);
	assert_int_equal(fd_pwrite_all(fd, "", 0, 100), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 8);
	assert_int_equal(fd_pwrite_all(fd, "a", 1, UINT64_MAX), -EINVAL);
	assert_int_equal(fd_pwrite_all(-1, "a", 1, 0), -EBADF);
}

/* The pipe holds 64 KiB: a write of a MiB takes many turns of a reader that sleeps in between. */
static void test_write_all_to_a_slow_reader_and_interrupted_is_whole(void **state UNUSED)
{
	uint8_t *bytes = malloc(BIG);
	int fds[2], status;

	assert_non_null(bytes);
	memset(bytes, 'w', BIG);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		size_t total = 0;
		ssize_t n;
		close(fds[1]);
		while ((n = read(fds[0], bytes, 50000)) > 0) {
			total += (size_t)n;
			usleep(500);
		}
		_exit(total == BIG ? 0 : 1);
	}
	interrupt_often(true);
	int res = fd_write_all(fds[1], bytes, BIG);
	interrupt_often(false);
	assert_int_equal(res, 0);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	free(bytes);
}

static void test_write_all_to_nobody_is_epipe(void **state UNUSED)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	(void)signal(SIGPIPE, SIG_IGN);
	close(fds[0]);
	assert_int_equal(fd_write_all(fds[1], "x", 1), -EPIPE);
	close(fds[1]);
	CLEANUP(fd_closep) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	if (full >= 0)
		assert_int_equal(fd_write_all(full, "x", 1), -ENOSPC);
}

static void test_set_nonblock_on_and_off(void **state UNUSED)
{
	char byte;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fd_set_nonblock(fds[0], true), 0);
	assert_int_equal(read(fds[0], &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(fd_set_nonblock(fds[0], false), 0);
	assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(fd_set_nonblock(fds[0], true), -EBADF);
}

static void test_lock_excludes_another_descriptor_until_unlocked(void **state UNUSED)
{
	CLEANUP(fd_closep) int mine = memfd_create("lock", MFD_CLOEXEC);
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", mine);
	CLEANUP(fd_closep) int other = open(path, O_RDWR | O_CLOEXEC);
	assert_true(mine >= 0 && other >= 0);
	assert_int_equal(fd_lock(mine, LOCK_EX), 0);
	assert_int_equal(fd_lock(other, LOCK_SH | LOCK_NB), -EWOULDBLOCK);
	assert_int_equal(fd_lock(mine, LOCK_UN), 0);
	assert_int_equal(fd_lock(other, LOCK_SH | LOCK_NB), 0);
	assert_int_equal(fd_lock(-1, LOCK_SH), -EBADF);
}

static void test_program_can_be_executed_and_not_be_written(void **state UNUSED)
{
	static const char script[] = "#!/bin/sh\nexit 7\n";
	CLEANUP(fd_closep) int fd = fd_program("script", script, sizeof(script) - 1);
	char path[64];
	int status;

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fd_write_all(fd, "x", 1), -EBADF);
	/* Our own descriptor's path: the shell's has none, it is closed by then. */
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	pid_t pid = fork();
	if (pid == 0) {
		(void)execl(path, path, NULL);
		_exit(126);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close_keeps_errno_and_takes_minus_one),
		cmocka_unit_test(test_take_fd_hands_over),
		cmocka_unit_test(test_read_exact_in_pieces_and_interrupted_is_whole),
		cmocka_unit_test(test_read_exact_early_end_is_eio),
		cmocka_unit_test(test_pread_exact_reads_at_an_offset_or_fails),
		cmocka_unit_test(test_pwrite_all_writes_at_an_offset_or_fails),
		cmocka_unit_test(test_write_all_to_a_slow_reader_and_interrupted_is_whole),
		cmocka_unit_test(test_write_all_to_nobody_is_epipe),
		cmocka_unit_test(test_set_nonblock_on_and_off),
		cmocka_unit_test(test_lock_excludes_another_descriptor_until_unlocked),
		cmocka_unit_test(test_program_can_be_executed_and_not_be_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
