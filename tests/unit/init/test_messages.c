/* The command's own channel: messages become frames, bad ones become a line on standard error. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"
#include "messages.h"

struct fixture {
	int program_fd;
	int init_fd;
	struct outlet outlet;
	struct host host;
};

static int set_up(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	int message[2];
	int port[2];

	assert_non_null(x);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, message), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, port),
			 0);
	x->program_fd = message[0];
	x->init_fd = message[1];
	outlet_init(&x->outlet, port[0], NULL);
	host_init(&x->host, port[1]);
	*state = x;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *x = *state;

	if (x->program_fd >= 0)
		close(x->program_fd);
	close(x->init_fd);
	outlet_fini(&x->outlet);
	host_fini(&x->host);
	free(x);
	return 0;
}

static void flush(struct fixture *x)
{
	do {
		outlet_flush(&x->outlet);
		assert_true(host_pump(&x->host));
	} while (channel_pending(&x->outlet.channel) > 0);
	assert_true(host_pump(&x->host));
}

static void send_message(struct fixture *x, uint32_t type, const void *payload, size_t n)
{
	uint8_t *message = malloc(4 + n);

	assert_non_null(message);
	memcpy(message, &type, 4);
	memcpy(message + 4, payload, n);
	assert_int_equal(send(x->program_fd, message, 4 + n, 0), 4 + n);
	free(message);
}

/* @extra bytes of payload go along. */
static void send_fds(struct fixture *x, uint32_t type, size_t extra, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = { 0 };
	uint8_t bytes[64] = { 0 };
	struct iovec iov = { .iov_base = bytes, .iov_len = 4 + extra };
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(n_fds * sizeof(int)),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&header);

	memcpy(bytes, &type, 4);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	assert_int_equal(sendmsg(x->program_fd, &header, 0), 4 + extra);
}

static int make_memfd(size_t n)
{
	int fd = memfd_create("payload", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)n), 0);
	return fd;
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_pump_message_becomes_frame(void **state)
{
	struct fixture *x = *state;

	send_message(x, FRAME_PAYLOAD_METRICS, "metrics", 7);
	send_message(x, FRAME_SCENARIO_END, "", 0);
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), 0);
	flush(x);
	assert_string_equal(host_text(&x->host, FRAME_PAYLOAD_METRICS), "metrics");
	assert_int_equal(x->host.n_frames[FRAME_SCENARIO_END], 1);
	assert_int_equal(x->host.n_frames[FRAME_STDERR], 0);
}

static void test_pump_largest_inline_message_is_whole(void **state)
{
	struct fixture *x = *state;
	static uint8_t payload[64 * 1024];

	memset(payload, 0x5a, sizeof(payload));
	send_message(x, FRAME_TEST_RESULT, payload, sizeof(payload));
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	flush(x);
	assert_int_equal(x->host.n_bytes[FRAME_TEST_RESULT], sizeof(payload));
}

static void test_pump_memfd_becomes_one_frame(void **state)
{
	struct fixture *x = *state;
	int n_before = count_fds();
	size_t n = (1 << 20) + 17;
	int fd = make_memfd(n);

	assert_int_equal(pwrite(fd, "last", 4, (off_t)n - 4), 4);
	send_fds(x, FRAME_TEST_RESULT, 0, &fd, 1);
	close(fd);
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	flush(x);
	assert_int_equal(x->host.n_frames[FRAME_TEST_RESULT], 1);
	assert_int_equal(x->host.n_bytes[FRAME_TEST_RESULT], n);
	assert_memory_equal(x->host.bytes[FRAME_TEST_RESULT] + n - 4, "last", 4);
	assert_int_equal(count_fds(), n_before);
}

static void test_pump_bad_messages_are_told_and_dropped(void **state)
{
	struct fixture *x = *state;
	static uint8_t large[64 * 1024 + 1];
	int n_before = count_fds();

	send_message(x, FRAME_TEST_RESULT, large, sizeof(large));
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	assert_int_equal(send(x->program_fd, "abc", 3, 0), 3);
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	assert_int_equal(send(x->program_fd, "", 0, 0), 0);
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	static const uint32_t types[] = { 0, FRAME_EXIT, FRAME_PHASE, FRAME_EXIT_ACK, 0x10003 };
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		send_message(x, types[i], "x", 1);
		assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	}
	int fds[6];
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = make_memfd(8);
	send_fds(x, FRAME_TEST_RESULT, 1, fds, 2);
	send_fds(x, FRAME_TEST_RESULT, 0, fds, 2);
	send_fds(x, FRAME_TEST_RESULT, 0, fds, 6);
	send_fds(x, FRAME_TEST_RESULT, 0, &x->init_fd, 1);
	assert_int_equal(ftruncate(fds[0], FRAME_PAYLOAD_MAX + 1), 0);
	send_fds(x, FRAME_TEST_RESULT, 0, fds, 1);
	for (int i = 0; i < 5; i++)
		assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);

	flush(x);
	assert_int_equal(x->host.n_frames[FRAME_STDERR], 3 + ARRAY_SIZE(types) + 5);
	assert_int_equal(x->host.n_frames[FRAME_TEST_RESULT], 0);
	assert_int_equal(x->host.n_frames[FRAME_EXIT], 0);
	assert_int_equal(count_fds(), n_before);
}

static void test_pump_receipt_is_closed_once_the_frame_is_passed_on(void **state)
{
	struct fixture *x = *state;
	int n_before = count_fds();
	int receipt[2];

	assert_int_equal(pipe2(receipt, O_CLOEXEC), 0);
	send_fds(x, FRAME_SCENARIO_START, 60, &receipt[1], 1);
	close(receipt[1]);
	struct pollfd p = { .fd = receipt[0] };
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(channel_pending(&x->outlet.channel), 0);
	close(receipt[0]);

	assert_true(host_pump(&x->host));
	assert_int_equal(x->host.n_frames[FRAME_SCENARIO_START], 1);
	assert_int_equal(x->host.n_bytes[FRAME_SCENARIO_START], 60);
	assert_int_equal(x->host.n_frames[FRAME_STDERR], 0);
	assert_int_equal(count_fds(), n_before);
}

static void test_pump_closed_channel_ends(void **state)
{
	struct fixture *x = *state;

	send_message(x, FRAME_STIMULUS, "s", 1);
	close(x->program_fd);
	x->program_fd = -1;
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), 1);
	assert_int_equal(messages_pump(x->init_fd, &x->outlet), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pump_message_becomes_frame, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pump_largest_inline_message_is_whole, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_pump_memfd_becomes_one_frame, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_pump_bad_messages_are_told_and_dropped, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
		    test_pump_receipt_is_closed_once_the_frame_is_passed_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pump_closed_channel_ends, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
