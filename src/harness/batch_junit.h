/*
 * JUnit XML as Jenkins and GitLab read it (docs/junit.xsd): one suite, a case per test; the program is its class. FAIL,
 * PANIC, STALL, TIMEOUT and BOOT are failures with the outcome as type, INFRA is an error; SKIP, INCONCLUSIVE and what has
 * not run is skipped, with the outcome in the message.
 */
#pragma once

#include "base/buf.h"
#include "harness/batch_result.h"

/* Appends the document. */
void batch_junit_write(const struct batch_result *b, struct buf *ret);
