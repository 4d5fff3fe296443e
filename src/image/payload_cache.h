/*
 * Decompressed kernels, {cache}/vmlinux/HASH.elf, each made once and never changed (0444): VMs map
 * them. HASH is of the compressed bytes, so copies of one kernel share an entry.
 * {cache}/vmlinux/by-file/KEY are symbolic links to the entries, KEY made of the source file's
 * device, inode, size, mtime and ctime: a hit opens one link and reads no payload.
 */
#pragma once

#include "base/error.h"
#include "image/decompress.h"

#define PAYLOAD_MAX_UNPACKED (UINT64_C(1) << 30)

struct payload {
	int fd;          /* borrowed: the file it is in */
	uint64_t offset; /* of the compressed bytes, without a trailing size word */
	uint64_t len;
	enum compression compression;
	uint32_t unpacked_len; /* what the image says of itself; 0: not known */
};

enum payload_result {
	PAYLOAD_ELF,   /* an ELF file: cached */
	PAYLOAD_OTHER, /* something else: nothing was kept */
};
enum { PAYLOAD_HEAD_MAX = 64 };

/*
 * Opens the decompressed payload read-only, making the cache entry if there is none. Returns
 * PAYLOAD_ELF and sets
 * @ret_fd, or PAYLOAD_OTHER and the first bytes in @ret_head (0-padded), or an error: class usage
 * for bad data (damaged, beyond PAYLOAD_MAX_UNPACKED, of another size than it says); class infra
 * for the cache (no space, no permission), which leaves nothing behind. Safe against other
 * processes doing the same.
 */
MUST_CHECK int payload_cache_open(const char *cache_dir, const struct payload *p, int *ret_fd,
				  uint8_t ret_head[static PAYLOAD_HEAD_MAX], struct error *err);
