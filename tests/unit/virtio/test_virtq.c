/*
 * The split queue against a driver that plays by the rules, and against one that does not: every
 * malformed ring we know of is in support/hostile_rings.c, whose memory this is.
 */
#include "virtio/virtq.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/hostile_rings.h"
#include "virtio/virtio_wire.h"

enum {
	SIZE = HOSTILE_QUEUE,
	SIZE_MAX_ = 16,
	MEM = HOSTILE_MEM,
	MEM_NEXT = HOSTILE_MEM_NEXT,
	ARENA = HOSTILE_ARENA,
	TABLE = HOSTILE_TABLE,
	BUF = HOSTILE_BUF,
	N = VRING_DESC_F_NEXT,
	W = VRING_DESC_F_WRITE,
	I = VRING_DESC_F_INDIRECT,
};

struct fixture {
	struct guest_mem mem;
	struct fake_driver driver;
	struct virtq q;
};

static void configure(struct fixture *f)
{
	const struct fake_queue *fq = &f->driver.queues[0];
	const struct virtq_areas areas = { fq->desc_gpa, fq->avail_gpa, fq->used_gpa };

	assert_int_equal(virtq_configure(&f->q, fq->size, &areas), 0);
	f->q.event_idx = f->driver.features >> VIRTIO_RING_F_EVENT_IDX & 1;
	f->q.indirect = true;
}

static int set_up(void **state)
{
	static struct fixture f;

	f = (struct fixture){ 0 };
	*state = &f;
	assert_int_equal(guest_mem_map_anonymous(&f.mem, GPA(0), MEM), 0);
	hostile_map_rest(&f.mem);
	fake_driver_init(&f.driver, &f.mem, NULL, GPA(ARENA));
	fake_driver_layout(&f.driver, 0, SIZE);
	virtq_init(&f.q, &f.mem, SIZE_MAX_);
	configure(&f);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtq_fini(&f->q);
	guest_mem_fini(&f->mem);
	return 0;
}

static void use_event_idx(struct fixture *f)
{
	f->driver.features = 1ull << VIRTIO_RING_F_EVENT_IDX;
	f->q.event_idx = true;
}

/* Malformed rings. */

static void test_pop_malformed_ring_is_refused_with_its_reason(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < n_hostile_rings; i++) {
		const struct hostile_ring *h = &hostile_rings[i];
		struct virtq_chain *chain;

		virtq_reset(&f->q);
		fake_driver_layout(&f->driver, 0, SIZE);
		configure(f);
		hostile_ring_play(h, &f->driver, 0);
		f->q.indirect = !h->no_indirect;
		int res = virtq_pop(&f->q, &chain);
		if (res != h->expected || !f->q.why || strcmp(f->q.why, h->why) != 0)
			fail_msg("%s: %d, %s", h->name, res, f->q.why);
		assert_int_equal(f->q.n_in_flight, 0);
	}
}

static void test_pop_same_head_twice_is_refused(void **state)
{
	struct fixture *f = *state;
	struct fake_seg seg = { GPA(BUF), 16, false };
	struct virtq_chain *chain;

	int head = fake_driver_add(&f->driver, 0, &seg, 1);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	fake_driver_raw_avail(&f->driver, 0, (uint16_t)head);
	assert_int_equal(virtq_pop(&f->q, &chain), -EPROTO);
	assert_string_equal(f->q.why, "chain made available twice");
}

static void test_pop_more_chains_than_the_queue_is_refused(void **state)
{
	struct fixture *f = *state;
	struct virtq_chain *chain;

	for (uint16_t i = 0; i < SIZE; i++) {
		fake_driver_raw_desc(&f->driver, 0, i, BUF, 16, 0, 0);
		fake_driver_raw_avail(&f->driver, 0, i);
		assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	}
	fake_driver_raw_avail(&f->driver, 0, 0);
	assert_int_equal(virtq_pop(&f->q, &chain), -EPROTO);
	assert_string_equal(f->q.why, "more chains than the queue has descriptors");
}

static void test_pop_chain_of_4_gib_is_refused(void **state)
{
	struct fixture *f = *state;
	struct guest_mem big = { 0 };
	struct virtq_chain *chain;

	/* Reserved, never touched. */
	assert_int_equal(guest_mem_map_anonymous(&big, GPA(1ull << 32), 1ull << 32), 0);
	struct guest_range r = big.ranges[0];
	assert_int_equal(guest_mem_add(&f->mem, &r), 0);
	fake_driver_raw_desc(&f->driver, 0, 0, 1ull << 32, 0x80000000, N, 1);
	fake_driver_raw_desc(&f->driver, 0, 1, 1ull << 32, 0x80000000, 0, 0);
	fake_driver_raw_avail(&f->driver, 0, 0);
	assert_int_equal(virtq_pop(&f->q, &chain), -EPROTO);
	assert_string_equal(f->q.why, "chain of 4 GiB or more");
	guest_mem_fini(&big);
}

