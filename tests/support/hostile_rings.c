/* See hostile_rings.h. */
#include "support/hostile_rings.h"

#include <errno.h>

#include "base/assert.h"
#include "virtio/virtio_wire.h"

enum { N = VRING_DESC_F_NEXT, W = VRING_DESC_F_WRITE, I = VRING_DESC_F_INDIRECT };

const struct hostile_ring hostile_rings[] = {
	{ .name = "zero-length descriptor",
	  .ring = { { 0, HOSTILE_BUF, 0, N, 1 }, { 1, HOSTILE_BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "zero-length descriptor" },
	{ .name = "zero-length descriptor at the end",
	  .ring = { { 0, HOSTILE_BUF, 16, N, 1 }, { 1, HOSTILE_BUF, 0, W, 0 } },
	  .expected = -EPROTO,
	  .why = "zero-length descriptor" },
	{ .name = "head equal to the queue size",
	  .head = HOSTILE_QUEUE,
	  .expected = -EPROTO,
	  .why = "chain head out of range" },
	{ .name = "head far out",
	  .head = 0xffff,
	  .expected = -EPROTO,
	  .why = "chain head out of range" },
	{ .name = "next equal to the queue size",
	  .ring = { { 0, HOSTILE_BUF, 16, N, HOSTILE_QUEUE } },
	  .expected = -EPROTO,
	  .why = "descriptor index out of range" },
	{ .name = "next far out",
	  .ring = { { 0, HOSTILE_BUF, 16, N, 0xffff } },
	  .expected = -EPROTO,
	  .why = "descriptor index out of range" },
	{ .name = "descriptor that follows itself",
	  .ring = { { 0, HOSTILE_BUF, 16, N, 0 } },
	  .expected = -EPROTO,
	  .why = "chain longer than the queue, or a loop" },
	{ .name = "loop of two",
	  .ring = { { 0, HOSTILE_BUF, 16, N, 1 }, { 1, HOSTILE_BUF, 16, N, 0 } },
	  .expected = -EPROTO,
	  .why = "chain longer than the queue, or a loop" },
	{ .name = "loop in an indirect table",
	  .ring = { { 0, HOSTILE_TABLE, 32, I, 0 } },
	  .table = { { 0, HOSTILE_BUF, 16, N, 1 }, { 1, HOSTILE_BUF, 16, N, 0 } },
	  .expected = -EPROTO,
	  .why = "chain longer than the queue, or a loop" },
	{ .name = "indirect, not negotiated",
	  .ring = { { 0, HOSTILE_TABLE, 16, I, 0 } },
	  .table = { { 0, HOSTILE_BUF, 16, 0, 0 } },
	  .no_indirect = true,
	  .expected = -EPROTO,
	  .why = "indirect descriptor, not negotiated" },
	{ .name = "indirect inside indirect",
	  .ring = { { 0, HOSTILE_TABLE, 16, I, 0 } },
	  .table = { { 0, HOSTILE_TABLE, 16, I, 0 } },
	  .expected = -EPROTO,
	  .why = "indirect table inside an indirect table" },
	{ .name = "indirect with NEXT",
	  .ring = { { 0, HOSTILE_TABLE, 16, I | N, 1 }, { 1, HOSTILE_BUF, 16, 0, 0 } },
	  .table = { { 0, HOSTILE_BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "indirect descriptor with NEXT" },
	{ .name = "indirect length of no whole entries",
	  .ring = { { 0, HOSTILE_TABLE, 24, I, 0 } },
	  .table = { { 0, HOSTILE_BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "indirect table length" },
	{ .name = "indirect length 0",
	  .ring = { { 0, HOSTILE_TABLE, 0, I, 0 } },
	  .expected = -EPROTO,
	  .why = "indirect table length" },
	{ .name = "indirect table larger than memory",
	  .ring = { { 0, HOSTILE_TABLE, 0xfffffff0, I, 0 } },
	  .expected = -EFAULT,
	  .why = "indirect table outside of guest memory" },
	{ .name = "indirect table at no memory",
	  .ring = { { 0, UINT64_MAX - 15, 16, I, 0 } },
	  .expected = -EFAULT,
	  .why = "indirect table outside of guest memory" },
	{ .name = "next beyond the indirect table",
	  .ring = { { 0, HOSTILE_TABLE, 16, I, 0 } },
	  .table = { { 0, HOSTILE_BUF, 16, N, 1 } },
	  .expected = -EPROTO,
	  .why = "descriptor index out of range" },
	{ .name = "readable after writable",
	  .ring = { { 0, HOSTILE_BUF, 16, W | N, 1 }, { 1, HOSTILE_BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "readable descriptor after a writable one" },
	{ .name = "readable after writable, indirect",
	  .ring = { { 0, HOSTILE_BUF, 16, W | N, 1 }, { 1, HOSTILE_TABLE, 16, I, 0 } },
	  .table = { { 0, HOSTILE_BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "readable descriptor after a writable one" },
	{ .name = "buffer that wraps around",
	  .ring = { { 0, UINT64_MAX - 15, 32, W, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer wraps around" },
	{ .name = "buffer at no memory",
	  .ring = { { 0, HOSTILE_MEM + HOSTILE_MEM_NEXT, 1, 0, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer outside of guest memory" },
	{ .name = "buffer that begins in memory and ends outside",
	  .ring = { { 0, HOSTILE_MEM + HOSTILE_MEM_NEXT - 16, 17, W, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer outside of guest memory" },
	{ .name = "huge buffer at address 0",
	  .ring = { { 0, 0, UINT32_MAX, W, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer outside of guest memory" },
	{ .name = "available index ahead by more than the queue",
	  .avail_idx = HOSTILE_QUEUE + 1,
	  .ring = { { 0, HOSTILE_BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "available index ran away" },
	{ .name = "available index behind",
	  .avail_idx = 0xffff,
	  .ring = { { 0, HOSTILE_BUF, 16, 0, 0 } },
	  .expected = -EPROTO,
	  .why = "available index ran away" },
	{ .name = "indirect table whose second half is empty",
	  .ring = { { 0, HOSTILE_TABLE, 32, I, 0 } },
	  .table = { { 0, HOSTILE_BUF, 16, N, 1 } },
	  .expected = -EPROTO,
	  .why = "zero-length descriptor" },
	{ .name = "indirect table that runs into the next range",
	  .ring = { { 0, HOSTILE_MEM - 16, 32, I, 0 } },
	  .expected = -EFAULT,
	  .why = "indirect table outside of guest memory" },
	{ .name = "indirect table that wraps around",
	  .ring = { { 0, UINT64_MAX - 15, 32, I, 0 } },
	  .expected = -EFAULT,
	  .why = "indirect table outside of guest memory" },
	{ .name = "indirect after direct, each a loop's half",
	  .ring = { { 0, HOSTILE_BUF, 16, N, 1 }, { 1, HOSTILE_TABLE, 16, I, 0 } },
	  .table = { { 0, HOSTILE_BUF, 16, N, 0 } },
	  .expected = -EPROTO,
	  .why = "chain longer than the queue, or a loop" },
	{ .name = "buffer from one range across the next into the hole",
	  .ring = { { 0, HOSTILE_MEM - 16, HOSTILE_MEM_NEXT + 32, W, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer outside of guest memory" },
	{ .name = "buffer across the hole between two ranges",
	  .ring = { { 0, HOSTILE_MEM, 3 * HOSTILE_MEM_NEXT, 0, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer outside of guest memory" },
	{ .name = "buffer in the hole",
	  .ring = { { 0, HOSTILE_ISLAND - 16, 16, W, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer outside of guest memory" },
	{ .name = "buffer in the registers of a device",
	  .ring = { { 0, 0xc0000000, 4096, W, 0 } },
	  .expected = -EFAULT,
	  .why = "buffer outside of guest memory" },
};

const size_t n_hostile_rings = ARRAY_SIZE(hostile_rings);

/* The areas of a good queue of 8: 128 bytes, 22, 70. */
const struct hostile_set_up hostile_set_ups[] = {
	{ "size 0", 0, 0x1000, 0x2000, 0x3000, -EINVAL },
	{ "size that is no power of two", 3, 0x1000, 0x2000, 0x3000, -EINVAL },
	{ "size above the maximum", 1024, 0x1000, 0x2000, 0x3000, -EINVAL },
	{ "size whose low half is good", 0x10008, 0x1000, 0x2000, 0x3000, -EINVAL },
	{ "largest size there is", UINT32_MAX, 0x1000, 0x2000, 0x3000, -EINVAL },
	{ "misaligned table", 8, 0x1008, 0x2000, 0x3000, -EINVAL },
	{ "misaligned available ring", 8, 0x1000, 0x2001, 0x3000, -EINVAL },
	{ "misaligned used ring", 8, 0x1000, 0x2000, 0x3002, -EINVAL },
	{ "table outside of memory", 8, HOSTILE_ISLAND + HOSTILE_MEM_NEXT, 0x2000, 0x3000,
	  -EFAULT },
	{ "available ring outside of memory", 8, 0x1000, 0xc0000000, 0x3000, -EFAULT },
	{ "used ring outside of memory", 8, 0x1000, 0x2000, 0x100001000, -EFAULT },
	{ "table that wraps around", 8, UINT64_MAX - 15, 0x2000, 0x3000, -EFAULT },
	{ "available ring that wraps around", 8, 0x1000, UINT64_MAX - 1, 0x3000, -EFAULT },
	{ "used ring across two ranges", 8, 0x1000, 0x2000, HOSTILE_MEM - 16, -EFAULT },
	{ "used ring whose event index is outside", 8, 0x1000, 0x2000,
	  HOSTILE_MEM + HOSTILE_MEM_NEXT - 68, -EFAULT },
	{ "available ring inside the table", 8, 0x1000, 0x107e, 0x3000, -EINVAL },
	{ "used ring in the table's place", 8, 0x1000, 0x2000, 0x1000, -EINVAL },
	{ "used ring over the end of the available ring", 8, 0x1000, 0x2000, 0x2014, -EINVAL },
};

const size_t n_hostile_set_ups = ARRAY_SIZE(hostile_set_ups);

void hostile_map_rest(struct guest_mem *mem)
{
	int res = guest_mem_map_anonymous(mem, GPA(HOSTILE_MEM), HOSTILE_MEM_NEXT);

	ASSERT(res == 0);
	res = guest_mem_map_anonymous(mem, GPA(HOSTILE_ISLAND), HOSTILE_MEM_NEXT);
	ASSERT(res == 0);
}

void hostile_ring_play(const struct hostile_ring *h, struct fake_driver *d, uint32_t q_idx)
{
	for (uint16_t i = 0; i < ARRAY_SIZE(h->table); i++)
		fake_driver_raw_table(d, GPA(HOSTILE_TABLE), i, 0, 0, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(h->ring); i++) {
		const struct raw_desc *r = &h->ring[i];
		const struct raw_desc *t = &h->table[i];

		if (r->len || r->flags)
			fake_driver_raw_desc(d, q_idx, r->i, r->addr, r->len, r->flags, r->next);
		if (t->len || t->flags)
			fake_driver_raw_table(d, GPA(HOSTILE_TABLE), t->i, t->addr, t->len,
					      t->flags, t->next);
	}
	fake_driver_raw_avail(d, q_idx, h->head);
	if (h->avail_idx)
		fake_driver_raw_avail_idx(d, q_idx, h->avail_idx);
}
