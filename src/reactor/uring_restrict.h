/* What a ring may be used for; private to this folder. */
#pragma once

/*
 * A ring made with IORING_SETUP_R_DISABLED can from now on do what reactor_uring.c asks of it (polls, file I/O, cancels) and nothing
 * else: no other operation, no registration, no fixed files. For good, and whoever gets at the ring: a seccomp filter does not see
 * what rings do. Enables it. 0, or -errno.
 */
MUST_CHECK int uring_restrict(int ring_fd);
