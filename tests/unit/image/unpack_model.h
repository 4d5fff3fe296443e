/*
 * What Linux (5.9 and later) does with an initrd, in small: lz4 legacy streams one behind the other
 * with zeros between them, each a newc archive.
 */
#pragma once

#include "base/buf.h"

struct unpack_entry {
	const char *name;
	const uint8_t *data;
	size_t size;
	uint32_t mode;
};

/* Appends the unpacked archives to @ret; false where the kernel would say "data corrupted" or
 * "junk". */
bool unpack_model_decode(const uint8_t *in, size_t n, struct buf *ret);
/* The last entry called @name (no first slash) in the archives; false: none, or the archive is
 * damaged. */
bool unpack_model_find(const struct buf *archive, const char *name, struct unpack_entry *ret);
