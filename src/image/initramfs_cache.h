/*
 * The cached bases: {cache}/initramfs/
 *
 *	<key>.lz4   a base stream, named by what is in it (initramfs_pack_key)
 *	<key>.plan  what one request came to: which base, which program, which modules; named by the
 *	            request. It lists the host paths that were looked at and a digest of their stat
 *	            results, so that the same request with unchanged files costs a few dozen lstat
 *	            calls and reads no content.
 *	lock        flocked by who writes; whatever else lies there then is debris of a killed run and
 *	            goes
 *
 * Files are complete, read-only and never changed, only unlinked: who holds a descriptor keeps the
 * content. The oldest ones go when there are too many. Set-up thread.
 */
#pragma once

#include "image/guest_tree.h"

/* What a request comes to, besides the base's bytes. */
struct initramfs_plan {
	char base[HASH_TEXT_MAX];
	uint64_t base_len;
	uint64_t unpacked_len;
	char *exec;         /* guest path of the program */
	struct buf modules; /* "module=..." records */
};

struct initramfs_cache {
	char *folder;
	int lock_fd; /* -1: not locked */
};
#define INITRAMFS_CACHE_INIT ((struct initramfs_cache){ .lock_fd = -1 })

void initramfs_plan_fini(struct initramfs_plan *p); /* idempotent */

/* Makes the folder where it is missing. */
MUST_CHECK int initramfs_cache_init(struct initramfs_cache *c, const char *cache_dir,
				    struct error *err);
void initramfs_cache_fini(struct initramfs_cache *c); /* idempotent; unlocks */
/*
 * A base for the request @key whose inputs are unchanged: a read-only descriptor (the caller's) and
 * the plan; -1: none. Without the lock. Damaged files count as none.
 */
MUST_CHECK int initramfs_cache_find(const struct initramfs_cache *c, const char *key,
				    struct initramfs_plan *ret);
/* Waits for the lock. */
MUST_CHECK int initramfs_cache_lock(struct initramfs_cache *c, struct error *err);
/* The base @name; @ret_len its length. -1: none. */
MUST_CHECK int initramfs_cache_open_base(const struct initramfs_cache *c, const char *name,
					 uint64_t *ret_len);
/* Under the lock: packs @tree as plan->base and sets plan->base_len. A read-only descriptor, the
 * caller's. */
MUST_CHECK int initramfs_cache_add_base(struct initramfs_cache *c, const struct guest_tree *tree,
					struct initramfs_plan *plan, int *ret_fd,
					struct error *err);
/* The same, but the file has no name any more: it is gone with its last descriptor. */
MUST_CHECK int initramfs_cache_pack_unkept(struct initramfs_cache *c, const struct guest_tree *tree,
					   struct initramfs_plan *plan, int *ret_fd,
					   struct error *err);
/* Under the lock: what @key comes to from now on, while @paths (stamps) digest to @digest. Then
 * sweeps the folder. */
MUST_CHECK int initramfs_cache_add_plan(struct initramfs_cache *c, const char *key,
					const struct initramfs_plan *plan, const struct buf *paths,
					const char *digest, struct error *err);
