/* Several documents into one batch: shards, or batches of different tests. */
#pragma once

#include "base/buf.h"
#include "harness/batch_result.h"

struct batch_merge {
	struct batch_result *into; /* as initialised; borrowed */
	struct buf notes;          /* lines: what differs and does not matter for the verdicts */
	struct buf shards;         /* a byte per shard: whether it is there */
	char *first;               /* what the first document is called */
};

void batch_merge_init(struct batch_merge *m, struct batch_result *into);
void batch_merge_fini(struct batch_merge *m); /* idempotent */
/*
 * Moves @from's tests over; @name is what errors and notes call it. A test that is there already, another kernel, and
 * shards of another division are errors (class usage): no report could be right about both. Another seed, ktstr or host is a
 * note.
 */
MUST_CHECK int batch_merge_add(struct batch_merge *m, struct batch_result *from, const char *name,
			       struct error *err);
/*
 * The batch is whole then: a shard that nobody gave becomes a test "shard/I-of-N" with outcome INFRA, because the verdicts
 * in it are lost.
 */
void batch_merge_finish(struct batch_merge *m);
