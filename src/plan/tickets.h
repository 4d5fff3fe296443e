/*
 * Who waits, in order of arrival: one file in the lock folder's "wait" for each, named by a growing number, with the request as
 * text. Its owner holds flock(2) on it for as long as it waits; a ticket without that lock is a dead process's, counts for
 * nothing and is removed by whoever sees it. Tickets never change.
 */
#pragma once

#include "base/buf.h"
#include "plan/lock_dir.h"
#include "plan/queue.h"

/* Of more than these only the oldest count, which are the ones whose turn it is. */
enum { TICKETS_MAX_EARLIER = 256 };

struct ticket {
	struct queue_entry entry; /* first: the list of queue_admit points here */
	uint64_t number;
	int fd; /* open for reading, to ask whether its owner lives */
	bool is_listed;
};

struct tickets {
	int dir_fd; /* -1: not opened yet */
	struct ticket **all;
	size_t n_all;
	struct queue_entry **earlier; /* what tickets_read found, in order */
	size_t n_earlier;
	int own_fd; /* -1: no ticket yet */
	uint64_t own_number;
};
#define TICKETS_INIT ((struct tickets){ .dir_fd = -1, .own_fd = -1 })

/* Fills `earlier`: who lives and came before this one, or, without a ticket of one's own, everybody. */
MUST_CHECK int tickets_read(struct tickets *t, const struct lock_dir *dir, struct error *err);
/* Gets in line. */
MUST_CHECK int tickets_take(struct tickets *t, const struct lock_dir *dir,
			    const struct plan_request *request, uint64_t now_ns, struct error *err);
/* Leaves the line, if in it; wakes the others. */
void tickets_leave(struct tickets *t);
void tickets_fini(struct tickets *t); /* idempotent */

void ticket_format(const struct plan_request *request, uint64_t arrived_ns, struct buf *to);
/* -EINVAL: not a ticket of this version. */
MUST_CHECK int ticket_parse(const char *text, struct queue_entry *ret);
