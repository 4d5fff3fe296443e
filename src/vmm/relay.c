#include "vmm/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/fd.h"

enum { RELAY_CHUNK = 32 * 1024 };

struct relay {
	struct reactor *reactor;
	struct virtio_console *console;
	int listen_fd;
	int client_fd;
	struct reactor_op listen;
	struct reactor_op client;
	uint8_t chunk[RELAY_CHUNK]; /* from the client, not yet taken by the guest */
	size_t begin, end;
	bool guest_stalled; /* the guest's output waits for the client */
	bool client_done;   /* end of file: nothing more comes from this client */
	bool client_gone;   /* and it reads nothing more either */
	bool stopped;
};

/*
 * A client's end of file is half an end: it may still wait for the guest's answer. It is let go
 * when it hung up and all that it sent has reached the guest.
 */
static void accept_next(struct relay *r);

/* Drops the client; the next one is accepted when the poll has let go of the descriptor. */
static void hang_up(struct relay *r)
{
	if (!reactor_op_is_idle(&r->client))
		reactor_cancel(r->reactor, &r->client);
}

/* Reads the next chunk of the client; false when there is none now, or none any more. */
static bool refill(struct relay *r)
{
	ssize_t n;

	do
		n = r->client_done ? 0 : read(r->client_fd, r->chunk, sizeof(r->chunk));
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		r->client_done = true;
		if (n < 0 || r->client_gone)
			hang_up(r);
		return false;
	}
	r->begin = 0;
	r->end = (size_t)n;
	return true;
}

/* Client to guest, until one of them has to wait. */
static void pump_to_guest(struct relay *r)
{
	while (!r->stopped && r->client_fd >= 0) {
		if (r->begin == r->end && !refill(r))
			return;
		size_t sent = virtio_console_send(r->console, CONSOLE_PORT_RELAY,
						  r->chunk + r->begin, r->end - r->begin);
		if (!sent)
			return; /* input_ready goes on */
		r->begin += sent;
	}
}

static void on_client(struct reactor_op *op, int res, bool more)
{
	struct relay *r = container_of(op, struct relay, client);

	if (!more) {
		r->client_fd = fd_close(r->client_fd);
		r->client_done = r->client_gone = false;
		r->begin = r->end = 0;
		if (!r->stopped)
			accept_next(r);
		return;
	}
	if (r->stopped)
		return;
	if (res & POLLOUT && r->guest_stalled) {
		r->guest_stalled = false;
		virtio_console_resume(r->console, CONSOLE_PORT_RELAY);
	}
	if (res & (POLLHUP | POLLERR))
		r->client_gone = true;
	if (res & (POLLIN | POLLHUP | POLLERR))
		pump_to_guest(r);
}

static void accept_next(struct relay *r)
{
	if (r->client_fd >= 0 || !reactor_op_is_idle(&r->client))
		return;
	do
		r->client_fd = accept4(r->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (r->client_fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (r->client_fd < 0)
		return; /* EAGAIN, or no descriptor free: the next connection tries again */
	reactor_poll(r->reactor, &r->client, r->client_fd, POLLIN | POLLOUT, on_client);
	if (r->guest_stalled) {
		r->guest_stalled = false;
		virtio_console_resume(r->console, CONSOLE_PORT_RELAY);
	}
}

static void on_listen(struct reactor_op *op, int res, bool more UNUSED)
{
	struct relay *r = container_of(op, struct relay, listen);

	if (!r->stopped && res > 0)
		accept_next(r);
}

static size_t output(void *ctx, const uint8_t *data, size_t n)
{
	struct relay *r = ctx;
	size_t sent = 0;

	if (r->stopped)
		return n; /* nobody is left to take it, and the console's stop would wait for us */
	while (r->client_fd >= 0 && sent < n) {
		ssize_t put =
		    send(r->client_fd, data + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno != EAGAIN)
			hang_up(r);
		if (put < 0)
			break;
		sent += (size_t)put;
	}
	if (sent < n)
		r->guest_stalled = true;
	return sent;
}

static void input_ready(void *ctx)
{
	pump_to_guest(ctx);
}

const struct virtio_console_port_ops relay_port_ops = { .output = output,
							.input_ready = input_ready };

int relay_new(struct reactor *reactor, int listen_fd, struct relay **ret, struct error *err)
{
	int res = fd_set_nonblock(listen_fd, true);

	if (res < 0)
		return error_set(err, res, "relay: cannot make the socket non-blocking");
	struct relay *r = xcalloc(1, sizeof(*r));
	r->reactor = reactor;
	r->listen_fd = listen_fd;
	r->client_fd = -1;
	*ret = r;
	return 0;
}

void relay_set_console(struct relay *r, struct virtio_console *console)
{
	ASSERT(!r->console);
	r->console = console;
	reactor_poll(r->reactor, &r->listen, r->listen_fd, POLLIN, on_listen);
}

void relay_stop(struct relay *r)
{
	r->stopped = true;
	hang_up(r);
	if (!reactor_op_is_idle(&r->listen))
		reactor_cancel(r->reactor, &r->listen);
	if (r->guest_stalled) {
		r->guest_stalled = false;
		virtio_console_resume(r->console, CONSOLE_PORT_RELAY);
	}
}

bool relay_is_idle(const struct relay *r)
{
	return reactor_op_is_idle(&r->listen) && reactor_op_is_idle(&r->client);
}

struct relay *relay_free(struct relay *r)
{
	if (!r)
		return NULL;
	ASSERT(relay_is_idle(r));
	r->client_fd = fd_close(r->client_fd);
	r->listen_fd = fd_close(r->listen_fd);
	free(r);
	return NULL;
}
