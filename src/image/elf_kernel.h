/*
 * ELF64 kernels: which bytes of the file go to which guest-physical address, and whether it is
 * Linux. Reads the headers, notes and the banner only. Every number of the file is checked before
 * it is used.
 */
#pragma once

#include "base/error.h"
#include "image/kernel_image.h"

/* Whether @head (the file's first bytes) is an ELF file of any kind. */
bool elf_kernel_is(const uint8_t *head, size_t n);

/*
 * Fills segments, entry, end, is_linux and release of @ret (release from the kernel's banner
 * or build salt, empty without). Borrows @fd. Errors (class usage): another architecture or word
 * size, not executable, truncated, bad program headers.
 */
MUST_CHECK int elf_kernel_parse(int fd, uint64_t file_len, struct kernel_image *ret,
				struct error *err);
