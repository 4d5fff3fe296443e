/* Exit statuses of ktstr's commands (DESIGN.md, sections 9 and 10). */
#pragma once

#include "abi/frame.h"
#include "base/error.h"

enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_FAILURE = 1,
	EXIT_CODE_USAGE = 64,
	EXIT_CODE_PANIC = 111,
	EXIT_CODE_STALL = 112,
	EXIT_CODE_TIMEOUT = 113,
	EXIT_CODE_BOOT = 114,
	EXIT_CODE_INFRA = 115,
	EXIT_CODE_SKIP = 116,
	EXIT_CODE_NOT_EXECUTABLE = 126,
	EXIT_CODE_NOT_FOUND = 127,
	EXIT_CODE_SIGNAL = 128, /* + number */
	EXIT_CODE_INTERRUPTED = 130,
};

/* The exit status of `ktstr run` for a verdict. */
int exit_code_of_outcome(const struct frame_outcome *outcome);
/* For an error before there was a VM. */
int exit_code_of_error(const struct error *err);
