/* Token buckets in simulated time: rates over long runs, bursts, debt, and numbers at their ends. */
#include "virtio/token_bucket.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/num.h"

#define BURST_NS (100 * NS_PER_MS)
#define START_NS (77 * NS_PER_S)

/* Takes @n tokens as soon as they are granted, at @now_ns or later; returns when that was. */
static uint64_t take(struct token_bucket *b, uint64_t n, uint64_t now_ns)
{
	uint64_t at_ns = num_max(now_ns, token_bucket_ready_ns(b));

	token_bucket_take(b, n, at_ns);
	return at_ns;
}

static void test_rate_holds_exactly_over_a_long_run(void **state UNUSED)
{
	static const struct {
		uint64_t rate, n;
	} cases[] = { { 1000, 1 },       { 1, 1 },          { 3, 1 },
		      { 7777777, 1 },    { 10 * MIB, 512 }, { 10000000, 4096 },
		      { 999999999, 13 }, { 3 * GIB, 4096 }, { 1000000007, 65536 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct token_bucket b;
		uint64_t now = START_NS, n_takes = 0;
		/* A burst first: from then on the time tells the rate. */
		token_bucket_init(&b, cases[i].rate, BURST_NS);
		while (token_bucket_ready_ns(&b) <= now)
			now = take(&b, cases[i].n, now);
		uint64_t begin = now;
		for (; n_takes < 200000; n_takes++)
			now = take(&b, cases[i].n, now);
		long double want_ns =
		    (long double)(n_takes * cases[i].n) * NS_PER_S / (long double)cases[i].rate;
		long double got_ns = (long double)(now - begin);
		long double one_ns =
		    (long double)cases[i].n * NS_PER_S / (long double)cases[i].rate;
		/* The first of them had part of its tokens already. */
		assert_true(got_ns > want_ns - one_ns - 2 && got_ns < want_ns + one_ns + 2);
	}
}

static void test_full_bucket_grants_its_burst_at_once_and_no_more(void **state UNUSED)
{
	struct token_bucket b;

	token_bucket_init(&b, 1000, BURST_NS);
	for (int round = 0; round < 3; round++) {
		uint64_t now = START_NS + (uint64_t)round * NS_PER_S; /* idle in between */
		for (int i = 0; i < 100; i++) {
			assert_true(token_bucket_ready_ns(&b) <= now);
			token_bucket_take(&b, 1, now);
		}
		assert_int_equal(token_bucket_ready_ns(&b), now + 1);
		assert_int_equal(take(&b, 1, now + 1), now + 1);
		assert_int_equal(token_bucket_ready_ns(&b), now + 1 + NS_PER_MS);
	}
}

static void test_oversized_request_leaves_debt_and_does_not_starve(void **state UNUSED)
{
	struct token_bucket b;

	token_bucket_init(&b, 1000, BURST_NS); /* holds 100 */
	assert_true(token_bucket_ready_ns(&b) <= START_NS);
	token_bucket_take(&b, 500, START_NS);
	/* 400 in debt: paid after as many milliseconds. */
	assert_int_equal(token_bucket_ready_ns(&b), START_NS + 400 * NS_PER_MS + 1);
}

static void test_oversized_requests_keep_the_rate(void **state UNUSED)
{
	struct token_bucket b;
	uint64_t now = START_NS;

	token_bucket_init(&b, 1000, BURST_NS);
	for (int i = 0; i < 1000; i++)
		now = take(&b, 500, now);
	/* The first of them and a burst were free. */
	assert_int_equal(now, START_NS + 999 * 500 * NS_PER_MS - BURST_NS + 1);
}

static void test_who_comes_late_loses_nothing_within_the_burst(void **state UNUSED)
{
	struct token_bucket b;
	uint64_t now = START_NS;

	token_bucket_init(&b, 1000, BURST_NS);
	for (int i = 0; i < 10000; i++)
		now = take(&b, 1, now + (uint64_t)(i % 7) * NS_PER_MS / 4); /* 0.75 ms on average */
	assert_in_range(now - START_NS, 9890 * NS_PER_MS, 9905 * NS_PER_MS);
}

static void test_rate_so_slow_that_a_token_is_oversized(void **state UNUSED)
{
	struct token_bucket b;

	token_bucket_init(&b, 1, BURST_NS);
	assert_int_equal(take(&b, 1, START_NS), START_NS);
	for (uint64_t i = 1; i < 100; i++)
		assert_int_equal(take(&b, 1, START_NS), START_NS + i * NS_PER_S - BURST_NS + 1);
}

static void test_no_rate_is_no_limit(void **state UNUSED)
{
	struct token_bucket b;

	token_bucket_init(&b, 0, BURST_NS);
	for (int i = 0; i < 100; i++) {
		token_bucket_take(&b, UINT64_MAX, START_NS);
		assert_int_equal(token_bucket_ready_ns(&b), 0);
	}
}

static void test_numbers_at_their_ends_do_not_overflow(void **state UNUSED)
{
	static const uint64_t rates[] = { 1, 2, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX };
	static const uint64_t takes[] = { 1, UINT32_MAX, INT64_MAX, UINT64_MAX };
	static const uint64_t bursts[] = { 0, 1, BURST_NS, UINT64_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(rates) * ARRAY_SIZE(takes) * ARRAY_SIZE(bursts); i++) {
		uint64_t n = takes[i / ARRAY_SIZE(rates) % ARRAY_SIZE(takes)];
		struct token_bucket b;
		uint64_t now = START_NS;
		token_bucket_init(&b, rates[i % ARRAY_SIZE(rates)],
				  bursts[i / ARRAY_SIZE(rates) / ARRAY_SIZE(takes)]);
		for (int k = 0; k < 10; k++) {
			uint64_t then = take(&b, n, now);
			assert_true(then >= now && then <= (uint64_t)INT64_MAX);
			now = then;
		}
	}
	/* 2^63 tokens a second, 4 KiB at a time: 2^51 takes in a second, 10^6 in 0.44 ns. */
	struct token_bucket b;
	uint64_t now = START_NS;
	token_bucket_init(&b, (uint64_t)1 << 63, BURST_NS);
	for (int k = 0; k < 1000000; k++)
		now = take(&b, 4096, now);
	assert_int_equal(now, START_NS);
	assert_int_equal(b.full_ns, START_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate_holds_exactly_over_a_long_run),
		cmocka_unit_test(test_full_bucket_grants_its_burst_at_once_and_no_more),
		cmocka_unit_test(test_oversized_request_leaves_debt_and_does_not_starve),
		cmocka_unit_test(test_oversized_requests_keep_the_rate),
		cmocka_unit_test(test_who_comes_late_loses_nothing_within_the_burst),
		cmocka_unit_test(test_rate_so_slow_that_a_token_is_oversized),
		cmocka_unit_test(test_no_rate_is_no_limit),
		cmocka_unit_test(test_numbers_at_their_ends_do_not_overflow),
	};

	return cmocka_run_group_tests_name("virtio/token_bucket", tests, NULL, NULL);
}
