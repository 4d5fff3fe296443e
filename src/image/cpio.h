/*
 * Writer of a newc cpio archive (the kernel's
 * Documentation/driver-api/early-userspace/buffer-format.rst) into an lz4 legacy stream.
 * Deterministic: owner 0, times 0, no hard links, inode numbers count up. Set-up thread.
 */
#pragma once

#include "image/lz4_legacy.h"

#include <sys/types.h>

struct cpio {
	struct lz4_legacy *out; /* borrowed */
	uint32_t next_ino;
	uint64_t len;       /* bytes of the archive so far */
	uint64_t data_left; /* of the open entry */
};

struct cpio_entry {
	const char *path; /* absolute, stored without its first slash; shorter than PATH_MAX */
	uint32_t mode;    /* S_IFMT and permissions */
	dev_t rdev;       /* of device nodes */
	uint64_t size;    /* of regular files and link targets: data that follows */
};

void cpio_init(struct cpio *c, struct lz4_legacy *out);
/* -EFBIG (class usage): 4 GiB and more do not fit the format. */
MUST_CHECK int cpio_open_entry(struct cpio *c, const struct cpio_entry *e, struct error *err);
/* In all exactly the entry's size; the entry is closed with its last byte. */
MUST_CHECK int cpio_write(struct cpio *c, const void *data, size_t n, struct error *err);
/* The trailer. The stream stays the caller's to finish. */
MUST_CHECK int cpio_finish(struct cpio *c, struct error *err);
