/*
 * The split queue against a driver that plays by the rules, and against one that does not: the
 * table below has every malformed ring we know of. Memory: 1 MiB at 0 and 64 KiB right behind it,
 * two ranges.
 */
#include "virtio/virtq.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/fake_driver.h"
#include "virtio/virtio_wire.h"

enum {
	SIZE = 8,
	SIZE_MAX_ = 16,
	MEM = 1 << 20,
	MEM_NEXT = 1 << 16,
	ARENA = 0x1000,
	TABLE = 0x8000,
	BUF = 0x10000,
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
	assert_int_equal(guest_mem_map_anonymous(&f.mem, GPA(MEM), MEM_NEXT), 0);
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

struct raw_desc {
	uint16_t i;
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct malformed {
	const char *name;
	struct raw_desc ring[4];  /* entries with len or flags are written */
	struct raw_desc table[4]; /* the same at TABLE */
	uint16_t head;
	uint16_t avail_idx; /* 0: one entry */
	bool no_indirect;
	int expected;
	const char *why;
};

static const struct malformed malformed[] = {
	{ .name = "zero-length descriptor",
	  .ring = { { 0, BUF, 0, N, 1 }, { 1, BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "zero-length descriptor" },
	{ .name = "zero-length descriptor at the end",
	  .ring = { { 0, BUF, 16, N, 1 }, { 1, BUF, 0, W, 0 } },
	  .expected = -EPROTO,
	  .why = "zero-length descriptor" },
	{ .name = "head equal to the queue size",
	  .head = SIZE,
	  .expected = -EPROTO,
	  .why = "chain head out of range" },
	{ .name = "head far out",
	  .head = 0xffff,
	  .expected = -EPROTO,
	  .why = "chain head out of range" },
	{ .name = "next equal to the queue size",
	  .ring = { { 0, BUF, 16, N, SIZE } },
	  .expected = -EPROTO,
	  .why = "descriptor index out of range" },
	{ .name = "next far out",
	  .ring = { { 0, BUF, 16, N, 0xffff } },
	  .expected = -EPROTO,
	  .why = "descriptor index out of range" },
	{ .name = "descriptor that follows itself",
	  .ring = { { 0, BUF, 16, N, 0 } },
	  .expected = -EPROTO,
	  .why = "chain longer than the queue, or a loop" },
	{ .name = "loop of two",
	  .ring = { { 0, BUF, 16, N, 1 }, { 1, BUF, 16, N, 0 } },
	  .expected = -EPROTO,
	  .why = "chain longer than the queue, or a loop" },
	{ .name = "loop in an indirect table",
	  .ring = { { 0, TABLE, 32, I, 0 } },
	  .table = { { 0, BUF, 16, N, 1 }, { 1, BUF, 16, N, 0 } },
	  .expected = -EPROTO,
	  .why = "chain longer than the queue, or a loop" },
	{ .name = "indirect, not negotiated",
	  .ring = { { 0, TABLE, 16, I, 0 } },
	  .table = { { 0, BUF, 16, 0, 0 } },
	  .no_indirect = true,
	  .expected = -EPROTO,
	  .why = "indirect descriptor, not negotiated" },
	{ .name = "indirect inside indirect",
	  .ring = { { 0, TABLE, 16, I, 0 } },
	  .table = { { 0, TABLE, 16, I, 0 } },
	  .expected = -EPROTO,
	  .why = "indirect table inside an indirect table" },
	{ .name = "indirect with NEXT",
	  .ring = { { 0, TABLE, 16, I | N, 1 }, { 1, BUF, 16, 0, 0 } },
	  .table = { { 0, BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "indirect descriptor with NEXT" },
	{ .name = "indirect length of no whole entries",
	  .ring = { { 0, TABLE, 24, I, 0 } },
	  .table = { { 0, BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "indirect table length" },
	{ .name = "indirect length 0",
	  .ring = { { 0, TABLE, 0, I, 0 } },
	  .expected = -EPROTO,
	  .why = "indirect table length" },
	{ .name = "indirect table larger than memory",
	  .ring = { { 0, TABLE, 0xfffffff0, I, 0 } },
	  .expected = -EFAULT,
	  .why = "indirect table outside of guest memory" },
	{ .name = "indirect table at no memory",
	  .ring = { { 0, UINT64_MAX - 15, 16, I, 0 } },
	  .expected = -EFAULT,
	  .why = "indirect table outside of guest memory" },
	{ .name = "next beyond the indirect table",
	  .ring = { { 0, TABLE, 16, I, 0 } },
	  .table = { { 0, BUF, 16, N, 1 } },
	  .expected = -EPROTO,
	  .why = "descriptor index out of range" },
	{ .name = "readable after writable",
	  .ring = { { 0, BUF, 16, W | N, 1 }, { 1, BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "readable descriptor after a writable one" },
	{ .name = "readable after writable, indirect",
	  .ring = { { 0, BUF, 16, W | N, 1 }, { 1, TABLE, 16, I, 0 } },
	  .table = { { 0, BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "readable descriptor after a writable one" },
	{ .name = "buffer that wraps around",
	  .ring = { { 0, UINT64_MAX - 15, 32, W, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer wraps around" },
	{ .name = "buffer at no memory",
	  .ring = { { 0, MEM + MEM_NEXT, 1, 0, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer outside of guest memory" },
	{ .name = "buffer that begins in memory and ends outside",
	  .ring = { { 0, MEM + MEM_NEXT - 16, 17, W, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer outside of guest memory" },
	{ .name = "huge buffer at address 0",
	  .ring = { { 0, 0, UINT32_MAX, W, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer outside of guest memory" },
	{ .name = "available index ahead by more than the queue",
	  .avail_idx = SIZE + 1,
	  .ring = { { 0, BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "available index ran away" },
	{ .name = "available index behind",
	  .avail_idx = 0xffff,
	  .ring = { { 0, BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "available index ran away" },
};

static void play(struct fixture *f, const struct malformed *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(m->ring); i++) {
		const struct raw_desc *r = &m->ring[i];
		const struct raw_desc *t = &m->table[i];

		if (r->len || r->flags)
			fake_driver_raw_desc(&f->driver, 0, r->i, r->addr, r->len, r->flags,
					     r->next);
		if (t->len || t->flags)
			fake_driver_raw_table(&f->driver, GPA(TABLE), t->i, t->addr, t->len,
					      t->flags, t->next);
	}
	fake_driver_raw_avail(&f->driver, 0, m->head);
	if (m->avail_idx)
		fake_driver_raw_avail_idx(&f->driver, 0, m->avail_idx);
	f->q.indirect = !m->no_indirect;
}

static void test_pop_malformed_ring_is_refused_with_its_reason(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
		const struct malformed *m = &malformed[i];
		struct virtq_chain *chain;

		virtq_reset(&f->q);
		fake_driver_layout(&f->driver, 0, SIZE);
		configure(f);
		play(f, m);
		int res = virtq_pop(&f->q, &chain);
		if (res != m->expected || !f->q.why || strcmp(f->q.why, m->why) != 0)
			fail_msg("%s: %d, %s", m->name, res, f->q.why);
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

static void test_configure_bad_queue_is_refused(void **state)
{
	static const struct {
		uint32_t size;
		uint64_t desc, avail, used;
		int expected;
	} cases[] = {
		{ 0, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ 3, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ 32, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ 0x10008, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ UINT32_MAX, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ 8, 0x1008, 0x2000, 0x3000, -EINVAL },
		{ 8, 0x1000, 0x2001, 0x3000, -EINVAL },
		{ 8, 0x1000, 0x2000, 0x3002, -EINVAL },
		{ 8, 0x200000, 0x2000, 0x3000, -EFAULT },
		{ 8, 0x1000, UINT64_MAX - 1, 0x3000, -EFAULT },
		{ 8, UINT64_MAX - 15, 0x2000, 0x3000, -EFAULT },
		{ 8, 0x1000, 0x2000, MEM - 16, -EFAULT }, /* across the ranges' border */
		{ 8, 0x1000, 0x2000, MEM + MEM_NEXT - 68, -EFAULT },
		{ 8, 0x1000, 0x107e, 0x3000, -EINVAL }, /* overlaps */
		{ 8, 0x1000, 0x2000, 0x1000, -EINVAL },
		{ 8, 0x1000, 0x2000, 0x2014, -EINVAL },
		{ 8, 0x1000, 0x1080, 0x1098, 0 }, /* as tight as it gets: 128, 22, 70 bytes */
		{ 16, 0x1000, 0x2000, MEM + MEM_NEXT - 136, 0 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct virtq_areas areas = { GPA(cases[i].desc), GPA(cases[i].avail),
						   GPA(cases[i].used) };

		virtq_reset(&f->q);
		int res = virtq_configure(&f->q, cases[i].size, &areas);
		if (res != cases[i].expected)
			fail_msg("case %zu: %d", i, res);
		assert_int_equal(virtq_is_ready(&f->q), res == 0);
	}
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
