/*
 * Writer of one lz4 legacy stream, the form that the kernel's initramfs unpacker reads: a magic
 * word, then blocks of 8 MiB (the last one shorter), each behind its compressed size. Set-up
 * thread.
 *
 * A stream ends with zero bytes, at least 4 of them: kernels from 5.9 end it at a zero word and
 * skip zeros up to the next stream's magic.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#define LZ4_LEGACY_MAGIC 0x184C2102u

enum {
	LZ4_LEGACY_BLOCK = 8 << 20, /* the size the kernel's decoder has room for */
	LZ4_LEGACY_PAD_MIN = 4,
};

struct lz4_legacy {
	int fd;          /* borrowed; -1: into @out */
	struct buf *out; /* borrowed; where fd is -1 */
	struct buf block;
	struct buf packed;
	uint64_t len; /* bytes written so far */
};

/* Exactly one of @fd (>= 0) and @out takes the stream; both must outlive the writer. */
MUST_CHECK int lz4_legacy_init(struct lz4_legacy *z, int fd, struct buf *out, struct error *err);
MUST_CHECK int lz4_legacy_write(struct lz4_legacy *z, const void *data, size_t n,
				struct error *err);
/* Ends the stream: the last block, then zeros up to a multiple of @align (a power of two), at
 * least 4. */
MUST_CHECK int lz4_legacy_finish(struct lz4_legacy *z, uint64_t align, struct error *err);
void lz4_legacy_fini(struct lz4_legacy *z); /* idempotent */
