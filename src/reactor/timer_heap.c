#include "reactor/timer_heap.h"

#include <stdlib.h>

#include "base/buf.h"

static bool is_before(const struct reactor_op *a, const struct reactor_op *b)
{
	if (a->deadline_ns != b->deadline_ns)
		return a->deadline_ns < b->deadline_ns;
	return a->seq < b->seq;
}

static void put(struct timer_heap *h, size_t idx, struct reactor_op *op)
{
	h->ops[idx] = op;
	op->heap_idx = idx;
}

/* Moves @op from the hole at @idx towards the root until its parent is not later. */
static void sift_up(struct timer_heap *h, size_t idx, struct reactor_op *op)
{
	while (idx > 0 && is_before(op, h->ops[(idx - 1) / 2])) {
		put(h, idx, h->ops[(idx - 1) / 2]);
		idx = (idx - 1) / 2;
	}
	put(h, idx, op);
}

/* Moves @op from the hole at @idx towards the leaves until no child is earlier. */
static void sift_down(struct timer_heap *h, size_t idx, struct reactor_op *op)
{
	for (;;) {
		size_t child = 2 * idx + 1;
		if (child >= h->n_ops)
			break;
		if (child + 1 < h->n_ops && is_before(h->ops[child + 1], h->ops[child]))
			child++;
		if (!is_before(h->ops[child], op))
			break;
		put(h, idx, h->ops[child]);
		idx = child;
	}
	put(h, idx, op);
}

void timer_heap_fini(struct timer_heap *h)
{
	ASSERT(h->n_ops == 0);
	free(h->ops);
	*h = (struct timer_heap){ 0 };
}

void timer_heap_push(struct timer_heap *h, struct reactor_op *op)
{
	if (h->n_ops == h->n_max) {
		h->n_max = h->n_max ? h->n_max * 2 : 16;
		h->ops = xreallocarray(h->ops, h->n_max, sizeof(struct reactor_op *));
	}
	op->seq = h->next_seq++;
	sift_up(h, h->n_ops++, op);
}

void timer_heap_remove(struct timer_heap *h, struct reactor_op *op)
{
	size_t idx = op->heap_idx;

	ASSERT(idx < h->n_ops && h->ops[idx] == op);
	struct reactor_op *last = h->ops[--h->n_ops];
	if (last == op)
		return;
	/* The last op fills the hole; it may come from another branch, so it may have to go either
	 * way. */
	if (is_before(last, op))
		sift_up(h, idx, last);
	else
		sift_down(h, idx, last);
}

struct reactor_op *timer_heap_first(const struct timer_heap *h)
{
	return h->n_ops ? h->ops[0] : NULL;
}
