/*
 * One message: 4 bytes of type, payload; or the type alone and a memfd in SCM_RIGHTS that holds the
 * payload. A descriptor beside a payload is a receipt: it is closed when the frame was passed on. The
 * sender may be anything that inherited the socket: sizes are checked, and a memfd is copied before
 * it is framed because its owner can still change it.
 */
#include "messages.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	TYPE_SIZE = 4,
	INLINE_MAX = 64 * 1024,
	FDS_MAX = 4, /* more are closed by the kernel */
};

struct message {
	uint8_t bytes[TYPE_SIZE + INLINE_MAX];
	size_t n;
	int fds[FDS_MAX];
	size_t n_fds;
	bool is_cut;
};

/* What a program may say for itself; the rest of the frame types is PID 1's. */
static bool is_program_type(uint32_t type)
{
	return type >= FRAME_SCENARIO_START && type <= FRAME_RAW_PAYLOAD_OUTPUT &&
	       type != FRAME_EXIT;
}

static void take_fds(const struct msghdr *header, struct message *m)
{
	/* The list is the kernel's own: the const goes only for CMSG_NXTHDR. */
	struct msghdr h = *header;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c != NULL; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (n > FDS_MAX)
			n = FDS_MAX;
		memcpy(m->fds, CMSG_DATA(c), n * sizeof(int));
		m->n_fds = n;
	}
}

static int receive(int fd, struct message *m)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = m->bytes, .iov_len = sizeof(m->bytes) };
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	do {
		n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	m->n = (size_t)n;
	m->n_fds = 0;
	m->is_cut = header.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	take_fds(&header, m);
	return 0;
}

/* An empty message looks like the end of the stream, but the peer is still there. */
static bool has_peer(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

static int read_all(int fd, uint8_t *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = pread(fd, p + done, n - done, (off_t)done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO; /* shrunk meanwhile */
		done += (size_t)got;
	}
	return 0;
}

static void send_memfd(struct outlet *o, uint16_t type, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		outlet_say(o, "channel: a message's descriptor is not a memfd, dropped");
		return;
	}
	if (st.st_size < 0 || st.st_size > FRAME_PAYLOAD_MAX) {
		outlet_say(o, "channel: a payload of %lld bytes is above the limit of %d, dropped",
			   (long long)st.st_size, FRAME_PAYLOAD_MAX);
		return;
	}
	size_t n = (size_t)st.st_size;
	uint8_t *payload = malloc(n + 1);
	int res = payload == NULL ? -ENOMEM : read_all(fd, payload, n);
	if (res < 0)
		outlet_say(o, "channel: a payload of %zu bytes was dropped: %s", n,
			   strerrordesc_np(-res));
	else
		outlet_send(o, type, payload, n);
	free(payload);
}

static void frame_message(const struct message *m, struct outlet *o)
{
	uint32_t type = 0;

	if (m->n >= TYPE_SIZE)
		memcpy(&type, m->bytes, TYPE_SIZE);
	type = le32toh(type);
	if (m->is_cut)
		outlet_say(o,
			   "channel: a message above %d bytes or with too many descriptors, "
			   "dropped (larger payloads travel as a memfd)",
			   INLINE_MAX);
	else if (m->n < TYPE_SIZE)
		outlet_say(o, "channel: a message of %zu bytes has no type, dropped", m->n);
	else if (!is_program_type(type))
		outlet_say(o, "channel: a message of type %u, dropped", type);
	else if (m->n_fds > 1)
		outlet_say(o, "channel: a message with %zu descriptors, dropped", m->n_fds);
	else if (m->n_fds == 1 && m->n == TYPE_SIZE)
		send_memfd(o, (uint16_t)type, m->fds[0]);
	else
		outlet_send(o, (uint16_t)type, m->bytes + TYPE_SIZE, m->n - TYPE_SIZE);
}

int messages_pump(int fd, struct outlet *o)
{
	struct message m;
	int res = receive(fd, &m);

	if (res < 0)
		return res == -EAGAIN ? 0 : res;
	if (m.n == 0 && m.n_fds == 0 && !has_peer(fd))
		return -EPIPE;
	frame_message(&m, o);
	for (size_t i = 0; i < m.n_fds; i++)
		close(m.fds[i]);
	return 1;
}
