/*
 * What a batch shows while it runs: a line for each result, and on a terminal a block below them that is drawn again: the
 * counts, then the VMs that run, the longest first. One thread.
 */
#pragma once

#include "base/buf.h"
#include "cli/out_queue.h"
#include "harness/batch_result.h"

struct batch_view_vm {
	const char *id;
	uint32_t phase;    /* enum frame_phase_id reached */
	uint64_t start_ns; /* of this attempt */
	uint32_t attempt;  /* from 1 */
	bool is_waiting;   /* for a place on the host */
};

struct batch_view_state {
	uint64_t now_ns, start_ns;
	size_t n_jobs;
	const struct batch_counts *counts; /* of those that are over */
	const struct batch_view_vm *vms;   /* that run, in order of their start */
	size_t n_vms;
};

struct batch_view {
	struct out_queue out;
	bool is_terminal;
	uint16_t width, height;
	size_t n_lines; /* of the block that is on the screen */
};

void batch_view_init(struct batch_view *v, int fd);
void batch_view_fini(struct batch_view *v);
/* The line of a result that is over, or of one that is tried again, without newline. */
void batch_view_format_result(const struct batch_test *t, bool is_retry, struct buf *ret);
/* The block, lines of at most @width columns, at most @height of them. */
void batch_view_format_block(const struct batch_view_state *s, unsigned width, unsigned height,
			     struct buf *ret);
/* A line that stays: where a block is drawn it goes above. Never waits for a reader; errors are kept in @v->out. */
void batch_view_print(struct batch_view *v, const char *line);
/* Draws the block; nothing where there is no terminal, or one that is stopped. */
void batch_view_draw(struct batch_view *v, const struct batch_view_state *s);
/* Takes the block off the screen. */
void batch_view_clear(struct batch_view *v);
