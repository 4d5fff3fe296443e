/*
 * The relay between a guest's port 2 (support/fake_console) and clients of a unix socket: whole streams both ways, bounded,
 * client after client, half-closed and rude ones. The group runs on each reactor backend.
 */
#include "vmm/relay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "support/fake_console.h"
#include "virtio/virtio_mmio.h"

enum { MEM = 32 << 20, ARENA = 0x1000, STREAM = 700 * 1000, PIECE = 5003 };

struct fixture {
	struct reactor *reactor;
	struct guest_mem mem;
	struct virtio_console *console;
	struct virtio_mmio *mmio;
	struct relay *relay;
	struct fake_console guest;
	struct sockaddr_un addr;
	socklen_t addr_len;
	bool stopped;
};

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 131 + (i >> 8) * 7 + (i >> 16) * 13);
}

static size_t ignore(void *ctx UNUSED, const uint8_t *data UNUSED, size_t n)
{
	return n;
}

static void turns(struct fixture *f, int n)
{
	while (n-- > 0)
		reactor_turn(f->reactor, 0);
}

/* An abstract socket: nothing to remove. */
static int listen_at(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	f->addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	f->addr_len = sizeof(f->addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&f->addr, sizeof(sa_family_t)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&f->addr, &f->addr_len), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void boot(struct fixture *f)
{
	fake_console_start(&f->guest, &f->mem, virtio_mmio_region(f->mmio), GPA(ARENA), 0);
	for (int i = 0; i < 4; i++) {
		turns(f, 2);
		(void)fake_console_service(&f->guest);
	}
	fake_console_open(&f->guest, CONSOLE_PORT_RELAY, true);
	turns(f, 2);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	const struct reactor_config config = { .backend = *(const enum reactor_backend *)*state };
	struct error err;

	assert_int_equal(reactor_new(&config, &f->reactor, &err), 0);
	assert_int_equal(guest_mem_map_anonymous(&f->mem, GPA(0), MEM), 0);
	assert_int_equal(relay_new(f->reactor, listen_at(f), &f->relay, &err), 0);
	const struct virtio_console_config console = {
		.names = { NULL, "ktstr.frames", "ktstr.relay" },
		.ops = { { .output = ignore }, { .output = ignore }, relay_port_ops },
		.ctx = { NULL, NULL, f->relay },
	};
	assert_int_equal(virtio_console_new(&console, f->reactor, &f->console, &err), 0);
	const struct virtio_mmio_config mmio = {
		.base = GPA(0xc0000000), .mem = &f->mem, .reactor = f->reactor, .irq_fd = -1
	};
	assert_int_equal(virtio_mmio_new(&mmio, virtio_console_dev(f->console), &f->mmio, &err), 0);
	relay_set_console(f->relay, f->console);
	boot(f);
	*state = f;
	return 0;
}

static void on_stopped(void *ctx)
{
	((struct fixture *)ctx)->stopped = true;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	uint64_t end_ns = clock_now_ns() + 5 * NS_PER_S;

	relay_stop(f->relay);
	virtio_mmio_stop(f->mmio, on_stopped, f);
	while (!f->stopped || !relay_is_idle(f->relay)) {
		reactor_turn(f->reactor, NS_PER_MS);
		assert_true(clock_now_ns() < end_ns);
	}
	f->relay = relay_free(f->relay);
	f->mmio = virtio_mmio_free(f->mmio);
	f->console = virtio_console_free(f->console);
	guest_mem_fini(&f->mem);
	f->reactor = reactor_free(f->reactor);
	free(f);
	return 0;
}

static int connect_client(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&f->addr, f->addr_len), 0);
	turns(f, 4);
	return fd;
}

/* The client sends of bytes [*at, end) of the pattern what the socket takes. */
static void client_sends(int fd, size_t *at, size_t end)
{
	uint8_t piece[PIECE];

	while (*at < end) {
		size_t n = end - *at < PIECE ? end - *at : PIECE;
		for (size_t i = 0; i < n; i++)
			piece[i] = pattern(*at + i);
		ssize_t put = send(fd, piece, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put <= 0)
			return;
		*at += (size_t)put;
	}
}

static void guest_reads(struct fixture *f, size_t *at)
{
	uint8_t page[FAKE_CONSOLE_BUFFER];
	uint32_t n;

	while ((n = fake_console_read(&f->guest, CONSOLE_PORT_RELAY, page)) > 0) {
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(page[i], pattern(*at + i));
		*at += n;
	}
}

static void guest_writes(struct fixture *f, size_t *at, size_t end)
{
	uint8_t piece[PIECE];

	while (*at < end) {
		size_t n = end - *at < PIECE ? end - *at : PIECE;
		for (size_t i = 0; i < n; i++)
			piece[i] = pattern(*at + i);
		if (!fake_console_write(&f->guest, CONSOLE_PORT_RELAY, piece, (uint32_t)n))
			return;
		*at += n;
	}
}

