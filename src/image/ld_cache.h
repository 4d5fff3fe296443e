/*
 * /etc/ld.so.cache of the GNU loader (format "glibc-ld.so.cache1.1", alone or behind the older
 * one). Read as it is: a damaged file simply has fewer entries. Set-up thread.
 */
#pragma once

#include "base/buf.h"

struct ld_cache {
	struct buf data;
	size_t table;       /* offset of the new format's header */
	uint32_t n_entries; /* 0: nothing usable */
};

void ld_cache_fini(struct ld_cache *c); /* idempotent */
/* Takes over @data. */
void ld_cache_init(struct ld_cache *c, struct buf *data);
/*
 * The @nth (0, 1, ...) path listed for @soname, those for every processor before those in
 * glibc-hwcaps folders; NULL behind the last. Points into the cache. A name may be listed for
 * several classes of machine: the caller checks.
 */
const char *ld_cache_find(const struct ld_cache *c, const char *soname, unsigned nth);
