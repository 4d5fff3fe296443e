/*
 * The gate of a disk in simulated time: what a guest that keeps a number of requests going gets
 * through, who waits for whom, and what is counted.
 */
#include "virtio/blk_gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/num.h"

enum { MANY = 256 };
#define START_NS (5 * NS_PER_S)

/* A guest that has @n_going requests of @bytes under way, each taking @latency_ns inside. */
struct load {
	struct blk_limits limits;
	unsigned n_going;
	uint64_t bytes;
	uint64_t latency_ns;
	uint64_t late_ns; /* of the timer, at most; 0: none */
};

struct sim {
	struct blk_gate gate;
	struct blk_ticket tickets[MANY];
	uint64_t ends_ns[MANY]; /* 0: waits */
	uint64_t now_ns, n_begun, random;
};

static uint64_t lateness(struct sim *s, uint64_t max_ns)
{
	s->random = s->random * 6364136223846793005u + 1442695040888963407u;
	return max_ns ? (s->random >> 33) % max_ns : 0;
}

static void enter(struct sim *s, unsigned i, uint64_t bytes)
{
	s->tickets[i] = (struct blk_ticket){ .n_bytes = bytes };
	s->ends_ns[i] = 0;
	blk_gate_enter(&s->gate, &s->tickets[i]);
}

/* What is due leaves and comes again; returns when the next one is. */
static uint64_t end_what_is_due(struct sim *s, const struct load *l)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < l->n_going; i++) {
		if (s->ends_ns[i] && s->ends_ns[i] <= s->now_ns) {
			blk_gate_leave(&s->gate);
			enter(s, i, l->bytes);
		} else if (s->ends_ns[i]) {
			next = num_min(next, s->ends_ns[i]);
		}
	}
	return next;
}

/* Requests begun in @seconds, after one second to use the burst up. */
static uint64_t simulate(const struct load *l, unsigned seconds)
{
	static struct sim s;
	uint64_t end_ns = START_NS + (1 + seconds) * NS_PER_S, n_before = 0;

	s = (struct sim){ .now_ns = START_NS, .random = 1 };
	blk_gate_init(&s.gate, &l->limits);
	for (unsigned i = 0; i < l->n_going; i++)
		enter(&s, i, l->bytes);
	while (s.now_ns < end_ns) {
		struct blk_ticket *t;
		uint64_t ask_ns, next_ns = end_what_is_due(&s, l);
		if (s.now_ns < START_NS + NS_PER_S)
			n_before = s.n_begun;
		while ((t = blk_gate_next(&s.gate, s.now_ns, &ask_ns))) {
			s.ends_ns[t - s.tickets] = s.now_ns + l->latency_ns;
			next_ns = num_min(next_ns, s.now_ns + l->latency_ns);
			s.n_begun++;
		}
		assert_true(s.gate.n_inside <= l->limits.depth);
		if (ask_ns != UINT64_MAX)
			next_ns = num_min(next_ns, ask_ns + lateness(&s, l->late_ns));
		assert_true(next_ns > s.now_ns && next_ns != UINT64_MAX); /* never stuck */
		s.now_ns = next_ns;
	}
	return s.n_begun - n_before;
}