/* Areas. */

static int configure_as(struct fixture *f, uint32_t size, uint64_t desc, uint64_t avail,
			uint64_t used)
{
	const struct virtq_areas areas = { GPA(desc), GPA(avail), GPA(used) };

	virtq_reset(&f->q);
	int res = virtq_configure(&f->q, size, &areas);
	assert_int_equal(virtq_is_ready(&f->q), res == 0);
	return res;
}

static void test_configure_bad_queue_is_refused(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < n_hostile_set_ups; i++) {
		const struct hostile_set_up *h = &hostile_set_ups[i];
		int res = configure_as(f, h->size, h->desc, h->avail, h->used);

		if (res != h->expected)
			fail_msg("%s: %d", h->name, res);
	}
	assert_int_equal(configure_as(f, 2 * SIZE_MAX_, 0x1000, 0x2000, 0x3000), -EINVAL);
}

static void test_configure_tight_queue_is_taken(void **state)
{
	struct fixture *f = *state;

	/* As tight as it gets: 128, 22, 70 bytes. */
	assert_int_equal(configure_as(f, 8, 0x1000, 0x1080, 0x1098), 0);
	assert_int_equal(configure_as(f, 16, 0x1000, 0x2000, MEM + MEM_NEXT - 136), 0);
}

/* Good rings. */

static void test_pop_direct_chain_gives_readable_then_writable(void **state)
{
	struct fixture *f = *state;
	const struct fake_seg segs[] = { { GPA(BUF), 5, false },
					 { GPA(BUF + 100), 3, false },
					 { GPA(BUF + 200), 4, true } };
	struct virtq_chain *chain;
	char text[9] = { 0 };
	struct iovec iov[2];

	assert_int_equal(guest_mem_write(&f->mem, GPA(BUF), "hello", 5), 0);
	assert_int_equal(guest_mem_write(&f->mem, GPA(BUF + 100), "you", 3), 0);
	int head = fake_driver_add(&f->driver, 0, segs, 3);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	assert_int_equal(chain->head, head);
	assert_int_equal(chain->n_readable, 2);
	assert_int_equal(chain->n_writable, 1);
	assert_int_equal(chain->readable_len, 8);
	assert_int_equal(chain->writable_len, 4);
	assert_int_equal(chain_read(chain, 0, text, 8), 0);
	assert_string_equal(text, "helloyou");
	assert_int_equal(chain_read(chain, 4, text, 2), 0);
	assert_memory_equal(text, "oy", 2);
	assert_int_equal(chain_read(chain, 1, text, 8), -EFAULT);
	assert_int_equal(chain_read(chain, 9, text, 0), -EFAULT);
	assert_int_equal(chain_read(chain, 8, text, 0), 0);
	assert_int_equal(chain_write(chain, 1, "xyz", 3), 0);
	assert_int_equal(chain_write(chain, 2, "xyz", 3), -EFAULT);
	assert_int_equal(guest_mem_read(&f->mem, GPA(BUF + 200), text, 4), 0);
	assert_memory_equal(text, "\0xyz", 4);

	assert_int_equal(chain_iov(chain, CHAIN_READABLE, 2, 5, iov, 2), 2);
	assert_int_equal(iov[0].iov_len, 3);
	assert_int_equal(iov[1].iov_len, 2);
	assert_memory_equal(iov[1].iov_base, "yo", 2);
	assert_int_equal(chain_iov(chain, CHAIN_READABLE, 2, 5, iov, 1), -ENOSPC);
	assert_int_equal(chain_iov(chain, CHAIN_WRITABLE, 0, 5, iov, 2), -EFAULT);
	assert_int_equal(chain_iov(chain, CHAIN_WRITABLE, 4, 0, iov, 0), 0);
}

