/* The exit status of a batch, from how often each outcome came (DESIGN.md, section 9). Pure. */
#pragma once

#include "abi/frame.h"

enum { N_OUTCOMES = OUTCOME_INFRA + 1 };

enum batch_exit {
	BATCH_EXIT_OK = 0,           /* all passed or were skipped */
	BATCH_EXIT_FAILED = 1,       /* FAIL, PANIC, STALL, TIMEOUT or BOOT */
	BATCH_EXIT_INCONCLUSIVE = 2, /* besides passes and skips nothing but INCONCLUSIVE */
	BATCH_EXIT_INFRA = 3,        /* INFRA, and no failure */
	BATCH_EXIT_NOTHING = 4,      /* no test was selected, or all were skipped */
	BATCH_EXIT_INTERRUPTED = 130,
};

/* @counts by outcome. An interrupted batch says so whatever its tests said. */
enum batch_exit exit_rule(const uint64_t counts[static N_OUTCOMES], bool interrupted);
