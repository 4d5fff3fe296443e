/* The final word on a batch, for a reader: each test that is no pass explained, causes first; then the counts. */
#pragma once

#include "base/buf.h"
#include "harness/batch_result.h"

struct batch_summary_style {
	unsigned width; /* of the terminal, in columns; 0: lines are neither wrapped nor cut */
	bool color;     /* ANSI */
};

/* Appends. */
void batch_summary_write(const struct batch_result *b, const struct batch_summary_style *style,
			 struct buf *ret);
/* Appends what it says about one test; nothing for a pass. For who prints failures as they happen. */
void batch_summary_test(const struct batch_test *t, const struct batch_summary_style *style,
			struct buf *ret);
/* "64 tests: 60 passed, 3 failed, 1 skipped" */
void batch_summary_counts(const struct batch_counts *c, const struct batch_summary_style *style,
			  struct buf *ret);
/* "12.3 ms", "4.56 s", "3 min 20 s" */
void batch_summary_duration(uint64_t us, struct buf *ret);
