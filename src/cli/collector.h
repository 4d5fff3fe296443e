/*
 * The frames of one VM process into a run_result, in the order in which they come. What the command printed goes to the
 * owner, who may pass it on or keep it. Knows no terminal, process or reactor; one thread.
 */
#pragma once

#include "cli/run_result.h"

struct collector_ops {
	/* The command's output on @fd, 1 or 2; also of a guest without port 1, which sends it over COM2. */
	void (*output)(void *ctx, int fd, const uint8_t *data, size_t n);
	void (*tty)(void *ctx, const uint8_t *data, size_t n); /* hvc0; optional */
	void (*outcome)(void *ctx);                            /* the verdict is in the result */
};

struct collector {
	struct run_result *result;
	const struct collector_ops *ops;
	void *ctx;
	bool has_guest_frames;
	struct buf com2_line;
	bool com2_owes_empty_line;
	bool com2_in_result; /* between the sentinels of a test's result */
	struct buf com2_result;
	uint64_t guest_offset_ns; /* smallest arrival - guest time seen: maps its clock to ours */
};

void collector_init(struct collector *c, struct run_result *result, const struct collector_ops *ops,
		    void *ctx);
void collector_fini(struct collector *c); /* idempotent */
void collector_add(struct collector *c, const struct frame *f);
/* No frame comes any more: moves the guest's phases to our clock. */
void collector_finish(struct collector *c);
