/* The release of a vmlinux, from its banner "Linux version 6.12.9 (...". */
#pragma once

#include "image/kernel_release.h"

/*
 * Reads the section headers and the first bytes of .rodata, where the banner is (init/version.c is
 * linked first); @ret is empty where there is none. Borrows @fd, an ELF64 file of @file_len bytes.
 */
void linux_banner_read(int fd, uint64_t file_len, char ret[static KERNEL_RELEASE_MAX]);
