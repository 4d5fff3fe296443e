#include "virtio/blk_gate.h"

#include "base/num.h"

void blk_gate_init(struct blk_gate *g, const struct blk_limits *limits)
{
	ASSERT(limits->depth > 0);
	*g = (struct blk_gate){ .depth = limits->depth };
	token_bucket_init(&g->iops, limits->iops, limits->burst_ns);
	token_bucket_init(&g->bps, limits->bps, limits->burst_ns);
	list_init(&g->movers);
	list_init(&g->others);
}

void blk_gate_enter(struct blk_gate *g, struct blk_ticket *t)
{
	t->seq = g->seq++;
	list_add_tail(t->n_bytes > 0 ? &g->movers : &g->others, &t->node);
}

static struct blk_ticket *head_of(struct list *waiting)
{
	return list_is_empty(waiting) ? NULL : container_of(waiting->next, struct blk_ticket, node);
}

static struct blk_ticket *older(struct blk_ticket *a, struct blk_ticket *b)
{
	if (!a || !b)
		return a ? a : b;
	return a->seq < b->seq ? a : b;
}

/* When @t is granted; counts what it has to wait for. */
static uint64_t ready_ns(struct blk_gate *g, struct blk_ticket *t, uint64_t now_ns)
{
	uint64_t iops_ns = token_bucket_ready_ns(&g->iops);
	uint64_t bytes_ns = t->n_bytes > 0 ? token_bucket_ready_ns(&g->bps) : 0;

	if (iops_ns > now_ns && !t->lacked_iops) {
		t->lacked_iops = true;
		g->stats.n_throttled_iops++;
	}
	if (bytes_ns > now_ns && !t->lacked_bytes) {
		t->lacked_bytes = true;
		g->stats.n_throttled_bps++;
	}
	return num_max(iops_ns, bytes_ns);
}

static struct blk_ticket *admit(struct blk_gate *g, struct blk_ticket *t, uint64_t now_ns)
{
	list_remove(&t->node);
	token_bucket_take(&g->iops, 1, now_ns);
	token_bucket_take(&g->bps, t->n_bytes, now_ns);
	g->n_inside++;
	g->stats.n_inside_max = num_max(g->stats.n_inside_max, g->n_inside);
	return t;
}

struct blk_ticket *blk_gate_next(struct blk_gate *g, uint64_t now_ns, uint64_t *ret_ask_ns)
{
	struct blk_ticket *other = head_of(&g->others);
	struct blk_ticket *first = older(head_of(&g->movers), other);

	*ret_ask_ns = UINT64_MAX;
	if (!first || g->n_inside >= g->depth || (first->is_alone && g->n_inside > 0))
		return NULL;
	*ret_ask_ns = ready_ns(g, first, now_ns);
	if (*ret_ask_ns <= now_ns)
		return admit(g, first, now_ns);
	if (first == other || !other || first->is_alone)
		return NULL;
	uint64_t other_ns = ready_ns(g, other, now_ns);
	*ret_ask_ns = num_min(*ret_ask_ns, other_ns);
	return other_ns <= now_ns ? admit(g, other, now_ns) : NULL;
}

void blk_gate_leave(struct blk_gate *g)
{
	ASSERT(g->n_inside > 0);
	g->n_inside--;
}

struct blk_ticket *blk_gate_expel(struct blk_gate *g)
{
	struct blk_ticket *t = older(head_of(&g->movers), head_of(&g->others));

	if (t)
		list_remove(&t->node);
	return t;
}

bool blk_gate_is_timed(const struct blk_gate *g)
{
	return g->iops.rate > 0 || g->bps.rate > 0;
}