static void test_1000_iops_hold_within_two_percent(void **state UNUSED)
{
	static const struct {
		unsigned n_going;
		uint64_t latency_ns, late_ns, burst_ns;
	} cases[] = {
		{ 1, 100 * NS_PER_US, 0, 100 * NS_PER_MS },
		{ 1, 900 * NS_PER_US, 5 * NS_PER_MS, 100 * NS_PER_MS },
		{ 4, 3 * NS_PER_MS, 80 * NS_PER_MS, 100 * NS_PER_MS },
		{ 32, 100 * NS_PER_US, 0, NS_PER_MS },
		{ 32, 10 * NS_PER_US, NS_PER_MS, 10 * NS_PER_MS },
		{ 256, 20 * NS_PER_MS, 20 * NS_PER_MS, 50 * NS_PER_MS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct load l = {
			.limits = { .iops = 1000, .burst_ns = cases[i].burst_ns, .depth = MANY },
			.n_going = cases[i].n_going,
			.bytes = 4096,
			.latency_ns = cases[i].latency_ns,
			.late_ns = cases[i].late_ns,
		};
		assert_in_range(simulate(&l, 20), 20 * 980, 20 * 1020);
	}
}

static void test_bytes_hold_within_two_percent(void **state UNUSED)
{
	for (uint64_t bytes = 512; bytes <= 4 * MIB; bytes *= 8) {
		const struct load l = {
			.limits = { .bps = 100 * MIB, .burst_ns = 20 * NS_PER_MS, .depth = MANY },
			.n_going = 16,
			.bytes = bytes,
			.latency_ns = 50 * NS_PER_US,
			.late_ns = 10 * NS_PER_MS,
		};
		uint64_t moved = simulate(&l, 20) * bytes;
		assert_in_range(moved, 20 * 98 * MIB, 20 * 102 * MIB);
	}
}

static void test_stricter_of_both_buckets_counts(void **state UNUSED)
{
	struct load l = { .limits = { .iops = 1000,
				      .bps = 1000 * 4096,
				      .burst_ns = 50 * NS_PER_MS,
				      .depth = MANY },
			  .n_going = 8,
			  .latency_ns = 100 * NS_PER_US };

	l.bytes = 16384; /* a quarter of the operations are enough bytes */
	assert_in_range(simulate(&l, 20), 20 * 245, 20 * 255);
	l.bytes = 512; /* operations */
	assert_in_range(simulate(&l, 20), 20 * 980, 20 * 1020);
}

static void test_depth_is_kept_and_no_more_is_inside(void **state UNUSED)
{
	const struct load l = {
		.limits = { .depth = 1 }, .n_going = 32, .bytes = 4096, .latency_ns = NS_PER_MS
	};

	assert_in_range(simulate(&l, 10), 9999, 10001);
}

/* Order, by hand. */

static struct blk_ticket *next(struct blk_gate *g, uint64_t now_ns)
{
	uint64_t ask_ns;

	return blk_gate_next(g, now_ns, &ask_ns);
}

static void open_gate(struct blk_gate *g, uint64_t iops, uint64_t bps, uint32_t depth)
{
	const struct blk_limits limits = {
		.iops = iops, .bps = bps, .burst_ns = 100 * NS_PER_MS, .depth = depth
	};

	blk_gate_init(g, &limits);
}

static void test_without_limits_all_pass_in_order(void **state UNUSED)
{
	struct blk_ticket t[8] = { 0 };
	struct blk_gate g;
	uint64_t ask_ns;

	open_gate(&g, 0, 0, MANY);
	assert_false(blk_gate_is_timed(&g));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		t[i].n_bytes = i % 3 ? 4096 : 0;
		blk_gate_enter(&g, &t[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		assert_ptr_equal(next(&g, 0), &t[i]);
	assert_null(blk_gate_next(&g, 0, &ask_ns));
	assert_int_equal(ask_ns, UINT64_MAX);
	assert_int_equal(g.stats.n_inside_max, ARRAY_SIZE(t));
	assert_int_equal(g.stats.n_throttled_iops + g.stats.n_throttled_bps, 0);
}

static void test_flush_passes_a_debt_of_bytes_and_order_is_kept_otherwise(void **state UNUSED)
{
	struct blk_ticket big = { .n_bytes = 10 * MIB }, write = { .n_bytes = 4096 };
	struct blk_ticket write2 = { .n_bytes = 4096 }, flush = { 0 };
	struct blk_gate g;
	uint64_t ask_ns;

	open_gate(&g, 0, MIB, MANY);
	blk_gate_enter(&g, &big);
	assert_ptr_equal(next(&g, START_NS), &big); /* oversized: ten seconds of debt */
	blk_gate_enter(&g, &write);
	blk_gate_enter(&g, &write2);
	assert_null(blk_gate_next(&g, START_NS, &ask_ns));
	assert_in_range(ask_ns, START_NS + 9 * NS_PER_S, START_NS + 10 * NS_PER_S);
	blk_gate_enter(&g, &flush);
	assert_ptr_equal(next(&g, START_NS), &flush);
	assert_null(next(&g, START_NS));
	/* Then it is the writes' turn, in their order; only the first had to be told to wait. */
	assert_int_equal(g.stats.n_throttled_bps, 1);
	assert_ptr_equal(next(&g, ask_ns), &write);
	assert_ptr_equal(next(&g, ask_ns + NS_PER_S), &write2);
	assert_int_equal(g.stats.n_throttled_iops, 0);
}

static void test_flush_waits_for_operations_behind_what_came_first(void **state UNUSED)
{
	struct blk_ticket first = { .n_bytes = 512 }, write = { .n_bytes = 512 }, flush = { 0 };
	struct blk_gate g;
	uint64_t ask_ns;

	open_gate(&g, 1, 0, MANY);
	blk_gate_enter(&g, &first);
	assert_ptr_equal(next(&g, START_NS), &first);
	blk_gate_enter(&g, &write);
	blk_gate_enter(&g, &flush);
	assert_null(blk_gate_next(&g, START_NS, &ask_ns));
	assert_in_range(ask_ns, START_NS + 900 * NS_PER_MS, START_NS + NS_PER_S);
	assert_ptr_equal(next(&g, ask_ns), &write);
	assert_null(next(&g, ask_ns));
	assert_ptr_equal(next(&g, ask_ns + NS_PER_S), &flush);
	assert_int_equal(g.stats.n_throttled_iops, 2);
}

static void test_flushes_without_end_do_not_starve_a_write(void **state UNUSED)
{
	struct blk_ticket big = { .n_bytes = MIB }, write = { .n_bytes = 4096 }, flush;
	struct blk_gate g;
	uint64_t now = START_NS;

	open_gate(&g, 100, MIB, MANY);
	blk_gate_enter(&g, &big);
	assert_ptr_equal(next(&g, now), &big);
	blk_gate_enter(&g, &write);
	for (;; now += NS_PER_MS) { /* ten flushes for each that may go */
		memset(&flush, 0, sizeof(flush));
		blk_gate_enter(&g, &flush);
		struct blk_ticket *t = next(&g, now);
		if (t == &write)
			break;
		if (t)
			blk_gate_leave(&g);
		else
			assert_ptr_equal(blk_gate_expel(&g), &write);
		if (!t) { /* the write was the older one: back it goes, to the end of its list */
			assert_ptr_equal(blk_gate_expel(&g), &flush);
			memset(&write, 0, sizeof(write));
			write.n_bytes = 4096;
			blk_gate_enter(&g, &write);
		}
		assert_true(now < START_NS + 2 * NS_PER_S);
	}
	assert_true(now >= START_NS + 900 * NS_PER_MS);
}

static void test_one_that_goes_alone_waits_for_all_and_holds_all(void **state UNUSED)
{
	struct blk_ticket a = { .n_bytes = 512 }, b = { .n_bytes = 512 }, flush = { 0 };
	struct blk_ticket alone = { .n_bytes = 512, .is_alone = true }, last = { .n_bytes = 512 };
	struct blk_gate g;
	uint64_t ask_ns;

	open_gate(&g, 0, 0, MANY);
	blk_gate_enter(&g, &a);
	blk_gate_enter(&g, &b);
	blk_gate_enter(&g, &alone);
	blk_gate_enter(&g, &last);
	blk_gate_enter(&g, &flush);
	assert_ptr_equal(next(&g, 0), &a);
	assert_ptr_equal(next(&g, 0), &b);
	assert_null(blk_gate_next(&g, 0, &ask_ns));
	assert_int_equal(ask_ns, UINT64_MAX);
	blk_gate_leave(&g);
	assert_null(next(&g, 0));
	blk_gate_leave(&g);
	assert_ptr_equal(next(&g, 0), &alone);
	assert_ptr_equal(next(&g, 0), &last); /* alone was it at its start */
	assert_ptr_equal(next(&g, 0), &flush);
}

static void test_expelled_tickets_are_all_that_waited(void **state UNUSED)
{
	struct blk_ticket t[4] = { { .n_bytes = 512 }, { 0 }, { .n_bytes = 512 }, { 0 } };
	struct blk_gate g;

	open_gate(&g, 0, 0, 1);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		blk_gate_enter(&g, &t[i]);
	assert_ptr_equal(next(&g, 0), &t[0]);
	for (size_t i = 1; i < ARRAY_SIZE(t); i++)
		assert_ptr_equal(blk_gate_expel(&g), &t[i]);
	assert_null(blk_gate_expel(&g));
	assert_int_equal(g.n_inside, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_1000_iops_hold_within_two_percent),
		cmocka_unit_test(test_bytes_hold_within_two_percent),
		cmocka_unit_test(test_stricter_of_both_buckets_counts),
		cmocka_unit_test(test_depth_is_kept_and_no_more_is_inside),
		cmocka_unit_test(test_without_limits_all_pass_in_order),
		cmocka_unit_test(test_flush_passes_a_debt_of_bytes_and_order_is_kept_otherwise),
		cmocka_unit_test(test_flush_waits_for_operations_behind_what_came_first),
		cmocka_unit_test(test_flushes_without_end_do_not_starve_a_write),
		cmocka_unit_test(test_one_that_goes_alone_waits_for_all_and_holds_all),
		cmocka_unit_test(test_expelled_tickets_are_all_that_waited),
	};

	return cmocka_run_group_tests_name("virtio/blk_gate", tests, NULL, NULL);
}
