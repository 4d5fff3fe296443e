/* Descriptors and whole-buffer I/O. All functions retry EINTR. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

/* Closes *fd if it is one and sets it to -1; for CLEANUP(fd_closep). errno is kept. */
void fd_closep(int *fd);
/* Closes @fd if it is >= 0; returns -1, so that `fd = fd_close(fd)`. */
int fd_close(int fd);

/* All of @n bytes or an error: 0, -EIO at an early end (read), negative errno. */
MUST_CHECK int fd_read_exact(int fd, void *buf, size_t n);
MUST_CHECK int fd_pread_exact(int fd, void *buf, size_t n, uint64_t offset);
MUST_CHECK int fd_write_all(int fd, const void *buf, size_t n);
MUST_CHECK int fd_pwrite_all(int fd, const void *buf, size_t n, uint64_t offset);
MUST_CHECK int fd_set_nonblock(int fd, bool on);
/*
 * A file in memory with @n bytes of @data that can be executed, as /proc/PID/fd/N: nobody has it open for writing. Its
 * descriptor (close on exec), or a negative errno: -EACCES where vm.memfd_noexec forbids such files.
 */
MUST_CHECK int fd_program(const char *name, const void *data, size_t n);
/*
 * Raises the number of files that this process and its children may open as far as it may, and returns it. The usual limit is
 * low for the sake of select(2), which we do not use.
 */
uint64_t fd_raise_limit(void);
/* flock(2) with LOCK_SH, LOCK_EX or LOCK_UN, LOCK_NB or not: 0, -EWOULDBLOCK, negative errno. */
MUST_CHECK int fd_lock(int fd, int operation);
