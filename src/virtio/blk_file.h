/* What a raw file or block device can do under a virtio-blk device, found out once, before it has
 * one. Set-up. */
#pragma once

#include "base/error.h"

struct blk_file {
	uint64_t capacity;   /* bytes, a multiple of block_size */
	uint32_t block_size; /* what I/O is made of: 512, or a block device's logical one */
	uint32_t
	    physical_block_size;  /* what is written without reading first; at least block_size */
	bool discards;            /* holes can be punched: DISCARD and WRITE_ZEROES */
	bool is_direct;           /* the descriptor has O_DIRECT */
	uint32_t memory_align;    /* direct: of addresses; lengths and offsets are of blocks */
	const char *why_buffered; /* not direct: constant text */
};

struct blk_file_wish {
	bool read_only;
	bool buffered; /* no direct I/O even where it works */
};

/*
 * Looks at @fd, a regular file or block device without O_DIRECT, and sets O_DIRECT on it where
 * direct I/O works with memory aligned to a sector, as guests' drivers have it. Changes no data.
 * Errors (class usage) name it @name: empty; no whole number of sectors.
 */
MUST_CHECK int blk_file_examine(int fd, const char *name, const struct blk_file_wish *wish,
				struct blk_file *ret, struct error *err);
