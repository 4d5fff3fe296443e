/* Whole files and folders on set-up paths. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/* mkdir -p with mode @mode for what is missing. */
MUST_CHECK int file_make_dirs(const char *path, unsigned mode, struct error *err);
/* Reads at most @max bytes; -EFBIG beyond. Appends to @ret. */
MUST_CHECK int file_read(const char *path, size_t max, struct buf *ret, struct error *err);
/*
 * A first line of a small file (sysfs) without its newline, cut to @n; negative errno where it
 * cannot be read.
 */
MUST_CHECK int file_read_line(const char *path, char *ret, size_t n);

/*
 * A file that appears complete or not at all: written beside its place, then renamed over it.
 * file_new_open makes the unnamed or temporary file; file_new_commit sets @mode and renames; it syncs
 * nothing (a cache is worth no fsync): where a crash of the host must not leave an empty file, file_new_sync comes before. file_new_fini without commit removes every trace. Owner:
 * the calling thread.
 */
struct file_new {
	int fd;
	char *path;
	char *temp;
};
#define FILE_NEW_INIT ((struct file_new){ .fd = -1 })
MUST_CHECK int file_new_open(struct file_new *f, const char *path, struct error *err);
MUST_CHECK int file_new_sync(struct file_new *f, struct error *err);
MUST_CHECK int file_new_commit(struct file_new *f, unsigned mode, struct error *err);
void file_new_fini(struct file_new *f);
/* All of it for a file whose content is at hand. */
MUST_CHECK int file_replace(const char *path, unsigned mode, const void *data, size_t n,
			    struct error *err);

/*
 * $XDG_CACHE_HOME/ktstr, else $HOME/.cache/ktstr; -ENOENT (class usage) where neither is set.
 * Caller frees @ret.
 */
MUST_CHECK int file_cache_dir(char **ret, struct error *err);
