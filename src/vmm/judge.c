#include "vmm/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/guest_config.h"
#include "base/clock.h"
#include "base/num.h"

void judge_init(struct judge *j, bool bare)
{
	*j = (struct judge){ .bare = bare };
}

static void keep_line(struct judge *j, const char *line)
{
	if (j->n_why_lines >= JUDGE_KEEP_LINES)
		return;
	int n = snprintf(j->why + j->why_len, sizeof(j->why) - j->why_len, "%s\n", line);
	if (n > 0)
		j->why_len = num_min(j->why_len + (size_t)n, sizeof(j->why) - 1);
	j->n_why_lines++;
}

/*
 * What the kernel prints when it is lost, or when a CPU is. A program may print such words too:
 * they count only where printk puts them, after a time stamp; a panic's own first line also without
 * (kernels with PRINTK_TIME=n).
 */
static const char panic_mark[] = "Kernel panic - not syncing";
static const char *const oops_marks[] = { "Oops: ", "BUG: unable to handle",
					  "BUG: kernel NULL pointer", "general protection fault",
					  "Unable to handle kernel" };
static const char *const stall_marks[] = { "soft lockup - CPU#", "hard LOCKUP on cpu",
					   "self-detected stall on CPU",
					   "detected stalls on CPUs/tasks",
					   "detected stall on CPU" };

/* A user program's fault, told at a log level that the console may show: nothing wrong with the kernel. */
static const char user_fault_mark[] = "traps: ";

/*
 * sched_ext's last word on a BPF scheduler, kernel/sched/ext.c: 'sched_ext: BPF scheduler "NAME" disabled (REASON)'. Tests go on
 * under another scheduler then, so what they find says nothing about the one that was to be tested. One that was only taken
 * out in good order is no error.
 */
static const char ejection_begin[] = "sched_ext: BPF scheduler \"";
static const char ejection_reason[] = "\" disabled (";
static const char *const good_reasons[] = { "unregistered", "BPF scheduler unregistered",
					    "disabled by sysrq-S" };

static bool is_ejection(const char *text)
{
	if (strncmp(text, ejection_begin, sizeof(ejection_begin) - 1) != 0)
		return false;
	const char *reason = strstr(text, ejection_reason);
	if (!reason)
		return false;
	reason += sizeof(ejection_reason) - 1;
	for (size_t i = 0; i < ARRAY_SIZE(good_reasons); i++)
		if (strncmp(reason, good_reasons[i], strlen(good_reasons[i])) == 0)
			return false;
	return true;
}

static bool has_mark(const char *line, const char *const *marks, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strstr(line, marks[i]))
			return true;
	return false;
}

/*
 * The text behind "[    0.123456] ", or "[    0.123456][   T1] " (PRINTK_CALLER: a task's or CPU's number); NULL where the
 * line has no such stamp.
 */
static const char *after_stamp(const char *line)
{
	if (*line != '[')
		return NULL;
	size_t n = 1 + strspn(line + 1, " 0123456789.");
	if (n == 1 || line[n] != ']')
		return NULL;
	if (line[n + 1] == '[') {
		n += 2 + strspn(line + n + 2, " TC0123456789");
		if (line[n] != ']')
			return NULL;
	}
	return line[n + 1] == ' ' ? line + n + 2 : NULL;
}

/* The text behind the line's first stamp: a program's unfinished line on the same console may stand before it. */
static const char *kernel_text(const char *line)
{
	const char *text = NULL;

	for (const char *p = strchr(line, '['); p && !text; p = strchr(p + 1, '['))
		text = after_stamp(p);
	return text;
}

static void look_at_kernel_line(struct judge *j, const char *line)
{
	const char *text = kernel_text(line);
	bool panics = strncmp(text ? text : line, panic_mark, sizeof(panic_mark) - 1) == 0;

	if (panics)
		j->panic = true;
	else if (text && strncmp(text, user_fault_mark, sizeof(user_fault_mark) - 1) != 0 &&
		 has_mark(text, oops_marks, ARRAY_SIZE(oops_marks)))
		j->oops = true;
	else if (text && has_mark(text, stall_marks, ARRAY_SIZE(stall_marks)))
		j->stall = true;
	else if (text && is_ejection(text))
		j->ejected = true;
	/* First cause first: from the first such line on. */
	if (j->panic || j->oops || j->stall || j->ejected)
		keep_line(j, line);
}

