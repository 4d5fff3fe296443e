/*
 * The compressions a Linux kernel image may carry, undone in one pass with bounded output. Set-up
 * thread; no state outside the caller's structs.
 */
#pragma once

#include "base/error.h"

enum compression {
	COMPRESSION_NONE, /* not one of these: lzo, or no compression at all */
	COMPRESSION_GZIP,
	COMPRESSION_BZIP2,
	COMPRESSION_LZMA, /* the "alone" format of lzma(1) */
	COMPRESSION_XZ,   /* with any filter, so also the branch filter of kernels */
	COMPRESSION_LZ4,  /* the legacy frames of `lz4 -l` */
	COMPRESSION_ZSTD,
};

enum { COMPRESSION_MAGIC_LEN = 6 };

/* By the first bytes; data shorter than COMPRESSION_MAGIC_LEN is COMPRESSION_NONE. */
enum compression compression_detect(const uint8_t *data, size_t n);
/* "gzip", ...; for messages. */
const char *compression_name(enum compression c);

/* Where the output goes. Embedded in what the callback needs. */
struct decompress_out {
	/* Takes the next @n > 0 bytes; a result other than 0 ends the work and is returned by
	 * decompress(). */
	int (*write)(struct decompress_out *out, const uint8_t *data, size_t n, struct error *err);
	uint64_t limit; /* output beyond this is an error */
	uint64_t len;   /* bytes handed to write so far */
};

/*
 * Undoes @c over the whole of @in. Bytes behind the end of the compressed stream are ignored,
 * except for lz4, whose stream has no end mark of its own. Errors (class usage): -EBADMSG damaged
 * or cut short, -EFBIG beyond out->limit or 512 MiB of working memory; -ENOMEM (class infra).
 * COMPRESSION_NONE is a bug of the caller.
 */
MUST_CHECK int decompress(enum compression c, const uint8_t *in, size_t n,
			  struct decompress_out *out, struct error *err);
