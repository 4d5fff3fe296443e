/* Turns a guest_tree into the bytes of the base stream. Set-up thread. */
#pragma once

#include "image/guest_tree.h"

/* base_len is a multiple of this: a VMM can map the file and put the suffix on a page of its own.
 */
enum { INITRAMFS_ALIGN = 4096 };

/* Identifies the content: every node, and of host files their stamps, not their bytes. */
void initramfs_pack_key(const struct guest_tree *tree, char text[static HASH_TEXT_MAX]);
/* Memory that the unpacked files take in the guest: whole pages. */
uint64_t initramfs_pack_unpacked_len(const struct guest_tree *tree);
/*
 * Writes cpio in lz4 legacy frames to @fd. Errors: class usage where a host file cannot be read, is
 * too large, or is no longer what it was when it was added (-ESTALE); class infra where @fd takes
 * no more.
 */
MUST_CHECK int initramfs_pack(const struct guest_tree *tree, int fd, uint64_t *ret_len,
			      struct error *err);
