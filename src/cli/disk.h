/*
 * The file of --disk: opened, checked and locked before the VM process is forked, which inherits
 * descriptor and lock.
 */
#pragma once

#include "base/error.h"
#include "virtio/virtio_blk.h"

/*
 * Opens @path as it is, a raw image or a block device, and fills @ret: its fd is the caller's to
 * close. A writable disk is locked against every other VM, a read-only one against writable ones
 * (flock; a writable block device also against being mounted). Errors are class usage and name the
 * file.
 */
MUST_CHECK int disk_open(const char *path, bool read_only, struct virtio_blk_config *ret,
			 struct error *err);
