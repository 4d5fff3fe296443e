/*
 * The actor: plays PID 1 and a test program for the batch runner, in every way in which a VM can end. The word ktstr.run=NAME
 * of the command line says which test it is; the name up to its first '/' says what it does (the table below). All but the
 * com2_* speak frames over port 1.
 */
#include "console_port.h"

#include "abi/frame.h"
#include "abi/guest_config.h"
#include "abi/test_protocol.h"

enum { COM2 = 0x2f8, LINE_STATUS = 5, TRANSMIT_EMPTY = 0x20, RECORD_SIZE = 512, FILL_LINES = 2000 };

static const char *test_name; /* ends with a space or the command line */
static size_t test_name_len;
static uint64_t sequence;

/* Text */

struct text {
	char bytes[RECORD_SIZE];
	size_t n;
};

static void add_n(struct text *t, const char *s, size_t n)
{
	for (size_t i = 0; i < n && t->n < sizeof(t->bytes); i++)
		t->bytes[t->n++] = s[i];
}

static void add(struct text *t, const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	add_n(t, s, n);
}

/* Frames over port 1 */

static void send_frame(uint16_t type, const void *payload, size_t n)
{
	static uint8_t bytes[FRAME_HEADER_SIZE + RECORD_SIZE];

	if (n > RECORD_SIZE || !frame_encode_header_for(type, sequence++, payload, n, bytes))
		guest_die("frame too long");
	memcpy(bytes + FRAME_HEADER_SIZE, payload, n);
	console_send(PORT_FRAMES, bytes, FRAME_HEADER_SIZE + n);
}

static void send_text(uint16_t type, const char *s)
{
	struct text t = { .n = 0 };

	add(&t, s);
	send_frame(type, t.bytes, t.n);
}

static void phase(uint32_t id)
{
	const struct frame_phase p = { .phase = id, .time_ns = 1000000 * (uint64_t)id };

	send_frame(FRAME_PHASE, &p, sizeof(p));
}

static void record(uint16_t type, const char *members)
{
	struct text t = { .n = 0 };

	add(&t, "{\"version\":1,\"depth\":0,\"name\":\"");
	add_n(&t, test_name, test_name_len);
	add(&t, "\"");
	add(&t, members);
	add(&t, "}");
	send_frame(type, t.bytes, t.n);
}

static void result(const char *outcome, const char *message)
{
	struct text t = { .n = 0 };

	add(&t, ",\"outcome\":\"");
	add(&t, outcome);
	add(&t, "\",\"message\":\"");
	add(&t, message);
	add(&t, "\",\"duration_ms\":1.5");
	t.bytes[t.n < sizeof(t.bytes) ? t.n : sizeof(t.bytes) - 1] = 0;
	record(FRAME_TEST_RESULT, t.bytes);
}

static void wait_for_ack(void)
{
	static uint8_t storage[FRAME_DECODER_STORAGE_MIN], bytes[RX_SIZE];
	struct frame_decoder d;
	struct frame f;

	frame_decoder_init(&d, storage, sizeof(storage), NULL, NULL);
	for (;;) {
		size_t got = console_receive(PORT_FRAMES, bytes);
		for (size_t at = 0; at < got;) {
			at += frame_decoder_feed(&d, bytes + at, got - at);
			while (frame_decoder_next(&d, &f))
				if (f.header.type == FRAME_EXIT_ACK)
					return;
		}
	}
}

static void leave(uint32_t kind, int32_t value)
{
	const struct frame_exit e = { kind, value };

	send_frame(FRAME_EXIT, &e, sizeof(e));
	wait_for_ack();
}

/* PID 1 until the command runs. */
static void boot_up(void)
{
	static const struct console_options options = { .event_idx = true };

	console_open(&options);
	phase(PHASE_INIT);
	phase(PHASE_PORTS);
	phase(PHASE_COMMAND);
	send_text(FRAME_KERNEL_LOG, "[    0.000001] the actor enters\n");
	send_text(FRAME_STDOUT, "said by the test\n");
	record(FRAME_SCENARIO_START, "");
}

/* COM2 */

static void com2_put(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		while (!(in8(COM2 + LINE_STATUS) & TRANSMIT_EMPTY))
			cpu_pause();
		out8(COM2, (uint8_t)s[i]);
	}
}

static void com2_result(const char *outcome, const char *status)
{
	struct text t = { .n = 0 };

	add(&t,
	    "said over COM2\n\n" GUEST_SENTINEL_START "\n{\"version\":1,\"depth\":0,\"name\":\"");
	add_n(&t, test_name, test_name_len);
	add(&t, "\",\"outcome\":\"");
	add(&t, outcome);
	add(&t, "\",\"message\":\"over COM2\",\"duration_ms\":1}\n" GUEST_SENTINEL_END
		"\n\n" GUEST_SENTINEL_EXIT);
	add(&t, status);
	add(&t, "\n");
	com2_put(t.bytes, t.n);
}

/* What it does */

static void act_pass(void)
{
	boot_up();
	record(FRAME_PAYLOAD_METRICS, ",\"value\":42,\"unit\":\"lines\",\"better\":\"higher\"");
	result("PASS", "");
	leave(EXIT_STATUS, TEST_EXIT_PASS);
}

static void act_fail(void)
{
	boot_up();
	result("FAIL", "a check failed on purpose");
	leave(EXIT_STATUS, TEST_EXIT_FAIL);
}

static void act_skip(void)
{
	boot_up();
	result("SKIP", "skipped on purpose");
	leave(EXIT_STATUS, TEST_EXIT_SKIP);
}

