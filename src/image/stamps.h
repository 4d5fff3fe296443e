/*
 * The paths of the host that a result was made from, and one digest over what stat says of them
 * all, those that do not exist included: while the digest is the same, so would be the result.
 * Set-up thread.
 */
#pragma once

#include "base/buf.h"
#include "base/hash.h"

#include <sys/stat.h>

struct stamps {
	struct buf paths; /* NUL-terminated records: 'L' (lstat) or 'S' (stat), then the path */
	void *seen;       /* search tree of the records, so that each is kept once */
};

void stamps_fini(struct stamps *s); /* idempotent */
/* @follow: what counts is the file behind a symbolic link, else the link itself. */
void stamps_add(struct stamps *s, const char *path, bool follow);
/*
 * Digests the stat results of the @n bytes of records at @paths. @ret_newest_ns, unless NULL: the
 * latest change time among them, in ns of CLOCK_REALTIME.
 */
void stamps_digest(const uint8_t *paths, size_t n, char text[static HASH_TEXT_MAX],
		   int64_t *ret_newest_ns);

/* What identifies a file's content as well as stat can tell. */
struct file_stamp {
	uint64_t dev;
	uint64_t ino;
	uint64_t size;
	int64_t mtime_ns;
	int64_t ctime_ns;
};
struct file_stamp file_stamp_of(const struct stat *st);
bool file_stamp_is_same(const struct file_stamp *a, const struct file_stamp *b);
