/*
 * TAP version 14, which is also what reads KTAP's older tools: plan, test points, subtests indented by four, a YAML block where
 * there is something to tell. Each test's lines can go out when the test ends. SKIP, INCONCLUSIVE and what has not run are
 * "ok # SKIP" with the outcome: a consumer counts them neither as passed nor as failed.
 */
#pragma once

#include "base/buf.h"
#include "harness/batch_result.h"

/* All append. Version and plan, then each test with its number from 1 on, then the end. */
void batch_tap_begin(uint32_t n_tests, struct buf *ret);
void batch_tap_test(uint32_t number, const struct batch_test *t, struct buf *ret);
/* "Bail out!" where a signal ended the batch. */
void batch_tap_end(const struct batch_result *b, struct buf *ret);
/* The three in a row. */
void batch_tap_write(const struct batch_result *b, struct buf *ret);