static void test_copy_between_chains_cuts_pieces_of_both(void **state)
{
	struct fixture *f = *state;
	const struct fake_seg src_segs[] = { { GPA(BUF), 3, false },
					     { GPA(BUF + 50), 1, false },
					     { GPA(BUF + 100), 6, false },
					     { GPA(BUF + 150), 4, true } };
	const struct fake_seg dst_segs[] = { { GPA(BUF + 300), 4, false },
					     { GPA(BUF + 400), 2, true },
					     { GPA(BUF + 450), 5, true },
					     { GPA(BUF + 500), 3, true } };
	struct virtq_chain *src, *dst;
	char text[16] = { 0 };

	assert_int_equal(guest_mem_write(&f->mem, GPA(BUF), "abc", 3), 0);
	assert_int_equal(guest_mem_write(&f->mem, GPA(BUF + 50), "d", 1), 0);
	assert_int_equal(guest_mem_write(&f->mem, GPA(BUF + 100), "efghij", 6), 0);
	assert_true(fake_driver_add(&f->driver, 0, src_segs, 4) >= 0);
	assert_int_equal(virtq_pop(&f->q, &src), VIRTQ_OK);
	assert_true(fake_driver_add(&f->driver, 0, dst_segs, 4) >= 0);
	assert_int_equal(virtq_pop(&f->q, &dst), VIRTQ_OK);
	assert_int_equal(chain_copy(dst, 1, src, 2, 8), 0);
	assert_int_equal(guest_mem_read(&f->mem, GPA(BUF + 400), text, 2), 0);
	assert_int_equal(guest_mem_read(&f->mem, GPA(BUF + 450), text + 2, 5), 0);
	assert_int_equal(guest_mem_read(&f->mem, GPA(BUF + 500), text + 7, 3), 0);
	assert_memory_equal(text, "\0cdefghij\0", 10);
	assert_int_equal(chain_copy(dst, 10, src, 10, 0), 0);
	assert_int_equal(chain_copy(dst, 0, src, 1, 10), -EFAULT);
	assert_int_equal(chain_copy(dst, 1, src, 0, 10), -EFAULT);
	assert_int_equal(guest_mem_read(&f->mem, GPA(BUF + 400), text, 2), 0);
	assert_memory_equal(text, "\0c", 2);
}

static void test_pop_indirect_chain_of_queue_size_is_taken(void **state)
{
	struct fixture *f = *state;
	struct fake_seg segs[SIZE];
	struct virtq_chain *chain;

	for (uint32_t i = 0; i < SIZE; i++)
		segs[i] = (struct fake_seg){ GPA(BUF + 64 * i), 1 + i, i >= 3 };
	assert_true(fake_driver_add_indirect(&f->driver, 0, segs, SIZE) >= 0);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	assert_int_equal(chain->n_readable, 3);
	assert_int_equal(chain->n_writable, 5);
	assert_int_equal(chain->readable_len, 1 + 2 + 3);
	assert_int_equal(chain->writable_len, 4 + 5 + 6 + 7 + 8);
}

static void test_pop_indirect_chain_longer_than_the_queue_is_refused(void **state)
{
	struct fixture *f = *state;
	struct fake_seg segs[SIZE + 1];
	struct virtq_chain *chain;

	for (uint32_t i = 0; i <= SIZE; i++)
		segs[i] = (struct fake_seg){ GPA(BUF), 16, false };
	assert_true(fake_driver_add_indirect(&f->driver, 0, segs, SIZE + 1) >= 0);
	assert_int_equal(virtq_pop(&f->q, &chain), -EPROTO);
	assert_string_equal(f->q.why, "chain longer than the queue, or a loop");
}

static void test_pop_direct_then_indirect_is_one_chain(void **state)
{
	struct fixture *f = *state;
	struct virtq_chain *chain;

	fake_driver_raw_desc(&f->driver, 0, 0, BUF, 16, N, 1);
	fake_driver_raw_desc(&f->driver, 0, 1, TABLE, 16, I | W, 0); /* WRITE is ignored there */
	fake_driver_raw_table(&f->driver, GPA(TABLE), 0, BUF, 8, 0, 0);
	fake_driver_raw_avail(&f->driver, 0, 0);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	assert_int_equal(chain->readable_len, 24);
	assert_int_equal(chain->writable_len, 0);
}

static void test_pop_buffer_across_ranges_is_two_slices(void **state)
{
	struct fixture *f = *state;
	struct fake_seg seg = { GPA(MEM - 4), 8, true };
	struct virtq_chain *chain;
	char text[8];

	assert_true(fake_driver_add(&f->driver, 0, &seg, 1) >= 0);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	assert_int_equal(chain->n_writable, 2);
	assert_int_equal(chain_write(chain, 0, "abcdefgh", 8), 0);
	assert_int_equal(guest_mem_read(&f->mem, GPA(MEM - 4), text, 4), 0);
	assert_int_equal(guest_mem_read(&f->mem, GPA(MEM), text + 4, 4), 0);
	assert_memory_equal(text, "abcdefgh", 8);
}

