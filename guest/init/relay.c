/*
 * The command creates the socket whenever it likes, and may close and create it again: between bind
 * and listen a connection is refused, and no event tells of the listen. So what is missing (the
 * socket, or the host's end of the port) is looked for again after a while that doubles from 10 ms to
 * half a second; a joined relay has no timer.
 *
 *	host -> port 2 -> to_socket -> socket		socket -> to_port -> port 2 -> host
 *
 * Each side is read only while its buffer is empty: that is the back-pressure. Bytes read for a
 * connection that ended are dropped, for they would be the middle of a conversation to the next one.
 */
#include "relay.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BACKOFF_MIN_MS = 10,
	BACKOFF_MAX_MS = 500,
};

static bool is_empty(const struct relay_buffer *b)
{
	return b->begin == b->end;
}

void relay_init(struct relay *r, int port_fd, const char *path, int64_t now_ms)
{
	r->port_fd = port_fd;
	r->socket_fd = -1;
	r->path = path;
	r->backoff_ms = BACKOFF_MIN_MS;
	r->retry_ms = port_fd >= 0 ? now_ms : INT64_MAX;
	r->is_port_away = false;
	r->to_socket.begin = r->to_socket.end = 0;
	r->to_port.begin = r->to_port.end = 0;
}

static void disconnect(struct relay *r)
{
	if (r->socket_fd >= 0)
		close(r->socket_fd);
	r->socket_fd = -1;
	r->to_socket.begin = r->to_socket.end = 0;
}

void relay_fini(struct relay *r)
{
	disconnect(r);
	if (r->port_fd >= 0)
		close(r->port_fd);
	r->port_fd = -1;
	r->retry_ms = INT64_MAX;
}

short relay_port_events(const struct relay *r)
{
	if (r->port_fd < 0 || r->is_port_away)
		return 0;
	return (short)((is_empty(&r->to_socket) ? POLLIN : 0) |
		       (is_empty(&r->to_port) ? 0 : POLLOUT));
}

short relay_socket_events(const struct relay *r)
{
	if (r->socket_fd < 0)
		return 0;
	return (short)((is_empty(&r->to_port) ? POLLIN : 0) |
		       (is_empty(&r->to_socket) ? 0 : POLLOUT));
}

bool relay_is_drained(const struct relay *r)
{
	return r->port_fd < 0 || r->is_port_away || is_empty(&r->to_port);
}

/* -1: not there, or not listening yet. */
static int connect_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t n = strlen(path);

	if (n >= sizeof(address.sun_path))
		return -1;
	memcpy(address.sun_path, path, n);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* 1: moved something, 0: nothing to move now, negative errno: @fd has ended. */
static int fill(struct relay_buffer *b, int fd)
{
	if (!is_empty(b))
		return 0;
	ssize_t n = read(fd, b->bytes, sizeof(b->bytes));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	b->begin = 0;
	b->end = (size_t)n;
	return 1;
}

static int empty(struct relay_buffer *b, int fd)
{
	if (is_empty(b))
		return 0;
	ssize_t n = write(fd, b->bytes + b->begin, b->end - b->begin);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	b->begin += (size_t)n;
	return 1;
}

/* Both ways as far as the socket allows; false when it has ended. */
static bool pump_socket(struct relay *r, bool *moved)
{
	int in = r->socket_fd >= 0 ? fill(&r->to_port, r->socket_fd) : 0;
	int out = r->socket_fd >= 0 && in >= 0 ? empty(&r->to_socket, r->socket_fd) : 0;

	*moved |= in > 0 || out > 0;
	return in >= 0 && out >= 0;
}

static bool pump_port(struct relay *r, bool *moved)
{
	int out = r->is_port_away ? 0 : empty(&r->to_port, r->port_fd);
	int in = r->is_port_away ? 0 : fill(&r->to_socket, r->port_fd);

	*moved |= in > 0 || out > 0;
	return in >= 0 && out >= 0;
}

static void look_again(struct relay *r, int64_t now_ms)
{
	r->retry_ms = INT64_MAX;
	if (r->socket_fd >= 0 && !r->is_port_away)
		return;
	r->retry_ms = now_ms + r->backoff_ms;
	r->backoff_ms *= 2;
	if (r->backoff_ms > BACKOFF_MAX_MS)
		r->backoff_ms = BACKOFF_MAX_MS;
}

void relay_pump(struct relay *r, bool has_port_hangup, int64_t now_ms)
{
	if (r->port_fd < 0)
		return;

	bool is_due = now_ms >= r->retry_ms;
	if (is_due) {
		r->is_port_away = false; /* the next read says whether it still is */
		if (r->socket_fd < 0)
			r->socket_fd = connect_unix(r->path);
	}

	/* Bounded: a flood on the relay must not keep PID 1 from its other work. */
	bool moved = true;
	bool was_joined = r->socket_fd >= 0 && !r->is_port_away;
	for (int turn = 0; turn < 8 && moved; turn++) {
		moved = false;
		if (!pump_socket(r, &moved))
			disconnect(r);
		if (!pump_port(r, &moved))
			r->is_port_away = true;
		if (moved)
			r->backoff_ms = BACKOFF_MIN_MS;
	}
	/* A write to a port without its host is just EAGAIN: poll knows better. */
	if (has_port_hangup)
		r->is_port_away = true;
	bool is_joined = r->socket_fd >= 0 && !r->is_port_away;
	if (is_due || was_joined != is_joined)
		look_again(r, now_ms);
}
