/* What the virtio targets share, beside support/rig.h: small memory that starts as zeros, and raw writes to it. */
#pragma once

#include "fuzz.h"

#include "base/clock.h"
#include "support/fake_driver.h"
#include "support/rig.h"
#include "virtio/virtio_wire.h"

enum { FUZZ_MEM = 1 << 16, FUZZ_ARENA = 0x100 };

/* Two ranges, so that buffers cross a border. epoll: what io_uring does is the kernel's, which nobody here instruments. */
static inline void fuzz_rig_open(struct rig *rig)
{
	rig_open(rig, REACTOR_EPOLL, FUZZ_MEM / 2);
	FUZZ_CHECK(guest_mem_map_anonymous(&rig->mem, GPA(FUZZ_MEM / 2), FUZZ_MEM / 2) == 0);
}

static inline void fuzz_rig_attach(struct rig *rig, struct virtio_dev *dev,
				   struct fake_driver *driver)
{
	rig_attach(rig, dev, NULL);
	fake_driver_init(driver, &rig->mem, rig_region(rig), GPA(FUZZ_ARENA));
}

/* Arbitrary bytes at an arbitrary place. */
static inline void fuzz_poke(const struct guest_mem *mem, struct fuzz_input *in)
{
	uint16_t at = fuzz_u16(in);
	uint8_t bytes[32];
	size_t n = 1 + fuzz_u8(in) % sizeof(bytes);

	fuzz_take(in, bytes, n);
	if (guest_mem_write(mem, GPA(at), bytes, n) < 0)
		return; /* across a border: nothing written */
}

/* A hostile descriptor, biased towards what nearly works. */
static inline void fuzz_raw_desc(struct fake_driver *d, uint32_t q_idx, struct fuzz_input *in)
{
	uint16_t size = d->queues[q_idx].size;
	uint8_t how = fuzz_u8(in);
	uint16_t i = (uint16_t)(fuzz_u8(in) % size);
	uint64_t addr = how & 1 ? fuzz_u64(in) : fuzz_u16(in);
	uint32_t len = how & 2 ? fuzz_u32(in) : fuzz_u16(in);
	uint16_t flags = how & 4 ? fuzz_u16(in) : fuzz_u8(in) & 3;
	uint16_t next = how & 8 ? fuzz_u16(in) : (uint16_t)(fuzz_u8(in) % size);

	if (how & 16) /* a table that may well be good */
		len &= 0xf0;
	fake_driver_raw_desc(d, q_idx, i, addr, len, flags, next);
}
