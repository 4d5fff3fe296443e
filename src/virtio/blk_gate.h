/*
 * Which of a disk's requests may go to the file now: at most so many at a time, at most so many
 * operations and bytes a second. Knows no request, file or clock: tickets in, tickets out, the time
 * is a parameter. Owner: the device's thread.
 *
 *	enter ---> movers ---+  head, when both buckets grant it and there is room
 *	      |              +---> next ---> inside ---> leave
 *	      +--> others ---+  head, when the bucket of operations grants it and there is room
 *
 * Movers move bytes; a flush or a discard moves none. The older head goes first, but where only
 * bytes are missing the others go past: a debt of bytes holds no flush. Each list keeps its order.
 */
#pragma once

#include "base/list.h"
#include "virtio/token_bucket.h"

struct blk_limits {
	uint64_t iops;     /* operations per second; 0: any number */
	uint64_t bps;      /* bytes per second; 0: any number */
	uint64_t burst_ns; /* what may be saved up while idle, as time at either rate */
	uint32_t depth;    /* at most so many inside; not 0 */
};

/* Embedded in a request; zeroed before it enters. */
struct blk_ticket {
	uint64_t n_bytes; /* that the request moves */
	bool is_alone;    /* goes when nothing is inside, and nothing goes past it */
	/* The gate's: */
	struct list node;
	uint64_t seq;
	bool lacked_iops, lacked_bytes; /* counted once each */
};

struct blk_gate_stats {
	uint64_t n_inside_max;
	uint64_t n_throttled_iops, n_throttled_bps; /* tickets that had to wait for either */
};

struct blk_gate {
	struct token_bucket iops, bps;
	uint32_t depth;
	uint32_t n_inside;
	uint64_t seq;
	struct list movers, others;
	struct blk_gate_stats stats;
};

void blk_gate_init(struct blk_gate *g, const struct blk_limits *limits);
void blk_gate_enter(struct blk_gate *g, struct blk_ticket *t);
/*
 * The next ticket that may go, now inside; NULL: none. Then @ret_ask_ns is when to ask again:
 * UINT64_MAX when only an enter or a leave can change the answer.
 */
struct blk_ticket *blk_gate_next(struct blk_gate *g, uint64_t now_ns, uint64_t *ret_ask_ns);
/* One that was inside has ended. */
void blk_gate_leave(struct blk_gate *g);
/* One that waits, no matter which, taken off its list; NULL: none. What it might owe stays unpaid. */
struct blk_ticket *blk_gate_expel(struct blk_gate *g);
/* Whether blk_gate_next looks at the time. */
bool blk_gate_is_timed(const struct blk_gate *g);
