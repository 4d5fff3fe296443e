/*
 * Disks of one VM only: files without a name, which are gone with their last descriptor, however the
 * processes end. Set-up thread.
 */
#pragma once

#include "base/error.h"

enum scratch_method {
	SCRATCH_EMPTY,
	SCRATCH_REFLINK, /* shares the source's blocks until either is written to */
	SCRATCH_COPIED,
};

struct scratch_disk {
	int fd; /* owned; read and write */
	enum scratch_method method;
	uint64_t copied_bytes; /* with SCRATCH_COPIED: without the holes */
};
#define SCRATCH_DISK_INIT ((struct scratch_disk){ .fd = -1 })

/* A hole of @bytes in the folder @dir. */
MUST_CHECK int scratch_disk_new(const char *dir, uint64_t bytes, struct scratch_disk *ret,
				struct error *err);
struct scratch_source {
	int fd;           /* a file or a block device */
	const char *name; /* in errors */
	uint64_t bytes;
};
/*
 * A copy of @source. By reflink in the folder @beside (NULL: none) or in @dir; where neither can,
 * the data is copied to @dir, holes and zeros of block devices left out. Errors: no room (says how
 * much, and where); the source changed meanwhile (-EBUSY, class usage).
 */
MUST_CHECK int scratch_disk_copy(const struct scratch_source *source, const char *beside,
				 const char *dir, struct scratch_disk *ret, struct error *err);
