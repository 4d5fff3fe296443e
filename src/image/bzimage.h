/* The Linux x86 boot protocol's header (Documentation/arch/x86/boot.rst), checked and taken apart.
 */
#pragma once

#include "base/error.h"
#include "image/kernel_image.h"

struct bzimage {
	uint64_t protected_offset; /* in the file, of the protected-mode part */
	uint64_t protected_len;
	uint64_t payload_offset; /* in the file, of the compressed kernel; len 0 where the header
				    names none */
	uint64_t payload_len;
	uint64_t end; /* first byte of guest memory after all that the image uses while it unpacks
			 itself */
	char release[128];
	uint8_t setup_header[128];
	size_t setup_header_len;
};

/* Whether @head (the file's first bytes) is a boot sector with the protocol's magic. */
bool bzimage_is(const uint8_t *head, size_t n);

/* Borrows @fd. Errors (class usage): truncated (have and need), too old, without a 64-bit entry. */
MUST_CHECK int bzimage_parse(int fd, uint64_t file_len, struct bzimage *ret, struct error *err);

/* The segment and entry of the image booted as it is. */
void bzimage_place(const struct bzimage *bz, struct kernel_image *image);
