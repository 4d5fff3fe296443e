/* Data comes back as it was: from the disk, and over TCP through the loopback. */
#include <ktstr.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/fs.h>

#include "cpu.h"

enum { BLOCK = 64 * 1024, N_BLOCKS = 64, STREAM = 4 * 1024 * 1024 };

/* Bytes that depend on their place, so that nothing can come back in another's. */
static void fill(uint8_t *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (uint8_t)(seed >> 24);
	}
}

static void round_trip(struct ktstr *t, int fd)
{
	uint8_t *wrote = NULL, *got = NULL;

	if (!KTSTR_CHECK(t,
			 posix_memalign((void **)&wrote, 4096, BLOCK) == 0 &&
			     posix_memalign((void **)&got, 4096, BLOCK) == 0,
			 "no memory"))
		goto out;
	for (uint32_t i = 0; i < N_BLOCKS; i++) {
		fill(wrote, BLOCK, i);
		if (!KTSTR_CHECK(t, pwrite(fd, wrote, BLOCK, (off_t)i * BLOCK) == BLOCK,
				 "write block %u: %m", i))
			goto out;
	}
	KTSTR_CHECK(t, fsync(fd) == 0, "fsync: %m");
	for (uint32_t i = 0; i < N_BLOCKS; i++) {
		fill(wrote, BLOCK, i);
		memset(got, 0, BLOCK);
		if (!KTSTR_CHECK(t, pread(fd, got, BLOCK, (off_t)i * BLOCK) == BLOCK,
				 "read block %u: %m", i))
			goto out;
		KTSTR_CHECK(t, memcmp(got, wrote, BLOCK) == 0, "block %u is not what was written",
			    i);
	}
out:
	free(wrote);
	free(got);
}

static void disk(struct ktstr *t)
{
	uint64_t size = 0;
	/* Past the page cache, or the disk would never be read. */
	int fd = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		ktstr_skip(t, "the machine has no disk (ktstr run --disk FILE)");
		return;
	}
	if (!KTSTR_CHECK(t, fd >= 0, "open /dev/vda: %m"))
		return;
	if (KTSTR_CHECK(t, ioctl(fd, BLKGETSIZE64, &size) == 0, "BLKGETSIZE64: %m") &&
	    KTSTR_CHECK(t, size >= (uint64_t)BLOCK * N_BLOCKS, "the disk has only %llu bytes",
			(unsigned long long)size))
		round_trip(t, fd);
	close(fd);
}

struct server {
	struct ktstr *t;
	int listen_fd;
};

/* A child: takes one connection and sends back what comes, until its end. */
static void serve(void *arg)
{
	const struct server *s = arg;
	static uint8_t buf[BLOCK];
	ssize_t n;
	int fd = accept(s->listen_fd, NULL, NULL);

	if (!KTSTR_CHECK(s->t, fd >= 0, "accept: %m"))
		return;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n;) {
			ssize_t wrote = write(fd, buf + at, (size_t)(n - at));
			if (!KTSTR_CHECK(s->t, wrote > 0, "send back: %m"))
				return;
			at += wrote;
		}
	KTSTR_CHECK(s->t, n == 0, "receive: %m");
}

/* Sends in one process and receives in this one: neither waits for the other with full buffers. */
static void send_stream(void *arg)
{
	const struct server *s = arg;
	static uint8_t block[BLOCK];

	for (uint32_t i = 0; i < STREAM / BLOCK; i++) {
		fill(block, BLOCK, i);
		for (size_t at = 0; at < BLOCK;) {
			ssize_t n = write(s->listen_fd, block + at, BLOCK - at);
			if (!KTSTR_CHECK(s->t, n > 0, "send: %m"))
				return;
			at += (size_t)n;
		}
	}
	(void)shutdown(s->listen_fd, SHUT_WR); /* the reader misses its end otherwise */
}

static void receive_stream(struct ktstr *t, int fd)
{
	static uint8_t wanted[BLOCK], got[BLOCK];
	uint64_t start = now_ns();

	for (uint32_t i = 0; i < STREAM / BLOCK; i++) {
		fill(wanted, BLOCK, i);
		if (!KTSTR_CHECK(t, recv(fd, got, BLOCK, MSG_WAITALL) == BLOCK, "block %u: %m", i))
			return;
		KTSTR_CHECK(t, memcmp(got, wanted, BLOCK) == 0, "block %u is not what was sent", i);
	}
	KTSTR_CHECK(t, recv(fd, got, 1, 0) == 0, "something came behind the end");
	ktstr_metric(t, "throughput", STREAM / 1e6 / ((double)(now_ns() - start) / 1e9), "MB/s",
		     KTSTR_HIGHER_IS_BETTER);
}

static void tcp(struct ktstr *t)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(addr);
	int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listen_fd < 0 && (errno == EAFNOSUPPORT || errno == ENOSYS)) {
		ktstr_skip(t, "this kernel has no TCP");
		return;
	}
	if (!KTSTR_CHECK(t,
			 bind(listen_fd, (struct sockaddr *)&addr, n) == 0 &&
			     listen(listen_fd, 1) == 0 &&
			     getsockname(listen_fd, (struct sockaddr *)&addr, &n) == 0,
			 "listen on 127.0.0.1: %m"))
		return;
	struct server server = { t, listen_fd };
	pid_t server_pid = start_child(serve, &server);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!KTSTR_CHECK(t, connect(fd, (struct sockaddr *)&addr, n) == 0, "connect: %m"))
		return;
	struct server sender = { t, fd };
	pid_t sender_pid = start_child(send_stream, &sender);
	receive_stream(t, fd);
	close(fd);
	close(listen_fd);
	KTSTR_CHECK(t, end_of_child(sender_pid, NULL), "the sender did not end well");
	KTSTR_CHECK(t, end_of_child(server_pid, NULL), "the server did not end well");
}

static const struct ktstr_test tests[] = {
	{ .name = "disk",
	  .run = disk,
	  .summary = "what was written to the disk is read back",
	  .disk_mib = 16,
	  .vm_only = true }, /* it overwrites /dev/vda */
	{ .name = "tcp",
	  .run = tcp,
	  .summary = "a stream over TCP comes back whole",
	  .topology = "1,1,2,1" },
	{ 0 },
};

int main(int argc, char **argv)
{
	return ktstr_main(argc, argv, tests);
}
