/*
 * What tests run inside a guest: small deeds with an exact result. Static, so that it needs no library there.
 *
 *	pattern MIB		writes MIB mebibytes of a known pattern to stdout (pattern_hash: its sha256 by the host)
 *	result KIB		sends one test-result frame of KIB kibibytes over PID 1's channel, then ends
 *	relay PATH		serves a unix socket at PATH: echoes upper-cased bytes, ends with its client
 *	udp FROM TO ADDRESS SIZE N	sends N datagrams of SIZE bytes from the network namespace FROM to ADDRESS in
 *				TO, and checks each
 *	segv | abort | assert	dies so
 *	orphans N		leaves N children that end after it
 */
#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi/frame.h"
#include "abi/guest_config.h"

static int fail(const char *what)
{
	perror(what);
	return 1;
}

/* xorshift32: every 4 KiB block differs, so that a lost or doubled block shows. */
static void fill(uint32_t *state, uint8_t *buf, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		*state ^= *state << 13;
		*state ^= *state >> 17;
		*state ^= *state << 5;
		buf[i] = (uint8_t)*state;
	}
}

static int pattern(long mib)
{
	uint8_t buf[65536];
	uint32_t state = 1;

	for (long i = 0; i < mib * 16; i++) {
		fill(&state, buf, sizeof(buf));
		for (size_t off = 0; off < sizeof(buf);) {
			ssize_t n = write(STDOUT_FILENO, buf + off, sizeof(buf) - off);
			if (n < 0)
				return fail("write");
			off += (size_t)n;
		}
	}
	return 0;
}

/* One message of the channel: the type, and a memfd as payload. */
static int send_result(long kib)
{
	const char *env = getenv(GUEST_ENV_CHANNEL);
	int fd = memfd_create("result", 0);
	uint32_t type = FRAME_RAW_PAYLOAD_OUTPUT, state = 7;
	uint8_t block[1024];
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { &type, sizeof(type) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };

	if (!env || fd < 0)
		return fail(GUEST_ENV_CHANNEL);
	for (long i = 0; i < kib; i++) {
		fill(&state, block, sizeof(block));
		if (write(fd, block, sizeof(block)) != sizeof(block))
			return fail("memfd");
	}
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(atoi(env), &msg, 0) < 0 ? fail("sendmsg") : 0;
}

static int serve(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char buf[4096];
	ssize_t n;

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0)
		return fail(path);
	int client = accept(fd, NULL, NULL);
	if (client < 0)
		return fail("accept");
	while ((n = read(client, buf, sizeof(buf))) > 0) {
		bool last = memchr(buf, '.', (size_t)n);
		for (ssize_t i = 0; i < n; i++)
			buf[i] = (char)toupper((unsigned char)buf[i]);
		if (write(client, buf, (size_t)n) != n)
			return fail("write");
		if (last)
			break; /* '.' ends the conversation */
	}
	return 0;
}

/* A socket stays with the namespace it was made in. */
static int udp_socket_in(const char *space)
{
	const struct timeval limit = { .tv_sec = 20 };
	int fd = open(space, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return -1;
	close(fd);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit,
			 sizeof(limit)); /* a lost one is an error */
	return fd;
}

static int send_datagrams(const char *from, const char *to, const char *address, size_t size,
			  long n)
{
	static uint8_t sent[65536], got[65536];
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(5000) };
	int a = udp_socket_in(from), b = udp_socket_in(to);
	uint32_t state = 3;

	if (a < 0 || b < 0 || size > sizeof(sent) ||
	    inet_pton(AF_INET, address, &addr.sin_addr) != 1)
		return fail("udp");
	if (bind(b, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    connect(a, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return fail(address);
	for (long i = 0; i < n; i++) {
		fill(&state, sent, size);
		if (send(a, sent, size, 0) != (ssize_t)size)
			return fail("send");
		if (recv(b, got, sizeof(got), 0) != (ssize_t)size || memcmp(sent, got, size) != 0)
			return fail("recv");
	}
	return 0;
}

static int leave_orphans(long n)
{
	for (long i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid < 0)
			return fail("fork");
		if (pid == 0) {
			usleep(100000);
			_exit(0);
		}
	}
	return 0;
}

static int die(const char *how)
{
	if (strcmp(how, "segv") == 0)
		*(volatile int *)(uintptr_t)strlen(how) =
		    1; /* not a constant: the compiler must not see it coming */
	else if (strcmp(how, "abort") == 0)
		abort();
	else
		assert(!"this assertion fails on purpose");
	return 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "pattern") == 0)
		return pattern(atol(argv[2]));
	if (argc == 3 && strcmp(argv[1], "result") == 0)
		return send_result(atol(argv[2]));
	if (argc == 3 && strcmp(argv[1], "relay") == 0)
		return serve(argv[2]);
	if (argc == 3 && strcmp(argv[1], "orphans") == 0)
		return leave_orphans(atol(argv[2]));
	if (argc == 7 && strcmp(argv[1], "udp") == 0)
		return send_datagrams(argv[2], argv[3], argv[4], (size_t)atol(argv[5]),
				      atol(argv[6]));
	if (argc == 2 &&
	    (!strcmp(argv[1], "segv") || !strcmp(argv[1], "abort") || !strcmp(argv[1], "assert")))
		return die(argv[1]);
	fputs("guest_tool: wrong arguments\n", stderr);
	return 64;
}
