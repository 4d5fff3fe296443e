/*
 * A stream of the guest that is kept: its last bytes in memory, all of it (to a limit) in a file if
 * there is one.
 */
#pragma once

#include "base/error.h"

enum { SINK_TAIL_MAX = 64 * 1024 };

struct sink {
	int fd; /* owned; -1: no file */
	char *path;
	uint64_t file_len;
	uint64_t file_limit;
	uint64_t n_dropped; /* beyond the limit, or after a failed write */
	int write_error;    /* first failure, -errno */
	char *tail;         /* ring */
	size_t tail_len;
	size_t tail_end;
};
#define SINK_INIT ((struct sink){ .fd = -1 })

/* Opens @path for writing (truncated); class usage: it is the user's path. */
MUST_CHECK int sink_open(struct sink *s, const char *path, uint64_t limit, struct error *err);
void sink_fini(struct sink *s);
void sink_write(struct sink *s, const void *data, size_t n);
/* The kept tail in order, as an owned string. */
char *sink_tail(const struct sink *s);
