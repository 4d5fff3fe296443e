/* The signals that end a command of ours in good order: SIGINT, SIGTERM, SIGHUP. */
#pragma once

#include <signal.h>

static inline sigset_t end_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	return set;
}
