/* The file that everybody reads in a benchmark of disks. */
#pragma once

#include "base/error.h"

struct scratch {
	int fd;
	char path[64];    /* a name of it that works for children, while we live */
	const char *note; /* what to know about figures from it; NULL: nothing */
};
#define SCRATCH_INIT ((struct scratch){ .fd = -1 })

/*
 * A file of @size random bytes in folder @dir, written to the disk. It has no name: when we end, in
 * whatever way, it is gone. Class usage: the folder cannot be written, or holds no file that is read
 * past the page cache.
 */
MUST_CHECK int scratch_make(const char *dir, uint64_t size, struct scratch *ret, struct error *err);
/*
 * An existing file or block device, opened for reading. The same errors, and a file of which the
 * workloads could not read one block each.
 */
MUST_CHECK int scratch_open(const char *path, struct scratch *ret, struct error *err);
void scratch_fini(struct scratch *s); /* idempotent */
