#include "cli/out.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "base/num.h"

int out_write(int fd, int signal_fd, const uint8_t *data, size_t n)
{
	while (n) {
		struct pollfd fds[] = { { .fd = fd, .events = POLLOUT },
					{ .fd = signal_fd, .events = POLLIN } };
		int ready = poll(fds, ARRAY_SIZE(fds), -1);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0)
			return -errno;
		if (fds[1].revents)
			return -EINTR;
		ssize_t put = write(fd, data, num_min(n, PIPE_BUF));
		if (put < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (put < 0)
			return -errno;
		data += put;
		n -= (size_t)put;
	}
	return 0;
}

int out_write_waiting(int fd, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n) {
		struct pollfd room = { .fd = fd, .events = POLLOUT };
		/* To a pipe as much as goes as a whole: a signal during more of it would be seen as a short write. */
		ssize_t put = write(fd, p, num_min(n, PIPE_BUF));
		if (put < 0 && errno == EAGAIN) /* somebody else made it non-blocking */
			put = poll(&room, 1, -1) < 0 ? -1 : 0;
		if (put < 0)
			return -errno;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}
