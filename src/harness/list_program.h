/*
 * Runs `PROGRAM --ktstr-list` on the host, for at most so long and so many bytes. What the program leaves running in its
 * process group is killed, also when we are killed. Set-up thread, before there are others.
 */
#pragma once

#include "harness/test_list.h"

struct list_program_config {
	const char *path;
	uint64_t timeout_ns;
	size_t output_max; /* bytes of the list */
};

enum list_program_end {
	LIST_PROGRAM_OK,
	LIST_PROGRAM_HANG,   /* no end in time */
	LIST_PROGRAM_FLOOD,  /* more output than it may */
	LIST_PROGRAM_DIED,   /* by a signal, or with another status than 0 */
	LIST_PROGRAM_WRONG,  /* ended well, and printed no list */
	LIST_PROGRAM_UNUSED, /* it could not be run: the user's mistake, or the host's */
};

/* LIST_PROGRAM_OK: @ret is the list. Else @err tells what happened, in one line that begins with the path. */
MUST_CHECK enum list_program_end list_program_run(const struct list_program_config *config,
						  struct test_list *ret, struct error *err);
