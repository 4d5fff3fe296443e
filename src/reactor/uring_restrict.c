#include "reactor/uring_restrict.h"

#include <errno.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not liburing's functions of these names: its shared library lacks them in some versions. */
static int ring_register(int ring_fd, unsigned opcode, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, ring_fd, opcode, arg, n) < 0 ? -errno : 0;
}

int uring_restrict(int ring_fd)
{
	static const uint8_t operations[] = {
		IORING_OP_POLL_ADD, IORING_OP_READV,     IORING_OP_WRITEV,
		IORING_OP_FSYNC,    IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL,
	};
	/*
	 * The last allows a registration that is over then. Without any, kernels differ about whether
	 * none is allowed or all are.
	 */
	struct io_uring_restriction allowed[ARRAY_SIZE(operations) + 1] = {
		[ARRAY_SIZE(operations)] = { .opcode = IORING_RESTRICTION_REGISTER_OP,
					     .register_op = IORING_REGISTER_ENABLE_RINGS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		allowed[i] = (struct io_uring_restriction){ .opcode = IORING_RESTRICTION_SQE_OP,
							    .sqe_op = operations[i] };
	int res =
	    ring_register(ring_fd, IORING_REGISTER_RESTRICTIONS, allowed, ARRAY_SIZE(allowed));
	return res < 0 ? res : ring_register(ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}
