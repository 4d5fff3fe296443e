/*
 * Two batches side by side: what failed only now, what was fixed, what is gone, what got slower. The repeats of a test are one
 * distribution, of which medians are compared. Pure.
 */
#pragma once

#include "base/buf.h"
#include "harness/batch_result.h"
#include "harness/batch_summary.h"

struct batch_compare_gates {
	double percent;       /* slower or worse by more than that of the median before */
	uint64_t duration_us; /* and slower by more than that */
};

enum {
	BATCH_COMPARE_ENOUGH = 3
}; /* runs on each side from which on a difference of medians counts */

enum batch_change {
	BATCH_CHANGE_NEW_FAILURE,  /* fails, and did not, or is new and fails */
	BATCH_CHANGE_NOT_MEASURED, /* passed, and now is skipped, inconclusive, INFRA or not run */
	BATCH_CHANGE_MISSING,      /* is not there any more */
	BATCH_CHANGE_SLOWER,
	BATCH_CHANGE_METRIC_WORSE,
	BATCH_CHANGE_FIXED, /* failed, and passes */
	BATCH_CHANGE_NEW,
	BATCH_CHANGE_FASTER,
	BATCH_CHANGE_METRIC_BETTER,
	BATCH_N_CHANGES,
};

/* A number before and after: median of n runs. */
struct batch_shift {
	double before, after;
	size_t n_before, n_after;
	bool is_sure; /* enough runs on both sides */
};

struct batch_difference {
	enum batch_change change;
	char *series;           /* id without its repeat */
	uint32_t before, after; /* worst outcome; BATCH_N_OUTCOMES: not there */
	size_t n_failed_before, n_failed_after;
	struct batch_shift
	    shift;    /* of SLOWER, FASTER in ms, of METRIC_*; its runs for the others */
	char *metric; /* of METRIC_*: with the names of its subtests */
	char *unit;
	const char *why; /* of a NEW_FAILURE: of @after's batch, borrowed; NULL: none */
};

struct batch_comparison {
	struct batch_difference *differences; /* by change, then series */
	size_t n;
	size_t n_compared; /* series in both */
	size_t n_still_failing;
};

/* @before and @after must outlive @ret. */
void batch_compare(const struct batch_result *before, const struct batch_result *after,
		   const struct batch_compare_gates *gates, struct batch_comparison *ret);
void batch_comparison_fini(struct batch_comparison *c); /* idempotent */

/* 1: new failures; else 2: not measured, missing, surely slower or worse; else 0. */
int batch_comparison_exit_status(const struct batch_comparison *c);
const char *batch_change_name(enum batch_change change); /* "new-failure", ... */
/* Appends. */
void batch_comparison_write(const struct batch_comparison *c,
			    const struct batch_summary_style *style, struct buf *ret);
json_t *batch_comparison_json(const struct batch_comparison *c);