/* False at the end of the stream. */
static bool client_reads(int fd, size_t *at, size_t max)
{
	uint8_t bytes[8192];
	ssize_t n = 1;

	while (max && (n = recv(fd, bytes, max < sizeof(bytes) ? max : sizeof(bytes), 0)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(bytes[i], pattern(*at + (size_t)i));
		*at += (size_t)n;
		max -= (size_t)n;
	}
	return n != 0;
}

static void test_streams_cross_whole_both_ways_at_once(void **state)
{
	struct fixture *f = *state;
	size_t client_sent = 0, guest_got = 0, guest_sent = 0, client_got = 0;
	CLEANUP(fd_closep) int fd = connect_client(f);

	for (int i = 0; i < 5000 && (guest_got < STREAM || client_got < STREAM); i++) {
		client_sends(fd, &client_sent, STREAM);
		guest_writes(f, &guest_sent, STREAM);
		turns(f, 2);
		guest_reads(f, &guest_got);
		assert_true(client_reads(fd, &client_got, 20011));
	}
	assert_int_equal(guest_got, STREAM);
	assert_int_equal(client_got, STREAM);
}

static void test_guest_that_does_not_read_stalls_the_client(void **state)
{
	struct fixture *f = *state;
	size_t sent = 0, got = 0;
	CLEANUP(fd_closep) int fd = connect_client(f);

	for (int i = 0; i < 1000; i++) {
		client_sends(fd, &sent, (size_t)100 * STREAM);
		turns(f, 1);
	}
	assert_true(sent < (size_t)2 * STREAM); /* the socket, the guest's buffers and one chunk */
	for (int i = 0; i < 5000 && got < sent; i++) {
		guest_reads(f, &got);
		turns(f, 2);
	}
	assert_int_equal(got, sent);
}

static void test_client_that_does_not_read_stalls_the_guest(void **state)
{
	struct fixture *f = *state;
	size_t sent = 0, got = 0;
	CLEANUP(fd_closep) int fd = connect_client(f);

	for (int i = 0; i < 1000; i++) {
		guest_writes(f, &sent, (size_t)100 * STREAM);
		turns(f, 1);
	}
	assert_true(sent < (size_t)2 * STREAM);
	for (int i = 0; i < 5000 && got < sent; i++) {
		assert_true(client_reads(fd, &got, 10007));
		turns(f, 2);
	}
	assert_int_equal(got, sent);
}

static void test_output_before_any_client_waits_for_the_first(void **state)
{
	struct fixture *f = *state;
	size_t sent = 0, got = 0;

	guest_writes(f, &sent, 20000);
	turns(f, 4);
	CLEANUP(fd_closep) int fd = connect_client(f);
	for (int i = 0; i < 100; i++) {
		turns(f, 1);
		assert_true(client_reads(fd, &got, 50000));
	}
	assert_int_equal(got, 20000);
}

static void test_half_closed_client_still_hears_the_guest(void **state)
{
	struct fixture *f = *state;
	size_t sent = 0, got = 0, answered = 0, heard = 0;
	CLEANUP(fd_closep) int fd = connect_client(f);

	client_sends(fd, &sent, 30000);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	for (int i = 0; i < 200 && got < 30000; i++) {
		turns(f, 2);
		guest_reads(f, &got);
	}
	assert_int_equal(got, 30000);
	for (int i = 0; i < 200 && heard < 30000; i++) {
		guest_writes(f, &answered, 30000);
		turns(f, 2);
		assert_true(client_reads(fd, &heard, 50000));
	}
	assert_int_equal(heard, 30000);
}

static void test_next_client_gets_in_when_the_first_has_gone(void **state)
{
	struct fixture *f = *state;

	for (int client = 0; client < 5; client++) {
		size_t sent = 0, got = 0;
		int fd = connect_client(f);
		client_sends(fd, &sent, 10000);
		(void)fd_close(fd); /* at once: what it sent still arrives */
		for (int i = 0; i < 100 && got < 10000; i++) {
			turns(f, 2);
			guest_reads(f, &got);
		}
		assert_int_equal(got, 10000);
		turns(f, 4);
	}
}

static void test_client_that_goes_without_reading_frees_the_port(void **state)
{
	struct fixture *f = *state;
	size_t sent = 0, got = 0;
	int fd = connect_client(f);

	for (int i = 0; i < 100; i++) {
		guest_writes(f, &sent, (size_t)10 * STREAM);
		turns(f, 1);
	}
	(void)fd_close(fd);
	turns(f, 8);
	CLEANUP(fd_closep) int next = connect_client(f);
	for (int i = 0; i < 200 && !got; i++) {
		uint8_t byte;
		turns(f, 2);
		got += recv(next, &byte, 1, 0) == 1;
	}
	assert_int_equal(got, 1); /* the guest's port goes on with what is left */
}

/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): the name of a function */
#define ON(backend, test) { #test " on " #backend, test, setup, teardown, &backend }
#define ON_BOTH(test) ON(uring, test), ON(epoll, test)
/* NOLINTEND(bugprone-macro-parentheses) */
/* clang-format on */

int main(void)
{
	static enum reactor_backend uring = REACTOR_AUTO, epoll = REACTOR_EPOLL;
	const struct CMUnitTest tests[] = {
		ON_BOTH(test_streams_cross_whole_both_ways_at_once),
		ON_BOTH(test_guest_that_does_not_read_stalls_the_client),
		ON_BOTH(test_client_that_does_not_read_stalls_the_guest),
		ON_BOTH(test_output_before_any_client_waits_for_the_first),
		ON_BOTH(test_half_closed_client_still_hears_the_guest),
		ON_BOTH(test_next_client_gets_in_when_the_first_has_gone),
		ON_BOTH(test_client_that_goes_without_reading_frees_the_port),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
