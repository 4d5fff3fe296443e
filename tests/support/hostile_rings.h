/*
 * Rings that break the rules of the split queue (VIRTIO 1.2, 2.7), as data: what a hostile driver
 * writes, and how virtq_pop must name it. test_virtq.c plays them against the queue alone,
 * test_hostile.c against every queue of every device.
 *
 * They are written for queues of HOSTILE_QUEUE descriptors in memory of this shape:
 *
 *	0 ........ HOSTILE_MEM ........ + HOSTILE_MEM_NEXT ........ HOSTILE_ISLAND ...
 *	range 0    | range 1 begins     | a hole                    | range 2, as large as range 1
 *
 * The driver's areas are below HOSTILE_TABLE.
 */
#pragma once

#include "support/fake_driver.h"

enum {
	HOSTILE_QUEUE = 8,
	HOSTILE_MEM = 4 << 20,
	HOSTILE_MEM_NEXT = 1 << 16,
	HOSTILE_ISLAND = HOSTILE_MEM + 2 * HOSTILE_MEM_NEXT,
	HOSTILE_ARENA = 0x1000,
	HOSTILE_TABLE = 0x8000,
	HOSTILE_BUF = 0x10000,
};

struct raw_desc {
	uint16_t i;
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct hostile_ring {
	const char *name;
	struct raw_desc ring[4];  /* entries with len or flags are written */
	struct raw_desc table[4]; /* the same, in the indirect table at HOSTILE_TABLE */
	uint16_t head;
	uint16_t avail_idx; /* 0: one entry */
	bool no_indirect;   /* the feature is not negotiated */
	int expected;       /* of virtq_pop */
	const char *why;
};

extern const struct hostile_ring hostile_rings[];
extern const size_t n_hostile_rings;

/* Queues that must never become ready. */
struct hostile_set_up {
	const char *name;
	uint32_t size;
	uint64_t desc, avail, used;
	int expected; /* of virtq_configure */
};

extern const struct hostile_set_up hostile_set_ups[];
extern const size_t n_hostile_set_ups;

/* The ranges behind the first one. */
void hostile_map_rest(struct guest_mem *mem);
/* Writes it over the fresh rings of queue @q_idx and makes it available. */
void hostile_ring_play(const struct hostile_ring *h, struct fake_driver *d, uint32_t q_idx);
