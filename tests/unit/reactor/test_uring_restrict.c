/* What a restricted ring refuses, asked by its own means; and that the reactor's ring is one. */
#include "reactor/uring_restrict.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fixture.h"

/* Submits one entry of @opcode on @fd and returns its result. */
static int perform(struct io_uring *ring, uint8_t opcode, int fd, uint8_t flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;

	assert_non_null(sqe);
	io_uring_prep_rw(opcode, sqe, fd, NULL, 0, 0);
	sqe->flags = flags;
	if (opcode == IORING_OP_POLL_ADD)
		sqe->poll32_events = POLLIN;
	assert_int_equal(io_uring_submit(ring), 1);
	assert_int_equal(io_uring_wait_cqe(ring, &cqe), 0);
	int res = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

static int make_ring(struct io_uring *ring, bool restricted)
{
	struct io_uring_params p = { .flags = restricted ? IORING_SETUP_R_DISABLED : 0 };

	assert_int_equal(io_uring_queue_init_params(8, ring, &p), 0);
	return restricted ? uring_restrict(ring->ring_fd) : 0;
}

static void test_operations_of_the_reactor_pass_and_others_do_not(void **state UNUSED)
{
	static const uint8_t refused[] = {
		IORING_OP_NOP,     IORING_OP_OPENAT,   IORING_OP_OPENAT2,    IORING_OP_CONNECT,
		IORING_OP_SENDMSG, IORING_OP_STATX,    IORING_OP_READ,       IORING_OP_WRITE,
		IORING_OP_SPLICE,  IORING_OP_UNLINKAT, IORING_OP_READ_FIXED,
	};
	struct io_uring free_ring, ring;
	int ready_fd = make_eventfd(1);

	assert_int_equal(make_ring(&free_ring, false), 0);
	assert_int_equal(make_ring(&ring, true), 0);
	assert_int_equal(perform(&ring, IORING_OP_POLL_ADD, ready_fd, 0), POLLIN);
	assert_int_equal(perform(&ring, IORING_OP_FALLOCATE, ready_fd, 0), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_int_equal(perform(&ring, refused[i], ready_fd, 0), -EACCES);
		assert_int_not_equal(perform(&free_ring, refused[i], ready_fd, 0), -EACCES);
	}
	/* A fixed file, which could stand for one that was closed. */
	assert_int_equal(perform(&ring, IORING_OP_POLL_ADD, 0, IOSQE_FIXED_FILE), -EACCES);
	io_uring_queue_exit(&ring);
	io_uring_queue_exit(&free_ring);
	close(ready_fd);
}

static int register_eventfd(int ring_fd, int fd)
{
	return syscall(SYS_io_uring_register, ring_fd, IORING_REGISTER_EVENTFD, &fd, 1) < 0 ? -errno
											    : 0;
}

static int find_ring(void)
{
	char path[64], link[64];

	for (int fd = 3; fd < 1024; fd++) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = 0;
		if (strstr(link, "io_uring"))
			return fd;
	}
	return -1;
}

static void test_ring_of_a_reactor_is_restricted(void **state UNUSED)
{
	struct reactor *r = make_reactor(0);
	int fd = make_eventfd(0);
	int ring_fd = find_ring();

	assert_true(ring_fd >= 0);
	assert_int_equal(register_eventfd(ring_fd, fd), -EACCES);
	(void)reactor_free(r);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations_of_the_reactor_pass_and_others_do_not),
		cmocka_unit_test(test_ring_of_a_reactor_is_restricted),
	};

	return fixture_main(argc, argv, "uring_restrict", tests, ARRAY_SIZE(tests));
}
