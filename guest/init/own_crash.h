/* PID 1's own death: the last words, and a reset that the host can see. */
#pragma once

#include <signal.h>

enum {
	OWN_CRASH_STACK_SIZE = 64 * 1024,
};

/*
 * From now on a fatal signal in this process writes "PANIC: ktstr-init ..." with a backtrace to
 * COM2 and /dev/console and resets the machine. @stack of OWN_CRASH_STACK_SIZE bytes is what the
 * handler runs on; it must stay.
 */
void own_crash_install(void *stack);
/* The text for such a signal; returns its length. Only what a signal handler may call. */
size_t own_crash_format(const siginfo_t *info, const void *context, char *out, size_t n);
