/*
 * A virtio-mmio driver in C, the guest's half of a test: registers through a struct io_region, rings and buffers through
 * guest memory, exactly as a guest would. Owned by one thread (the "vCPU" of the test).
 *
 * The plain functions behave as the standard wants; the raw ones at the end write anything anywhere.
 */
#pragma once

#include "bus/guest_mem.h"
#include "bus/io_bus.h"

enum { FAKE_QUEUES_MAX = 8, FAKE_QUEUE_SIZE_MAX = 1024 };

struct fake_queue {
	uint16_t size;
	gpa_t desc_gpa, avail_gpa, used_gpa;
	struct guest_slice desc, avail, used;
	uint16_t avail_idx; /* as published */
	uint16_t kicked_idx;
	uint16_t used_idx; /* seen */
	uint16_t n_free;
	uint16_t free[FAKE_QUEUE_SIZE_MAX];
	uint16_t chain_len[FAKE_QUEUE_SIZE_MAX]; /* descriptors of the chain at this head */
	uint16_t chain[FAKE_QUEUE_SIZE_MAX];     /* next descriptor of a chain */
};

struct fake_driver {
	const struct guest_mem *mem;
	struct io_region *region;
	int doorbell_fd; /* >= 0: kicks are writes to it, as KVM's ioeventfd makes them; -1: register writes */
	uint64_t arena; /* next free guest address */
	uint64_t features;
	uint64_t n_kicks;
	struct fake_queue queues[FAKE_QUEUES_MAX];
};

struct fake_seg {
	gpa_t gpa;
	uint32_t len;
	bool is_writable;
};

/* Memory is taken upwards from @arena. @region may be NULL where only rings are used. */
void fake_driver_init(struct fake_driver *d, const struct guest_mem *mem, struct io_region *region,
		      gpa_t arena);
gpa_t fake_driver_alloc(struct fake_driver *d, uint64_t len, uint64_t align);

uint32_t fake_driver_read(struct fake_driver *d, uint32_t reg);
void fake_driver_write(struct fake_driver *d, uint32_t reg, uint32_t value);
uint64_t fake_driver_offered(struct fake_driver *d);
/* Reset, ACKNOWLEDGE, DRIVER, features (VERSION_1 is added), FEATURES_OK. Returns the status read back. */
uint32_t fake_driver_negotiate(struct fake_driver *d, uint64_t features);
/* Allocates and clears the areas of a queue, without telling the device. */
void fake_driver_layout(struct fake_driver *d, uint32_t q_idx, uint16_t size);
/* Tells the device; QueueReady is written last. */
void fake_driver_set_queue(struct fake_driver *d, uint32_t q_idx);
/* All of it, to DRIVER_OK, with @n_queues queues of @size. */
void fake_driver_start(struct fake_driver *d, uint64_t features, uint32_t n_queues, uint16_t size);
void fake_driver_reset(struct fake_driver *d);

/* Makes a chain available; returns its head, -ENOSPC when there are too few descriptors. */
int fake_driver_add(struct fake_driver *d, uint32_t q_idx, const struct fake_seg *segs, uint16_t n);
/* The same through an indirect table of its own (not freed). */
int fake_driver_add_indirect(struct fake_driver *d, uint32_t q_idx, const struct fake_seg *segs,
			     uint16_t n);
/* As a real driver would: by an indirect table if that was negotiated. */
int fake_driver_add_best(struct fake_driver *d, uint32_t q_idx, const struct fake_seg *segs,
			 uint16_t n);
/* @n bytes at @gpa as up to @pieces segments of odd sizes; returns how many. */
uint16_t fake_segs_cut(struct fake_seg *segs, gpa_t gpa, uint32_t n, uint16_t pieces,
		       bool is_writable);
/* Kicks if the device asked for one; returns whether. */
bool fake_driver_kick(struct fake_driver *d, uint32_t q_idx);
/* The next used chain; its descriptors are free again. */
bool fake_driver_get_used(struct fake_driver *d, uint32_t q_idx, uint16_t *ret_head,
			  uint32_t *ret_len);
/* EVENT_IDX: interrupt after the next used entry, or after @after more; else: the flag. */
void fake_driver_want_interrupt(struct fake_driver *d, uint32_t q_idx, uint16_t after);
void fake_driver_want_no_interrupt(struct fake_driver *d, uint32_t q_idx);

/* Raw. */
void fake_driver_raw_desc(struct fake_driver *d, uint32_t q_idx, uint16_t i, uint64_t addr,
			  uint32_t len, uint16_t flags, uint16_t next);
void fake_driver_raw_table(struct fake_driver *d, gpa_t table, uint16_t i, uint64_t addr,
			   uint32_t len, uint16_t flags, uint16_t next);
/* Puts @head into the next slot and publishes it. */
void fake_driver_raw_avail(struct fake_driver *d, uint32_t q_idx, uint16_t head);
void fake_driver_raw_avail_idx(struct fake_driver *d, uint32_t q_idx, uint16_t idx);