static void test_popped_chain_ignores_later_changes_of_its_descriptors(void **state)
{
	struct fixture *f = *state;
	struct fake_seg seg = { GPA(BUF), 16, true };
	struct virtq_chain *chain;
	char text[16];

	int head = fake_driver_add(&f->driver, 0, &seg, 1);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	fake_driver_raw_desc(&f->driver, 0, (uint16_t)head, UINT64_MAX, UINT32_MAX, N, 77);
	assert_int_equal(chain->writable_len, 16);
	assert_int_equal(chain_write(chain, 0, "0123456789abcdef", 16), 0);
	assert_int_equal(guest_mem_read(&f->mem, GPA(BUF), text, 16), 0);
	assert_memory_equal(text, "0123456789abcdef", 16);
}

static void test_buffer_over_the_rings_hurts_only_the_guest(void **state)
{
	struct fixture *f = *state;
	const struct fake_queue *fq = &f->driver.queues[0];
	struct fake_seg seg = { fq->desc_gpa, 16 * SIZE + 6 + 2 * SIZE, true };
	uint8_t noise[16 * SIZE + 6 + 2 * SIZE];
	struct virtq_chain *chain;

	memset(noise, 0xff, sizeof(noise));
	assert_true(fake_driver_add(&f->driver, 0, &seg, 1) >= 0);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	/* Descriptors and the available ring are all ones now, and its index jumped. */
	assert_int_equal(chain_write(chain, 0, noise, sizeof(noise)), 0);
	virtq_push(&f->q, chain, (uint32_t)sizeof(noise));
	(void)virtq_flush(&f->q);
	assert_int_equal(virtq_pop(&f->q, &chain), -EPROTO);
}

static void test_push_out_of_order_through_index_wrap_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct fake_seg seg = { GPA(BUF), 16, true };

	/* 3 per round, 65536 + some entries: indices wrap, slots are reused in every phase. */
	for (uint32_t round = 0; round < 22000; round++) {
		struct virtq_chain *chain[3];
		int head[3];
		uint16_t got;
		uint32_t len;

		for (int i = 0; i < 3; i++)
			head[i] = fake_driver_add(&f->driver, 0, &seg, 1);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(virtq_pop(&f->q, &chain[i]), VIRTQ_OK);
			assert_int_equal(chain[i]->head, head[i]);
		}
		for (int i = 2; i >= 0; i--)
			virtq_push(&f->q, chain[i], (uint32_t)i);
		assert_false(fake_driver_get_used(&f->driver, 0, &got, &len)); /* not flushed */
		(void)virtq_flush(&f->q);
		for (int i = 2; i >= 0; i--) {
			assert_true(fake_driver_get_used(&f->driver, 0, &got, &len));
			assert_int_equal(got, head[i]);
			assert_int_equal(len, i);
		}
	}
	assert_int_equal(f->q.n_in_flight, 0);
}

/* Suppression, both ways. */

static void kicks_only_when_the_device_found_it_empty(struct fixture *f)
{
	struct fake_seg seg = { GPA(BUF), 16, false };
	struct virtq_chain *chain;

	assert_true(fake_driver_add(&f->driver, 0, &seg, 1) >= 0);
	assert_true(fake_driver_kick(&f->driver, 0)); /* the very first always */
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	/* At work: more chains come without a kick. */
	assert_true(fake_driver_add(&f->driver, 0, &seg, 1) >= 0);
	assert_false(fake_driver_kick(&f->driver, 0));
	assert_true(virtq_has_avail(&f->q));
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	assert_false(virtq_has_avail(&f->q));
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_EMPTY);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_EMPTY);
	/* Empty was seen: the next one kicks, the one after it does not. */
	assert_true(fake_driver_add(&f->driver, 0, &seg, 1) >= 0);
	assert_true(fake_driver_kick(&f->driver, 0));
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	assert_true(fake_driver_add(&f->driver, 0, &seg, 1) >= 0);
	assert_false(fake_driver_kick(&f->driver, 0));
}

static void test_kicks_with_flag_are_wanted_only_when_empty(void **state)
{
	kicks_only_when_the_device_found_it_empty(*state);
}

