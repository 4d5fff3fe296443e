/*
 * Tests that must not pass, each in a way of its own: what a harness has to tell apart. Those that
 * harm the machine run in a VM only.
 */
#include <ktstr.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "cpu.h"

static void must_fail(struct ktstr *t)
{
	int two = 1 + 1;

	ktstr_metric(t, "two", two, "", KTSTR_NEITHER_IS_BETTER);
	KTSTR_CHECK(t, two == 3, "this check fails on purpose");
}

static void must_skip(struct ktstr *t)
{
	ktstr_skip(t, "this test skips itself on purpose");
}

static void must_be_inconclusive(struct ktstr *t)
{
	ktstr_inconclusive(t, "nothing was measured, on purpose");
}

static void does_nothing(struct ktstr *t)
{
	(void)t;
}

static void must_crash(struct ktstr *t)
{
	volatile int *volatile nowhere = NULL;

	KTSTR_CHECK(t, true, "this check holds, and the next line dies of SIGSEGV");
	*nowhere = 1; /* NOLINT(clang-analyzer-core.NullDereference): on purpose */
}

static void must_panic(struct ktstr *t)
{
	KTSTR_CHECK(t, write_file("/proc/sysrq-trigger", "c"), "/proc/sysrq-trigger: %m");
}

static void must_hang(struct ktstr *t)
{
	KTSTR_CHECK(t, true, "this check holds, and nothing comes after it");
	for (;;)
		pause();
}

static void must_vanish(struct ktstr *t)
{
	KTSTR_CHECK(t, reboot(RB_POWER_OFF) == 0, "power off: %m");
}

static void must_not_leave(struct ktstr *t)
{
	KTSTR_CHECK(t, true, "this check holds, and then the process leaves as if all were well");
	exit(0);
}

static const struct ktstr_test tests[] = {
	{ .name = "fail", .run = must_fail },
	{ .name = "skip", .run = must_skip },
	{ .name = "be_inconclusive", .run = must_be_inconclusive },
	{ .name = "do_something", .run = does_nothing },
	{ .name = "crash", .run = must_crash },
	{ .name = "not_leave", .run = must_not_leave },
	{ .name = "panic", .run = must_panic, .vm_only = true },
	{ .name = "hang", .run = must_hang, .timeout_s = 10, .vm_only = true },
	{ .name = "vanish", .run = must_vanish, .vm_only = true },
	{ 0 },
};

int main(int argc, char **argv)
{
	return ktstr_main(argc, argv, tests);
}
