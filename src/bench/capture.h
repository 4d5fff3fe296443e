/* Runs a command to its end and keeps its output, with a look at it while it runs. */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "bench/spawn.h"

struct capture_config {
	struct spawn_config spawn; /* its mark is not used */
	uint64_t timeout_ns;
	int signal_fd; /* a signalfd: what comes there ends the command and is -EINTR; -1: none */
	/* Optional: more output came; @text is all so far. */
	void (*on_text)(void *ctx, pid_t pid, const char *text);
	void *ctx;
};

struct capture {
	struct buf out;
	double wall_ms;
	double cpu_ms; /* of the command and what it waited for */
	int signal;    /* after -EINTR: the one that came */
};

void capture_fini(struct capture *c); /* {0} is valid */
/*
 * Errors: it cannot start, it runs too long, it ends with another status than spawn.wanted_status
 * (the text has the last line of its standard error), a signal came. It is gone in any case.
 */
MUST_CHECK int capture_run(const struct capture_config *config, struct capture *ret,
			   struct error *err);
