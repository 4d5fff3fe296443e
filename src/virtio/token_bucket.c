#include "virtio/token_bucket.h"

#include "base/clock.h"
#include "base/num.h"

/* Longer than any machine runs, and far from where sums overflow. */
#define FOREVER_NS ((uint64_t)1 << 62)

void token_bucket_init(struct token_bucket *b, uint64_t rate, uint64_t burst_ns)
{
	*b = (struct token_bucket){ .rate = rate, .burst_ns = num_min(burst_ns, FOREVER_NS) };
}

uint64_t token_bucket_ready_ns(const struct token_bucket *b)
{
	if (b->rate == 0 || b->full_ns < b->burst_ns)
		return 0;
	return b->full_ns - b->burst_ns + 1;
}

void token_bucket_take(struct token_bucket *b, uint64_t n, uint64_t now_ns)
{
	if (b->rate == 0)
		return;
	if (b->full_ns < now_ns) { /* it overflowed: what came in since is lost, the rest, too */
		b->full_ns = now_ns;
		b->rest = 0;
	}
	unsigned __int128 scaled = (unsigned __int128)n * NS_PER_S + b->rest;
	unsigned __int128 cost_ns = scaled / b->rate;
	b->rest = (uint64_t)(scaled % b->rate);
	b->full_ns += cost_ns < FOREVER_NS ? (uint64_t)cost_ns : FOREVER_NS;
	b->full_ns = num_min(b->full_ns, FOREVER_NS);
}
