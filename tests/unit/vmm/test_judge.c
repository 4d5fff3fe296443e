/* The verdict's rules (src/vmm/judge.h): each line of the table is one way a VM can end. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "vmm/judge.h"

static enum outcome decide(const struct judge *j, enum vm_end end, char why[static JUDGE_TEXT_MAX])
{
	struct frame_outcome o;

	judge_decide(j, end, "end text", &o, why);
	return (enum outcome)o.outcome;
}

static void say(struct judge *j, unsigned port, const char *text)
{
	judge_serial(j, port, (const uint8_t *)text, strlen(text));
}

struct row {
	const char *name;
	bool bare;
	const char *com1;
	const char *com2;
	uint32_t phase;
	bool has_exit;
	struct frame_exit exit;
	enum judge_limit limit;
	enum vm_end end;
	enum outcome want;
	const char *why; /* part of the reason */
};

static const struct row rows[] = {
	{ .name = "exit 0",
	  .has_exit = true,
	  .phase = PHASE_POWER_OFF,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PASS },
	{ .name = "exit 7",
	  .has_exit = true,
	  .exit = { EXIT_STATUS, 7 },
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_FAIL },
	{ .name = "signal",
	  .has_exit = true,
	  .exit = { EXIT_SIGNAL, 11 },
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_FAIL },
	{ .name = "init failed",
	  .has_exit = true,
	  .exit = { EXIT_INIT, 2 },
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_INFRA },
	{ .name = "exit, then time limit while powering off",
	  .has_exit = true,
	  .limit = JUDGE_TIMEOUT,
	  .end = VM_STOPPED,
	  .want = OUTCOME_PASS },
	{ .name = "panic",
	  .com1 = "[    1.000000] Kernel panic - not syncing: sysrq\n[    1.1] more\n",
	  .phase = PHASE_COMMAND,
	  .end = VM_RESET,
	  .want = OUTCOME_PANIC,
	  .why = "not syncing: sysrq" },
	{ .name = "panic without time stamps",
	  .com1 = "Kernel panic - not syncing: x\n",
	  .end = VM_RESET,
	  .want = OUTCOME_PANIC },
	{ .name = "panic after exit is a panic",
	  .com1 = "[   12.500000] Kernel panic - not syncing: late\n",
	  .has_exit = true,
	  .end = VM_RESET,
	  .want = OUTCOME_PANIC },
	{ .name = "oops",
	  .com1 = "[    1.000000] Oops: 0002 [#1] PREEMPT SMP\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PANIC },
	{ .name = "a program's words are no panic",
	  .com1 = "test: Kernel panic - not syncing is what I look for\nOops: I did it again\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PASS },
	{ .name = "panic of a kernel that prints callers",
	  .com1 = "[    1.000000][    T1] Kernel panic - not syncing: x\n",
	  .end = VM_RESET,
	  .want = OUTCOME_PANIC,
	  .why = "not syncing: x" },
	{ .name = "oops of a kernel that prints callers",
	  .com1 = "[    1.000000][   C12] BUG: unable to handle page fault for address: 0\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PANIC },
	{ .name = "oops behind a program's unfinished line",
	  .com1 = "working [12%] ...[    1.000000] Oops: 0002 [#1] PREEMPT SMP\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PANIC },
	{ .name = "general protection fault in the kernel",
	  .com1 = "[    1.000000] general protection fault, probably for non-canonical address\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PANIC },
	{ .name = "a program's general protection fault is its own",
	  .com1 =
	      "[    1.000000] traps: t[9] general protection fault ip:401 sp:7ffc error:0 in t\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PASS },
	{ .name = "exit over COM2 does not stand against port 1",
	  .com2 = "KTSTR_EXIT=0\n",
	  .has_exit = true,
	  .exit = { EXIT_STATUS, 7 },
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_FAIL },
	{ .name = "stall",
	  .com1 = "[   30.000000] watchdog: BUG: soft lockup - CPU#1 stuck for 22s!\n",
	  .phase = PHASE_COMMAND,
	  .limit = JUDGE_TIMEOUT,
	  .end = VM_STOPPED,
	  .want = OUTCOME_STALL,
	  .why = "soft lockup" },
	{ .name = "stall that was survived",
	  .com1 = "[   30.000000] rcu: INFO: rcu_preempt self-detected stall on CPU\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PASS,
	  .why = "self-detected stall" },
	{ .name = "ejected scheduler, whatever the command says",
	  .com1 =
	      "[    7.000000] sched_ext: BPF scheduler \"qmap\" disabled (runnable task stall)\n"
	      "[    7.000001] sched_ext: qmap: task[12] failed to run for 5.120s\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_STALL,
	  .why = "(runnable task stall)\n[    7.000001] sched_ext: qmap: task[12] failed" },
	{ .name = "scheduler that errored, with the stamp of a caller",
	  .com1 = "[    7.000000][   T12] sched_ext: BPF scheduler \"a \"b\" disabled "
		  "(scx_bpf_error)\n",
	  .has_exit = true,
	  .exit = { EXIT_STATUS, 7 },
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_STALL },
	{ .name = "panic after an ejection",
	  .com1 = "[    7.000000] sched_ext: BPF scheduler \"qmap\" disabled (runtime error)\n"
		  "[    7.100000] Kernel panic - not syncing: later\n",
	  .end = VM_RESET,
	  .want = OUTCOME_PANIC,
	  .why = "qmap" },
	{ .name = "scheduler taken out by its loader",
	  .com1 = "[    7.000000] sched_ext: BPF scheduler \"qmap\" disabled (unregistered from "
		  "user space)\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PASS },
	{ .name = "scheduler taken out by a key",
	  .com1 =
	      "[    7.000000] sched_ext: BPF scheduler \"qmap\" disabled (disabled by sysrq-S)\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PASS },
	{ .name = "program that prints of an ejection",
	  .com1 = "sched_ext: BPF scheduler \"qmap\" disabled (runnable task stall)\n"
		  "[    7.000000] test: sched_ext: BPF scheduler \"x\" disabled (runtime error)\n",
	  .has_exit = true,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PASS },
	{ .name = "timeout",
	  .phase = PHASE_COMMAND,
	  .limit = JUDGE_TIMEOUT,
	  .end = VM_STOPPED,
	  .want = OUTCOME_TIMEOUT,
	  .why = "command" },
	{ .name = "timeout before init",
	  .limit = JUDGE_TIMEOUT,
	  .end = VM_STOPPED,
	  .want = OUTCOME_BOOT },
	{ .name = "boot limit",
	  .limit = JUDGE_BOOT_TIMEOUT,
	  .end = VM_STOPPED,
	  .want = OUTCOME_BOOT,
	  .why = "last phase reached: start (limit: 1234.5 s from the VM's start on)" },
	{ .name = "limit of the command",
	  .phase = PHASE_COMMAND,
	  .limit = JUDGE_COMMAND_TIMEOUT,
	  .end = VM_STOPPED,
	  .want = OUTCOME_TIMEOUT,
	  .why = "last phase reached: command (limit: 1234.5 s from frame 'command' on)" },
	{ .name = "interrupted",
	  .limit = JUDGE_INTERRUPTED,
	  .end = VM_STOPPED,
	  .want = OUTCOME_INFRA },
	{ .name = "reset without exit",
	  .phase = PHASE_COMMAND,
	  .end = VM_RESET,
	  .want = OUTCOME_PANIC },
	{ .name = "power-off without exit",
	  .phase = PHASE_COMMAND,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PANIC },
	{ .name = "power-off before init", .end = VM_POWER_OFF, .want = OUTCOME_BOOT },
	{ .name = "triple fault",
	  .phase = PHASE_COMMAND,
	  .end = VM_TRIPLE_FAULT,
	  .want = OUTCOME_PANIC,
	  .why = "end text" },
	{ .name = "triple fault in boot", .end = VM_TRIPLE_FAULT, .want = OUTCOME_BOOT },
	{ .name = "kvm error", .end = VM_KVM_ERROR, .want = OUTCOME_INFRA, .why = "end text" },
	{ .name = "bare power-off", .bare = true, .end = VM_POWER_OFF, .want = OUTCOME_PASS },
	{ .name = "bare triple fault",
	  .bare = true,
	  .end = VM_TRIPLE_FAULT,
	  .want = OUTCOME_PANIC },
	{ .name = "bare timeout",
	  .bare = true,
	  .limit = JUDGE_TIMEOUT,
	  .end = VM_STOPPED,
	  .want = OUTCOME_TIMEOUT },
	{ .name = "fallback exit on COM2",
	  .com2 = "out\nKTSTR_EXIT=0\n",
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PASS },
	{ .name = "fallback exit with carriage return",
	  .com2 = "KTSTR_EXIT=3\r\n",
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_FAIL },
	{ .name = "fallback exit that is no number",
	  .com2 = "KTSTR_EXIT=3x\nKTSTR_EXIT=\nKTSTR_EXIT=256\n",
	  .phase = PHASE_COMMAND,
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_PANIC },
	{ .name = "init error on COM2",
	  .com2 = "KTSTR_INIT_ERROR: mount /proc: EPERM\n",
	  .end = VM_POWER_OFF,
	  .want = OUTCOME_INFRA,
	  .why = "mount /proc" },
};

static void test_decide_each_way_to_end_has_its_outcome(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		char why[JUDGE_TEXT_MAX];
		struct judge j;

		judge_init(&j, r->bare);
		say(&j, 0, r->com1 ? r->com1 : "");
		say(&j, 1, r->com2 ? r->com2 : "");
		judge_phase(&j, r->phase);
		if (r->has_exit)
			judge_exit(&j, &r->exit);
		j.limit = r->limit;
		j.limit_ns = 1234500000000;
		enum outcome got = decide(&j, r->end, why);
		if (got != r->want || (r->why && !strstr(why, r->why)))
			fail_msg("%s: %s, wanted %s; why: %s", r->name, outcome_name(got),
				 outcome_name(r->want), why);
	}
}

static void test_serial_in_single_bytes_is_the_same(void **state UNUSED)
{
	static const char text[] = "[    1.000000] Kernel panic - not syncing: split\r\n";
	char why[JUDGE_TEXT_MAX];
	struct judge j;

	judge_init(&j, false);
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		judge_serial(&j, 0, (const uint8_t *)text + i, 1);
	assert_int_equal(decide(&j, VM_RESET, why), OUTCOME_PANIC);
	assert_string_equal(why, "[    1.000000] Kernel panic - not syncing: split\n");
}

static void test_serial_endless_line_stays_bounded(void **state UNUSED)
{
	char why[JUDGE_TEXT_MAX];
	struct judge j;

	judge_init(&j, false);
	say(&j, 0, "[    1.000000] Kernel panic - not syncing: long ");
	for (size_t i = 0; i < 100000; i++)
		say(&j, 0, "x");
	say(&j, 0, "\n");
	assert_int_equal(decide(&j, VM_RESET, why), OUTCOME_PANIC);
	assert_true(strlen(why) < JUDGE_TEXT_MAX);
}

static void test_exit_second_one_does_not_count(void **state UNUSED)
{
	char why[JUDGE_TEXT_MAX];
	struct judge j;

	judge_init(&j, false);
	judge_exit(&j, &(struct frame_exit){ EXIT_STATUS, 0 });
	judge_exit(&j, &(struct frame_exit){ EXIT_STATUS, 1 });
	assert_int_equal(decide(&j, VM_POWER_OFF, why), OUTCOME_PASS);
}

static void test_init_error_longer_than_its_place_is_cut(void **state UNUSED)
{
	static uint8_t text[4096];
	char why[JUDGE_TEXT_MAX];
	struct judge j;

	memset(text, 'e', sizeof(text));
	judge_init(&j, false);
	judge_init_error(&j, text, sizeof(text));
	assert_int_equal(decide(&j, VM_POWER_OFF, why), OUTCOME_INFRA);
	assert_int_equal(strlen(why), sizeof(j.init_error) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decide_each_way_to_end_has_its_outcome),
		cmocka_unit_test(test_serial_in_single_bytes_is_the_same),
		cmocka_unit_test(test_serial_endless_line_stays_bounded),
		cmocka_unit_test(test_exit_second_one_does_not_count),
		cmocka_unit_test(test_init_error_longer_than_its_place_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
