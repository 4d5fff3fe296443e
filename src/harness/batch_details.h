/* What there is to say about one test, as plain lines: the body of a JUnit failure, the details of TAP and of the summary. */
#pragma once

#include "base/buf.h"
#include "harness/batch_result.h"

/*
 * Appends, first cause first: the rest of why behind its first line, results of subtests that are no pass, panic, crash,
 * the last @log_lines lines of the kernel log, exit status, phases, attempts, notes, resources, folder.
 */
void batch_details(const struct batch_test *t, size_t log_lines, struct buf *ret);
/* Appends one line per metric, with its subtest: "often: latency: 12.5 us". */
void batch_details_metrics(const struct batch_test *t, struct buf *ret);
/* The length of @why's first line, the cause. */
size_t batch_details_cause(const char *why);
/* What became of a subtest: its outcome's name, or "no result". */
const char *batch_details_outcome(const struct test_result *r);
