/*
 * The disk of --disk: opened, checked, locked or copied before the VM process is forked, which
 * inherits descriptor and lock.
 */
#pragma once

#include "cli/disk_options.h"
#include "image/scratch_disk.h"
#include "virtio/virtio_blk.h"

struct disk {
	struct virtio_blk_config config; /* its fd is owned; -1: none */
	bool is_in_place;                /* the file itself, not the copy that follows */
	enum scratch_method method;
	uint64_t copied_bytes;
};
#define DISK_INIT ((struct disk){ .config.fd = -1 })

/*
 * A writable file is locked against every other VM, a read-only one against writable ones (flock; a
 * writable block device also against being mounted), the source of a snapshot while it is copied.
 * Copies are made beside the source where that is a reflink, else in TMPDIR, or in the cache where
 * that is not set. Errors name the file; most are class usage.
 */
MUST_CHECK int disk_open(const struct disk_options *o, const char *cache_dir, struct disk *ret,
			 struct error *err);
void disk_fini(struct disk *d);

/* How the disk came to be: "in-place", "reflink", "copy", "empty". */
const char *disk_source_name(const struct disk *d);
/* "in-place, direct I/O", "copy of 12 MiB, buffered I/O (as asked for)". Caller frees. */
char *disk_describe(const struct disk *d);