/* COM2: what PID 1 says when there is no port 1. */
static void look_at_fallback_line(struct judge *j, const char *line)
{
	static const size_t n_exit = sizeof(GUEST_SENTINEL_EXIT) - 1;
	static const size_t n_init = sizeof(GUEST_SENTINEL_INIT) - 1;
	static const size_t n_panic = sizeof(GUEST_SENTINEL_PANIC) - 1;

	if (strncmp(line, GUEST_SENTINEL_EXIT, n_exit) == 0) {
		char *end;
		long status = strtol(line + n_exit, &end, 10);
		if (j->has_exit || end == line + n_exit || *end || status < 0 || status > 255)
			return;
		j->exit = (struct frame_exit){ EXIT_STATUS, (int32_t)status };
		j->has_exit = j->is_exit_text = true;
	} else if (strncmp(line, GUEST_SENTINEL_INIT, n_init) == 0) {
		judge_init_error(j, (const uint8_t *)line + n_init, strlen(line + n_init));
	} else if (strncmp(line, GUEST_SENTINEL_PANIC, n_panic) == 0) {
		keep_line(j, line);
	}
}

static void end_line(struct judge *j, unsigned port)
{
	j->line[port][j->line_len[port]] = 0;
	j->line_len[port] = 0;
	if (port == 0)
		look_at_kernel_line(j, j->line[port]);
	else
		look_at_fallback_line(j, j->line[port]);
}

void judge_serial(struct judge *j, unsigned port, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n') {
			end_line(j, port);
		} else if (data[i] != '\r' && data[i] != 0) {
			if (j->line_len[port] == JUDGE_LINE_MAX - 1)
				end_line(j, port);
			j->line[port][j->line_len[port]++] = (char)data[i];
		}
	}
}

void judge_phase(struct judge *j, uint32_t phase)
{
	if (phase > j->last_phase)
		j->last_phase = phase;
}

void judge_exit(struct judge *j, const struct frame_exit *exit)
{
	/* The first word counts; but any program can write to COM2, and only PID 1 to port 1. */
	if (j->has_exit && !j->is_exit_text)
		return;
	j->has_exit = true;
	j->is_exit_text = false;
	j->exit = *exit;
}

void judge_init_error(struct judge *j, const uint8_t *text, size_t n)
{
	if (j->init_error[0])
		return;
	n = num_min(n, sizeof(j->init_error) - 1);
	memcpy(j->init_error, text, n);
	j->init_error[n] = 0;
}

/* The reason is @first, and below it @rest; a reason longer than its place is cut at the end. */
static enum outcome set_why(char why[static JUDGE_TEXT_MAX], enum outcome outcome,
			    const char *first, const char *rest)
{
	size_t n = num_min(strlen(first), JUDGE_TEXT_MAX - 1);

	memcpy(why, first, n);
	if (n && rest && *rest && n < JUDGE_TEXT_MAX - 1)
		why[n++] = '\n';
	size_t n_rest = rest ? num_min(strlen(rest), JUDGE_TEXT_MAX - 1 - n) : 0;
	if (n_rest)
		memcpy(why + n, rest, n_rest);
	why[n + n_rest] = 0;
	return outcome;
}

