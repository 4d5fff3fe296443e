/*
 * Empty file systems to copy disks from: made once by the host's mkfs, kept in the cache
 * (disks/FS-BYTES-HASH.raw), read-only. The hash is over the tool, its configuration and the
 * options. Set-up thread.
 */
#pragma once

#include "base/error.h"

enum disk_fs { DISK_FS_NONE, DISK_FS_EXT4, DISK_FS_BTRFS };

/* "ext4": also the name of its kernel module. NULL for DISK_FS_NONE. */
const char *disk_fs_name(enum disk_fs fs);
/* DISK_FS_NONE where @name, of @n bytes, is none. */
enum disk_fs disk_fs_find(const char *name, size_t n);
/* Below that there is no useful file system. */
uint64_t disk_fs_min_bytes(enum disk_fs fs);

/*
 * A template of @fs with @bytes, made if there is none: a read-only descriptor, the caller's. The
 * tool is looked for in @search, a PATH. Errors: no such tool (class skip, names the package), its own
 * words.
 */
MUST_CHECK int disk_template_open(const char *cache_dir, const char *search, enum disk_fs fs,
				  uint64_t bytes, int *ret_fd, struct error *err);
