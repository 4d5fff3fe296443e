/*
 * A token bucket, kept as the time at which it is full again: nothing ticks, and an idle bucket
 * costs nothing.
 *
 *	rate, burst_ns     what flows in per second; the bucket holds what flows in in burst_ns
 *	full_ns            taking n tokens moves it by n / rate seconds
 *
 *	     now          full_ns
 *	------|----------------|----------> time        tokens there: burst_ns - (full_ns - now),
 *	      <--- missing --->                         negative when in debt
 *
 * Whoever comes while there is something in it is served in full: a large request leaves a debt, so
 * that it neither starves nor passes the rate, and who comes late (a timer does) loses nothing as
 * long as the bucket does not overflow. Time is a parameter; integers only, and what a division
 * leaves over is kept, so that no rate drifts.
 */
#pragma once

struct token_bucket {
	uint64_t rate; /* tokens per second; 0: no limit */
	uint64_t burst_ns;
	uint64_t full_ns;
	uint64_t rest; /* of the divisions so far: below rate */
};

/* Full. @rate: any; 0: every request is granted. */
void token_bucket_init(struct token_bucket *b, uint64_t rate, uint64_t burst_ns);
/* From which time on there is something in it; 0: at any time. */
uint64_t token_bucket_ready_ns(const struct token_bucket *b);
/* Takes @n tokens at @now_ns, there or not. */
void token_bucket_take(struct token_bucket *b, uint64_t n, uint64_t now_ns);
