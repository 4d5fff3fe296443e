/* Tables and document of a suite. */
#pragma once

#include "bench/suite.h"

void report_results_fini(struct suite_results *r);
/* Workloads, ratios with their aims, the budget. */
void report_text(const struct suite *suite, const struct suite_results *r, struct buf *text);
/* The caller owns it. */
json_t *report_document(const struct suite *suite, const struct suite_results *r);

double report_median(const struct dist *d);
/* Right-aligned behind a blank; "-" for NAN. */
void report_put_value(struct buf *text, double value, int width, int decimals);
