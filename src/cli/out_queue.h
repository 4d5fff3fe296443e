/*
 * Text for a reader who may be slow, or stopped, and must not hold up who writes it: what finds no room waits in memory,
 * in order, until the reactor says that there is some. One thread. The descriptor is shared with other processes, so it is
 * not made non-blocking (out.h).
 */
#pragma once

#include "base/buf.h"
#include "reactor/reactor.h"

struct out_queue {
	int fd;
	int error; /* -errno of the first text that was lost; a reader who is gone is none. 0: none */
	struct reactor *reactor; /* NULL: what waits goes with the next put, or the flush */
	struct reactor_op room;
	struct buf text;
	size_t n_done; /* bytes of it that are written */
};

void out_queue_init(struct out_queue *q, int fd);
/* Nothing may wait for the reactor any more. */
void out_queue_fini(struct out_queue *q);
/* Between these two what waits is written by @r, which must turn for the latter. */
void out_queue_start(struct out_queue *q, struct reactor *r);
void out_queue_stop(struct out_queue *q);
void out_queue_put(struct out_queue *q, const void *data, size_t n);
bool out_queue_is_empty(const struct out_queue *q);
/* Waits until all is written; a signal's handler ends that, and the rest is lost (out_write_waiting). */
void out_queue_flush(struct out_queue *q);