static enum outcome decide_no_exit(const struct judge *j, enum vm_end end, const char *end_text,
				   char why[static JUDGE_TEXT_MAX])
{
	bool in_user_space = j->last_phase >= PHASE_INIT;

	switch (end) {
	case VM_POWER_OFF:
		if (j->bare)
			return set_why(why, OUTCOME_PASS, "", NULL);
		return set_why(why, in_user_space ? OUTCOME_PANIC : OUTCOME_BOOT,
			       "the guest powered off without reporting an exit", NULL);
	case VM_RESET:
		return set_why(why, in_user_space || j->bare ? OUTCOME_PANIC : OUTCOME_BOOT,
			       "the guest reset itself without reporting an exit", NULL);
	case VM_TRIPLE_FAULT:
		return set_why(why, in_user_space || j->bare ? OUTCOME_PANIC : OUTCOME_BOOT,
			       "the guest ended in a triple fault", end_text);
	case VM_KVM_ERROR:
		return set_why(why, OUTCOME_INFRA, end_text, NULL);
	case VM_STOPPED:
	case VM_RUNNING:
		break;
	}
	return set_why(why, OUTCOME_INFRA, "the VM was stopped", NULL);
}

/* Which frame, or what else, the deadline that passed was counted from. */
static const char *limit_origin(enum judge_limit limit)
{
	return limit == JUDGE_COMMAND_TIMEOUT ? "frame 'command'" : "the VM's start";
}

static enum outcome decide_limit(const struct judge *j, char why[static JUDGE_TEXT_MAX])
{
	char text[160];

	(void)snprintf(
	    text, sizeof(text), "no end in time; last phase reached: %s (limit: %g s from %s on)",
	    frame_phase_name(j->last_phase), clock_limit_s(j->limit_ns), limit_origin(j->limit));
	switch (j->limit) {
	case JUDGE_TIMEOUT:
		return set_why(
		    why, j->last_phase >= PHASE_INIT || j->bare ? OUTCOME_TIMEOUT : OUTCOME_BOOT,
		    text, NULL);
	case JUDGE_COMMAND_TIMEOUT:
		return set_why(why, OUTCOME_TIMEOUT, text, NULL);
	case JUDGE_BOOT_TIMEOUT:
		return set_why(why, OUTCOME_BOOT, text, NULL);
	case JUDGE_INTERRUPTED:
		return set_why(why, OUTCOME_INFRA, "interrupted", NULL);
	case JUDGE_PANIC_GRACE:
	case JUDGE_NO_LIMIT:
		break;
	}
	return set_why(why, OUTCOME_INFRA, "the VM was stopped", NULL);
}

static enum outcome decide(const struct judge *j, enum vm_end end, const char *end_text,
			   char why[static JUDGE_TEXT_MAX])
{
	/*
	 * A kernel that panicked or oopsed is a panic, whatever the command said: it is the kernel
	 * that is under test.
	 */
	if (j->panic || j->oops)
		return set_why(why, OUTCOME_PANIC, j->why, NULL);
	/* The same of a scheduler. */
	if (j->ejected)
		return set_why(why, OUTCOME_STALL, j->why, NULL);
	if (j->has_exit && j->exit.kind == EXIT_INIT)
		return set_why(why, OUTCOME_INFRA,
			       j->init_error[0] ? j->init_error : "ktstr-init failed", NULL);
	if (j->has_exit) {
		bool ok = j->exit.kind == EXIT_STATUS && j->exit.value == 0;
		return set_why(why, ok ? OUTCOME_PASS : OUTCOME_FAIL, "", j->why);
	}
	if (j->init_error[0])
		return set_why(why, OUTCOME_INFRA, j->init_error, NULL);
	/* Without an exit a stall is the reason, also of a time limit. */
	if (j->stall)
		return set_why(why, OUTCOME_STALL, j->why, NULL);
	if (j->limit != JUDGE_NO_LIMIT && end == VM_STOPPED)
		return decide_limit(j, why);
	return decide_no_exit(j, end, end_text, why);
}

void judge_decide(const struct judge *j, enum vm_end end, const char *end_text,
		  struct frame_outcome *ret, char why[static JUDGE_TEXT_MAX])
{
	*ret = (struct frame_outcome){ .last_phase = j->last_phase,
				       .has_exit = j->has_exit,
				       .exit = j->exit };
	ret->outcome = (uint32_t)decide(j, end, end_text, why);
}
