/*
 * Armed timers, earliest first: a binary heap of ops. Owner: the reactor's thread.
 *
 * Both backends share it, so timers behave alike on both, and arming or cancelling one costs no
 * system call, no queue entry and no kernel timer: the only timer in the kernel is the time limit
 * of the reactor's wait.
 */
#pragma once

#include "reactor/reactor.h"

struct timer_heap {
	struct reactor_op **ops;
	size_t n_ops;
	size_t n_max;
	uint64_t next_seq;
};

/* Zero-initialised is empty. Asserts that it is empty. */
void timer_heap_fini(struct timer_heap *h);
/* By op->deadline_ns; equal deadlines keep the order of their pushes. O(log n). */
void timer_heap_push(struct timer_heap *h, struct reactor_op *op);
/* @op is in the heap. O(log n). */
void timer_heap_remove(struct timer_heap *h, struct reactor_op *op);
/* The next to expire, still in the heap; NULL when empty. */
struct reactor_op *timer_heap_first(const struct timer_heap *h);
