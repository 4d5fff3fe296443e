/* A batch of tests from beginning to end: the list, the VMs, the results. One thread, one reactor. */
#pragma once

#include "cli/test_options.h"

/* The exit status of `ktstr test` (harness/exit_rule.h), or a negative errno when nothing could be run at all. */
MUST_CHECK int batch_run(const struct test_options *options, uint64_t start_ns, struct error *err);
