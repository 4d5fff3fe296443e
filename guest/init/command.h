/* The program under test: start it, and know how its start went. */
#pragma once

#include <sys/types.h>

#include "abi/frame.h"
#include "config.h"

struct command {
	pid_t pid;    /* leader of its own session and process group; -1: none */
	int stdin_fd; /* the owned, non-blocking ends of PID 1; -1: none */
	int stdout_fd;
	int stderr_fd;
	int message_fd; /* SOCK_SEQPACKET, the other end of GUEST_ENV_CHANNEL */
};
#define COMMAND_INIT                                                                               \
	((struct command){                                                                         \
	    .pid = -1, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .message_fd = -1 })

/*
 * Starts the program and waits until it runs (or cannot). On failure *@ret_exit says how the run
 * ends: EXIT_NOT_FOUND, EXIT_NOT_EXEC with the errno, or EXIT_INIT for everything before the
 * execve, and @f has the text.
 */
MUST_CHECK int command_start(const struct config *config, struct command *ret,
			     struct frame_exit *ret_exit, struct fault *f);
void command_fini(struct command *c); /* closes; idempotent */
