/*
 * Blocking output that a signal can interrupt: the runner writes the command's output to its own
 * stdout and stderr, whose readers may be slow; that is the back-pressure that reaches the guest.
 * The descriptors are shared with other processes, so they are never made non-blocking: a write of
 * at most PIPE_BUF bytes after POLLOUT does not block.
 */
#pragma once

#include <stdint.h>

/*
 * Writes all of @data; -EINTR when @signal_fd became readable first (the rest is not written),
 * -EPIPE when the reader is gone, other -errno.
 */
MUST_CHECK int out_write(int fd, int signal_fd, const uint8_t *data, size_t n);
/*
 * Writes all of @data, however long its reader takes; -EINTR when a signal came that has a handler without SA_RESTART, and
 * found it waiting: a write that need not wait is not interrupted. Other -errno.
 */
MUST_CHECK int out_write_waiting(int fd, const void *data, size_t n);
