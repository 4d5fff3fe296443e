/* The console device under a real driver in a real guest: loses nothing, resets in flight. */
#include "guest_vm.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "abi/frame.h"

enum { LIMIT_MS = 100 * 1000, RESULT_SIZE = 1 << 20, FLOOD_TIMES = 8, N_BOOTS = 20, EOT = 4 };

static void add_frame(struct buf *b, enum frame_type type, uint64_t sequence, const void *payload,
		      size_t n)
{
	uint8_t header[FRAME_HEADER_SIZE];
	assert_true(frame_encode_header_for((uint16_t)type, sequence, payload, n, header));
	buf_append(b, header, sizeof(header));
	buf_append(b, payload, n);
}

/* What a test's last act is: some output, a large result, the exit status. */
static void make_initrd(struct buf *b)
{
	uint8_t *result = xmalloc(RESULT_SIZE);
	for (size_t i = 0; i < RESULT_SIZE; i++)
		result[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	add_frame(b, FRAME_STDOUT, 0, "output\n", 7);
	add_frame(b, FRAME_TEST_RESULT, 1, result, RESULT_SIZE);
	add_frame(b, FRAME_EXIT, 2, &(struct frame_exit){ .kind = EXIT_STATUS, .value = 7 },
		  sizeof(struct frame_exit));
	free(result);
}

/* Acknowledges once everything up to EXIT is there: the initrd's bytes are the end of the port's. */
static void ack_exit(struct guest_vm *g, unsigned port)
{
	const struct buf *out = &g->port[CONSOLE_PORT_FRAMES].out;
	size_t n = g->config->initrd_len;
	if (port != CONSOLE_PORT_FRAMES || g->port[port].in.len || out->len < n ||
	    memcmp(out->data + out->len - n, g->config->initrd, n) != 0)
		return;
	uint8_t header[FRAME_HEADER_SIZE];
	assert_true(frame_encode_header_for(FRAME_EXIT_ACK, 0, NULL, 0, header));
	guest_vm_send(g, CONSOLE_PORT_FRAMES, header, sizeof(header));
}

static void check_end(struct guest_vm *g)
{
	if (g->end != VM_POWER_OFF)
		print_error("end %d %s, COM1: %s\n", (int)g->end, g->end_text, buf_str(&g->com1));
	assert_int_equal(g->end, VM_POWER_OFF);
}

/* @noise: the guest says other things on port 1 before. */
static void run_sender(const char *cmdline, size_t frames_pace, bool noise,
		       const struct topology *topology)
{
	struct buf initrd = { 0 };
	make_initrd(&initrd);
	struct guest_vm g;
	guest_vm_run(&g,
		     &(struct guest_vm_config){ .guest = "console",
						.cmdline = cmdline,
						.initrd = initrd.data,
						.initrd_len = initrd.len,
						.topology = topology,
						.frames_pace = frames_pace,
						.on_output = ack_exit },
		     LIMIT_MS);
	check_end(&g);
	const struct buf *out = &g.port[CONSOLE_PORT_FRAMES].out;
	assert_true(noise ? out->len >= initrd.len : out->len == initrd.len);
	assert_memory_equal(out->data + out->len - initrd.len, initrd.data, initrd.len);
	assert_int_equal(g.stats.console_mmio.n_guest_faults, 0);
	assert_int_equal(g.stats.console_mmio.n_notify_exits, 0);
	guest_vm_fini(&g);
	buf_fini(&initrd);
}

static void send_initrd(const char *cmdline, size_t frames_pace)
{
	run_sender(cmdline, frames_pace, false, NULL);
}

static void send_initrd_after(const char *cmdline, size_t frames_pace)
{
	run_sender(cmdline, frames_pace, true, NULL);
}

static void test_send_polling_all_bytes_arrive(void **state UNUSED)
{
	send_initrd("send", 0);
}

static void test_send_polling_with_event_idx_all_bytes_arrive(void **state UNUSED)
{
	send_initrd("send event_idx", 0);
}

static void test_send_by_interrupts_all_bytes_arrive(void **state UNUSED)
{
	send_initrd("send irq", 0);
}

static void test_send_by_interrupts_with_event_idx_all_bytes_arrive(void **state UNUSED)
{
	send_initrd("send irq event_idx", 0);
}

/* Its interrupts go through our own I/O APIC. */
static void test_send_by_interrupts_in_a_vm_of_272_cpus_all_bytes_arrive(void **state UNUSED)
{
	const struct topology wide = topology_uniform(1, 17, 16, 1);
	run_sender("send irq event_idx", 0, false, &wide);
}

/* Back-pressure in the middle of the guest's buffers, a different place each time. */
static void test_send_to_a_slow_host_all_bytes_arrive(void **state UNUSED)
{
	send_initrd("send", 5003);
	send_initrd("send irq event_idx", 5003);
}

static void test_flood_power_off_right_after_loses_no_byte(void **state UNUSED)
{
	struct buf initrd = { 0 };
	make_initrd(&initrd);
	struct guest_vm g;
	guest_vm_run(&g,
		     &(struct guest_vm_config){ .guest = "console",
						.cmdline = "flood=8 event_idx",
						.initrd = initrd.data,
						.initrd_len = initrd.len },
		     LIMIT_MS);
	check_end(&g);
	const struct buf *out = &g.port[CONSOLE_PORT_FRAMES].out;
	assert_int_equal(out->len, FLOOD_TIMES * initrd.len);
	for (size_t i = 0; i < FLOOD_TIMES; i++)
		assert_memory_equal(out->data + i * initrd.len, initrd.data, initrd.len);
	guest_vm_fini(&g);
	buf_fini(&initrd);
}

static size_t count_entries(const char *path)
{
	DIR *dir = opendir(path);
	assert_non_null(dir);
	size_t n = 0;
	while (readdir(dir)) /* NOLINT(concurrency-mt-unsafe): a stream of this function's own */
		n++;
	closedir(dir);
	return n;
}

static void test_many_boots_lose_nothing_and_leave_nothing(void **state UNUSED)
{
	size_t fds = count_entries("/proc/self/fd"), threads = count_entries("/proc/self/task");
	for (int i = 0; i < N_BOOTS; i++) {
		send_initrd("send irq event_idx", 0);
		assert_int_equal(count_entries("/proc/self/fd"), fds);
		assert_int_equal(count_entries("/proc/self/task"), threads);
	}
}

/* Sends the next message once the last came back, an EOT in the last. */
struct talk {
	unsigned port;
	size_t round, sent;
	struct buf all;
};

enum { TALK_ROUNDS = 40 };

static void say(struct guest_vm *g, struct talk *t)
{
	uint8_t message[3000];
	size_t n = 1 + t->round * 71;
	memset(message, 'a' + (int)(t->round % 26), n);
	if (++t->round == TALK_ROUNDS)
		message[n - 1] = EOT;
	t->sent += n;
	buf_append(&t->all, message, n);
	guest_vm_send(g, t->port, message, n);
}

static void on_open(struct guest_vm *g, unsigned port)
{
	struct talk *t = g->config->ctx;
	if (port == t->port)
		say(g, t);
}

static void on_echo(struct guest_vm *g, unsigned port)
{
	struct talk *t = g->config->ctx;
	if (port == t->port && g->port[port].out.len == t->sent && t->round < TALK_ROUNDS)
		say(g, t);
}

static void echo(const char *cmdline, unsigned port)
{
	struct talk t = { .port = port };
	struct guest_vm g;
	guest_vm_run(&g,
		     &(struct guest_vm_config){ .guest = "console",
						.cmdline = cmdline,
						.on_open = on_open,
						.on_output = on_echo,
						.ctx = &t },
		     LIMIT_MS);
	check_end(&g);
	assert_int_equal(t.round, TALK_ROUNDS);
	assert_int_equal(g.port[port].out.len, t.all.len);
	assert_memory_equal(g.port[port].out.data, t.all.data, t.all.len);
	guest_vm_fini(&g);
	buf_fini(&t.all);
}

static void test_tty_echo_returns_every_byte(void **state UNUSED)
{
	echo("tty", CONSOLE_PORT_TTY);
	echo("tty irq event_idx", CONSOLE_PORT_TTY);
}

static void test_relay_echo_returns_every_byte(void **state UNUSED)
{
	echo("relay", CONSOLE_PORT_RELAY);
	echo("relay irq event_idx", CONSOLE_PORT_RELAY);
}

/* The guest itself checks that its rings stay untouched after the reset. */
static void test_reset_with_output_in_flight_device_is_quiet_and_works_again(void **state UNUSED)
{
	send_initrd_after("reset_inflight=100 send", 0);
	send_initrd_after("reset_inflight=50 send event_idx irq", 5003);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_send_polling_all_bytes_arrive),
		cmocka_unit_test(test_send_polling_with_event_idx_all_bytes_arrive),
		cmocka_unit_test(test_send_by_interrupts_all_bytes_arrive),
		cmocka_unit_test(test_send_by_interrupts_with_event_idx_all_bytes_arrive),
		cmocka_unit_test(test_send_by_interrupts_in_a_vm_of_272_cpus_all_bytes_arrive),
		cmocka_unit_test(test_send_to_a_slow_host_all_bytes_arrive),
		cmocka_unit_test(test_flood_power_off_right_after_loses_no_byte),
		cmocka_unit_test(test_many_boots_lose_nothing_and_leave_nothing),
		cmocka_unit_test(test_tty_echo_returns_every_byte),
		cmocka_unit_test(test_relay_echo_returns_every_byte),
		cmocka_unit_test(test_reset_with_output_in_flight_device_is_quiet_and_works_again),
	};
	guest_vm_skip_without_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