static void test_kicks_with_event_idx_are_wanted_only_when_empty(void **state)
{
	use_event_idx(*state);
	kicks_only_when_the_device_found_it_empty(*state);
}

/* Makes @n chains available, pops and pushes them; returns what the flush says. */
static bool complete(struct fixture *f, int n)
{
	struct fake_seg seg = { GPA(BUF), 16, false };
	struct virtq_chain *chain;

	for (int i = 0; i < n; i++) {
		assert_true(fake_driver_add(&f->driver, 0, &seg, 1) >= 0);
		assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
		virtq_push(&f->q, chain, 0);
	}
	return virtq_flush(&f->q);
}

static void take_used(struct fixture *f)
{
	uint16_t head;
	uint32_t len;

	while (fake_driver_get_used(&f->driver, 0, &head, &len))
		;
}

static void test_interrupt_with_flag_follows_the_flag(void **state)
{
	struct fixture *f = *state;

	assert_false(virtq_flush(&f->q)); /* nothing pushed */
	assert_true(complete(f, 1));
	fake_driver_want_no_interrupt(&f->driver, 0);
	assert_false(complete(f, 2));
	fake_driver_want_interrupt(&f->driver, 0, 0);
	assert_true(complete(f, 2));
	assert_false(virtq_flush(&f->q));
}

static void test_interrupt_with_event_idx_follows_the_event(void **state)
{
	struct fixture *f = *state;

	use_event_idx(f);
	fake_driver_want_interrupt(&f->driver, 0, 0);
	assert_true(complete(f, 1));
	assert_false(complete(f, 1)); /* the event has passed */
	take_used(f);
	fake_driver_want_interrupt(&f->driver, 0, 2); /* after the third from here */
	assert_false(complete(f, 2));
	assert_true(complete(f, 1));
	take_used(f);
	fake_driver_want_interrupt(&f->driver, 0, 1);
	assert_true(complete(f, 3)); /* a batch that passes the event: one interrupt */
	take_used(f);
	fake_driver_want_no_interrupt(&f->driver, 0);
	assert_false(complete(f, 3));
}

static void test_reset_forgets_chains_in_flight(void **state)
{
	struct fixture *f = *state;
	struct fake_seg seg = { GPA(BUF), 16, false };
	struct virtq_chain *chain;

	assert_true(fake_driver_add(&f->driver, 0, &seg, 1) >= 0);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
	virtq_reset(&f->q);
	assert_false(virtq_is_ready(&f->q));
	assert_false(virtq_has_avail(&f->q));
	fake_driver_layout(&f->driver, 0, SIZE);
	configure(f);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_EMPTY);
	assert_true(fake_driver_add(&f->driver, 0, &seg, 1) >= 0);
	assert_int_equal(virtq_pop(&f->q, &chain), VIRTQ_OK);
}

int main(void)
{
#define Q_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		Q_TEST(test_pop_malformed_ring_is_refused_with_its_reason),
		Q_TEST(test_pop_same_head_twice_is_refused),
		Q_TEST(test_pop_more_chains_than_the_queue_is_refused),
		Q_TEST(test_pop_chain_of_4_gib_is_refused),
		Q_TEST(test_configure_bad_queue_is_refused),
		Q_TEST(test_configure_tight_queue_is_taken),
		Q_TEST(test_pop_direct_chain_gives_readable_then_writable),
		Q_TEST(test_copy_between_chains_cuts_pieces_of_both),
		Q_TEST(test_pop_indirect_chain_of_queue_size_is_taken),
		Q_TEST(test_pop_indirect_chain_longer_than_the_queue_is_refused),
		Q_TEST(test_pop_direct_then_indirect_is_one_chain),
		Q_TEST(test_pop_buffer_across_ranges_is_two_slices),
		Q_TEST(test_popped_chain_ignores_later_changes_of_its_descriptors),
		Q_TEST(test_buffer_over_the_rings_hurts_only_the_guest),
		Q_TEST(test_push_out_of_order_through_index_wrap_loses_nothing),
		Q_TEST(test_kicks_with_flag_are_wanted_only_when_empty),
		Q_TEST(test_kicks_with_event_idx_are_wanted_only_when_empty),
		Q_TEST(test_interrupt_with_flag_follows_the_flag),
		Q_TEST(test_interrupt_with_event_idx_follows_the_event),
		Q_TEST(test_reset_forgets_chains_in_flight),
	};

	return cmocka_run_group_tests_name("virtio/virtq", tests, NULL, NULL);
}
