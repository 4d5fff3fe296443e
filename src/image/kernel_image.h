/*
 * A kernel file made ready to boot: which kind it is, where its segments go. A bzImage's payload is
 * decompressed once on the host and cached by content, so that VMs map it copy-on-write.
 */
#pragma once

#include "base/error.h"
#include "base/fd.h"

enum kernel_kind {
	/* vmlinux, or a micro-guest: segments at their physical addresses, ELF entry */
	KERNEL_ELF,
	KERNEL_BZIMAGE, /* booted as it is: protected-mode part at 1 MiB, entry + 0x200 */
};

enum { KERNEL_MAX_SEGMENTS = 16 };
struct kernel_segment {
	uint64_t gpa;
	uint64_t file_offset;
	uint64_t file_len;
	uint64_t mem_len; /* the rest is zero */
};

struct kernel_image {
	enum kernel_kind kind;
	/*
	 * Owned: the file that the segments are in (the cached vmlinux for a decompressed bzImage)
	 */
	int fd;
	struct kernel_segment segments[KERNEL_MAX_SEGMENTS];
	size_t n_segments;
	uint64_t entry;            /* physical address of the 64-bit entry */
	uint64_t end;              /* first byte after all segments (bzImage: init_size included) */
	bool is_linux;             /* false for a bare micro-guest */
	char release[128];         /* "6.1.0-53-cloud-amd64"; empty if not known */
	uint8_t setup_header[128]; /* bzImage only: bytes from 0x1f1 */
	size_t setup_header_len;
};
#define KERNEL_IMAGE_INIT ((struct kernel_image){ .fd = -1 })

struct kernel_image_config {
	const char *path;
	const char *cache_dir; /* where decompressed payloads live; created as needed */
	bool as_is;            /* boot a bzImage itself (--kaslr): nothing is decompressed */
};

/*
 * Errors (class usage) name the file and what is wrong: missing, a directory, truncated (have and
 * need), for another architecture (which), not a kernel. An unknown compression is no error: the
 * bzImage boots as it is.
 */
MUST_CHECK int kernel_image_open(const struct kernel_image_config *config, struct kernel_image *ret,
				 struct error *err);
/*
 * The same for an open file; config->path is only its name in messages. Takes ownership of @fd in
 * any case.
 */
MUST_CHECK int kernel_image_open_fd(const struct kernel_image_config *config, int fd,
				    struct kernel_image *ret, struct error *err);
/*
 * Whether a driver is built into an ELF kernel, told by its name ("virtio_mmio", also with '-')
 * among the image's bytes. For kernels that come without a module tree, which would know; reads the
 * whole file. False where it cannot be told.
 */
bool kernel_image_has_driver(const struct kernel_image *image, const char *name);
/* Idempotent. Here, so that a VM process, which opens none, needs nothing of what opens them. */
static inline void kernel_image_fini(struct kernel_image *image)
{
	fd_closep(&image->fd);
}
