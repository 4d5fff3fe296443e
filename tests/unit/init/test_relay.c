/* Port 2 and a unix socket of the guest: bytes both ways, reconnecting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay.h"

struct fixture {
	struct relay relay;
	int host_fd;
	char folder[32];
	char path[64];
	int64_t now_ms; /* the relay's clock is ours */
};

static int set_up(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	int port[2];

	assert_non_null(x);
	(void)snprintf(x->folder, sizeof(x->folder), "/tmp/ktstr-relay-XXXXXX");
	assert_non_null(mkdtemp(x->folder));
	(void)snprintf(x->path, sizeof(x->path), "%s/sock", x->folder);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, port),
			 0);
	x->host_fd = port[1];
	relay_init(&x->relay, port[0], x->path, 0);
	*state = x;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *x = *state;

	relay_fini(&x->relay);
	relay_fini(&x->relay);
	close(x->host_fd);
	(void)unlink(x->path);
	(void)rmdir(x->folder);
	free(x);
	return 0;
}

static int open_server(const struct fixture *x)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(address.sun_path, x->path, strlen(x->path));
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void pump(struct fixture *x)
{
	x->now_ms += 600; /* beyond any back-off */
	relay_pump(&x->relay, false, x->now_ms);
}

static void assert_reads(int fd, const char *text)
{
	char bytes[64] = "";

	assert_int_equal(read(fd, bytes, sizeof(bytes) - 1), strlen(text));
	assert_string_equal(bytes, text);
}

static void test_pump_absent_socket_keeps_bytes_until_it_comes(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(write(x->host_fd, "request", 7), 7);
	pump(x);
	assert_int_equal(x->relay.socket_fd, -1);
	assert_true(x->relay.retry_ms > x->now_ms && x->relay.retry_ms <= x->now_ms + 500);
	assert_int_equal(relay_port_events(&x->relay), 0); /* one buffer is all it takes */

	int server_fd = open_server(x);
	pump(x);
	int fd = accept(server_fd, NULL, NULL);
	assert_reads(fd, "request");
	assert_int_equal(x->relay.retry_ms, INT64_MAX); /* joined: no timer */
	assert_int_equal(write(fd, "response", 8), 8);
	pump(x);
	assert_reads(x->host_fd, "response");
	assert_true(relay_is_drained(&x->relay));
	close(fd);
	close(server_fd);
}

static void test_pump_closed_socket_is_joined_again(void **state)
{
	struct fixture *x = *state;
	int server_fd = open_server(x);

	pump(x);
	int fd = accept(server_fd, NULL, NULL);
	assert_true(fd >= 0);
	close(fd);
	pump(x);
	assert_int_equal(x->relay.socket_fd, -1);
	pump(x);
	fd = accept(server_fd, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(write(x->host_fd, "again", 5), 5);
	pump(x);
	assert_reads(fd, "again");
	close(fd);
	close(server_fd);
}

static void test_pump_stuck_reader_bounds_memory(void **state)
{
	struct fixture *x = *state;
	static char flood[64 * 1024];
	int server_fd = open_server(x);
	ssize_t n;

	pump(x);
	int fd = accept(server_fd, NULL, NULL);
	for (int i = 0; i < 1000; i++) {
		n = write(x->host_fd, flood, sizeof(flood));
		pump(x);
		if (n < 0)
			break;
	}
	assert_int_equal(n, -1); /* the host is told to wait */
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(relay_port_events(&x->relay), 0);
	close(fd);
	close(server_fd);
}

static void test_pump_hung_up_port_is_left_alone_until_retry(void **state)
{
	struct fixture *x = *state;
	int server_fd = open_server(x);

	pump(x);
	relay_pump(&x->relay, true, x->now_ms);
	assert_int_equal(relay_port_events(&x->relay), 0);
	assert_true(x->relay.retry_ms < INT64_MAX);
	pump(x);
	assert_int_not_equal(relay_port_events(&x->relay), 0);
	assert_int_equal(x->relay.retry_ms, INT64_MAX);
	close(server_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pump_absent_socket_keeps_bytes_until_it_comes,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pump_closed_socket_is_joined_again, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_pump_stuck_reader_bounds_memory, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_pump_hung_up_port_is_left_alone_until_retry,
						set_up, tear_down),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