static void act_inconclusive(void)
{
	boot_up();
	result("INCONCLUSIVE", "nothing was measured");
	leave(EXIT_STATUS, TEST_EXIT_INCONCLUSIVE);
}

static void act_silent(void) /* _exit(0): a status and no result */
{
	boot_up();
	leave(EXIT_STATUS, TEST_EXIT_PASS);
}

static void act_liar(void)
{
	boot_up();
	result("PASS", "");
	leave(EXIT_STATUS, TEST_EXIT_FAIL);
}

static void act_crash(void)
{
	boot_up();
	send_text(FRAME_CRASH, "the test died by SIGSEGV at 0x0\n");
	leave(EXIT_SIGNAL, 11);
}

static void act_killed(void) /* as by the OOM killer */
{
	boot_up();
	send_text(FRAME_KERNEL_LOG, "[    0.000002] Out of memory: Killed process 100 (test)\n");
	leave(EXIT_SIGNAL, 9);
}

static void act_panic(void)
{
	boot_up();
	serial_put("[    0.000002] Kernel panic - not syncing: the actor\n"
		   "[    0.000003] Call Trace:\n");
	guest_i8042_reset();
}

static void act_late_panic(void)
{
	boot_up();
	result("PASS", "");
	leave(EXIT_STATUS, TEST_EXIT_PASS);
	serial_put("[    0.000002] Kernel panic - not syncing: after the pass\n");
	guest_i8042_reset();
}

static void act_oops(void)
{
	boot_up();
	serial_put(
	    "[    0.000002] BUG: kernel NULL pointer dereference, address: 0000000000000000\n");
	result("PASS", "");
	leave(EXIT_STATUS, TEST_EXIT_PASS);
}

static void act_stall(void)
{
	boot_up();
	serial_put("[   22.000002] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [test:100]\n");
}

static void act_eject(void)
{
	boot_up();
	serial_put(
	    "[    7.000002] sched_ext: BPF scheduler \"actor\" disabled (runnable task stall)\n"
	    "[    7.000003] sched_ext: actor: test[100] failed to run for 5.120s\n");
	result("PASS", "");
	leave(EXIT_STATUS, TEST_EXIT_PASS);
}

static void act_pid1_killed(void)
{
	boot_up();
	serial_put("[    0.000002] Kernel panic - not syncing: Attempted to kill init! "
		   "exitcode=0x00000009\n");
	guest_i8042_reset();
}

static void act_vanish(void)
{
	boot_up();
	result("PASS", "");
}

static void act_reset(void)
{
	boot_up();
	guest_reset();
}

static void act_early_reset(void)
{
	guest_reset();
}

static void act_early_triple(void)
{
	guest_triple_fault();
}

static void act_hang(void)
{
	boot_up();
	guest_spin();
}

static void act_idle(void)
{
	boot_up();
	guest_halt();
}

static void act_no_init(void)
{
	static const struct console_options options = { .event_idx = true };

	console_open(&options);
	send_text(FRAME_INIT_ERROR, "mount /proc: on purpose");
	leave(EXIT_INIT, 0);
}

static void act_fill(void)
{
	boot_up();
	for (unsigned i = 0; i < FILL_LINES; i++)
		serial_put("a console line that nobody wants to read\n");
	result("PASS", "");
	leave(EXIT_STATUS, TEST_EXIT_PASS);
}

static void act_late_hang(void) /* an exit, and no end */
{
	boot_up();
	result("PASS", "");
	leave(EXIT_STATUS, TEST_EXIT_PASS);
	guest_halt();
}

static void act_com2_pass(void)
{
	com2_result("PASS", "0");
}

static void act_com2_fail(void)
{
	com2_result("FAIL", "1");
}

static const struct {
	const char *name;
	void (*act)(void);
} acts[] = {
	{ "pass", act_pass },
	{ "fail", act_fail },
	{ "skip", act_skip },
	{ "inconclusive", act_inconclusive },
	{ "silent", act_silent },
	{ "liar", act_liar },
	{ "crash", act_crash },
	{ "killed", act_killed },
	{ "panic", act_panic },
	{ "late_panic", act_late_panic },
	{ "oops", act_oops },
	{ "stall", act_stall },
	{ "eject", act_eject },
	{ "pid1_killed", act_pid1_killed },
	{ "vanish", act_vanish },
	{ "reset", act_reset },
	{ "early_reset", act_early_reset },
	{ "early_triple", act_early_triple },
	{ "hang", act_hang },
	{ "idle", act_idle },
	{ "no_init", act_no_init },
	{ "fill", act_fill },
	{ "late_hang", act_late_hang },
	{ "com2_pass", act_com2_pass },
	{ "com2_fail", act_com2_fail },
};

static bool find_test(const char *p)
{
	static const char word[] = "ktstr.run=";

	for (; *p; p++) {
		size_t n = 0;
		while (word[n] && p[n] == word[n])
			n++;
		if (word[n])
			continue;
		test_name = p + n;
		while (test_name[test_name_len] && test_name[test_name_len] != ' ')
			test_name_len++;
		return true;
	}
	return false;
}

static bool is_named(const char *act)
{
	size_t n = 0;

	while (act[n] && n < test_name_len && test_name[n] == act[n])
		n++;
	return !act[n] && (n == test_name_len || test_name[n] == '/');
}

void guest_main(const struct boot_params *boot)
{
	if (!find_test(boot_command_line(boot)))
		guest_die("no ktstr.run= on the command line");
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		if (!is_named(acts[i].name))
			continue;
		acts[i].act();
		return;
	}
	guest_die("no act of that name");
}
