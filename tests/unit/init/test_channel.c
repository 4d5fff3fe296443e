/* Frames over a port that takes little at a time, or ends. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "host.h"

struct fixture {
	struct channel channel;
	struct host host;
};

static int set_up(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	const int size = 1; /* the kernel makes it its minimum, a few KiB */
	int pair[2];

	assert_non_null(x);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	channel_init(&x->channel, pair[0]);
	host_init(&x->host, pair[1]);
	*state = x;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *x = *state;

	channel_fini(&x->channel);
	channel_fini(&x->channel);
	host_fini(&x->host);
	free(x);
	return 0;
}

static void flush_all(struct fixture *x)
{
	size_t lost = 0;

	while (channel_pending(&x->channel) > 0) {
		assert_int_equal(channel_flush(&x->channel, &lost), 0);
		assert_true(host_pump(&x->host));
	}
	assert_true(host_pump(&x->host));
}

static void test_push_large_frame_arrives_whole_through_small_buffer(void **state)
{
	struct fixture *x = *state;
	size_t n = 1 << 20;
	uint8_t *payload = malloc(n);

	assert_non_null(payload);
	for (size_t i = 0; i < n; i++)
		payload[i] = (uint8_t)(i * 7 + i / 4099);
	assert_int_equal(channel_push(&x->channel, FRAME_TEST_RESULT, payload, n), 0);
	assert_int_equal(channel_push(&x->channel, FRAME_STDOUT, "after", 5), 0);
	flush_all(x);
	assert_int_equal(x->host.n_bytes[FRAME_TEST_RESULT], n);
	assert_memory_equal(x->host.bytes[FRAME_TEST_RESULT], payload, n);
	assert_string_equal(host_text(&x->host, FRAME_STDOUT), "after");
	assert_true(x->channel.capacity < n); /* a large frame's memory is given back */
	free(payload);
}

static void test_push_between_partial_writes_keeps_order(void **state)
{
	struct fixture *x = *state;
	char chunk[5000];
	size_t lost = 0;

	memset(chunk, 'x', sizeof(chunk));
	for (int i = 0; i < 200; i++) {
		assert_int_equal(channel_push(&x->channel, FRAME_STDOUT, chunk, sizeof(chunk)), 0);
		assert_int_equal(channel_flush(&x->channel, &lost), 0);
		if (i % 3 == 0)
			assert_true(host_pump(&x->host));
	}
	flush_all(x);
	assert_int_equal(x->host.n_frames[FRAME_STDOUT], 200);
	assert_int_equal(x->host.n_bytes[FRAME_STDOUT], 200 * sizeof(chunk));
}

static void test_push_above_limit_is_refused(void **state)
{
	struct fixture *x = *state;
	uint8_t byte = 0;

	assert_int_equal(channel_push(&x->channel, FRAME_STDOUT, &byte, FRAME_PAYLOAD_MAX + 1),
			 -EMSGSIZE);
	assert_int_equal(channel_pending(&x->channel), 0);
	assert_int_equal(channel_push(&x->channel, FRAME_STDOUT, NULL, 0), 0);
	flush_all(x);
	assert_int_equal(x->host.n_frames[FRAME_STDOUT], 1); /* and took no sequence number */
}

static void test_flush_closed_port_reports_lost_bytes(void **state)
{
	struct fixture *x = *state;
	size_t lost = 0;

	assert_int_equal(channel_push(&x->channel, FRAME_STDOUT, "abc", 3), 0);
	close(x->host.fd);
	x->host.fd = -1;
	assert_int_equal(channel_flush(&x->channel, &lost), -EPIPE);
	assert_int_equal(lost, FRAME_HEADER_SIZE + 3);
	assert_false(channel_is_open(&x->channel));
	assert_int_equal(channel_push(&x->channel, FRAME_STDOUT, "d", 1), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_push_large_frame_arrives_whole_through_small_buffer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_push_between_partial_writes_keeps_order,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_push_above_limit_is_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_flush_closed_port_reports_lost_bytes, set_up,
						tear_down),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
