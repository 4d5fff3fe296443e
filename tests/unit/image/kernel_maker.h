/* Synthetic kernel files for tests: small, of every kind, with known content. */
#pragma once

#include "base/buf.h"
#include "image/decompress.h"

/* A vmlinux with a "Linux" note and build salt "6.6.6-test": one segment of 80 KiB at MAKER_GPA. */
enum {
	MAKER_GPA = 0x1000000,
	MAKER_ENTRY = MAKER_GPA + 0x10,
	MAKER_PHDR_OFFSET = 64,
	MAKER_SEGMENT_OFFSET = 4096
};
void maker_elf(struct buf *ret);
/* A bare guest: vaddr == paddr == 0x100000, no notes. */
void maker_micro_guest(struct buf *ret);

/* Appends @in compressed as the kernel's build does it, without a size word. */
void maker_compress(enum compression c, const struct buf *in, struct buf *ret);
/* The same and, where Linux appends one, the size word: a payload. */
void maker_payload(enum compression c, const struct buf *in, struct buf *ret);

/* A bzImage of release "6.6.6-test" with @payload; setup sectors 3, payload at 0x200 of the
 * protected part. */
enum { MAKER_PROTECTED_OFFSET = 4 * 512, MAKER_PAYLOAD_OFFSET = 0x240 };
void maker_bzimage(const struct buf *payload, struct buf *ret);

/* Test folders and files; a failure fails the test. */
char *maker_dir(void);            /* a new temporary folder; caller frees and removes */
void maker_dir_remove(char *dir); /* with all that is in it; frees @dir */
void maker_write(const char *path, const void *data, size_t n);
void maker_settle(
    void); /* waits until the ctime of what was just written is old enough for the by-file index */
size_t maker_count(const char *dir, const char *suffix); /* files in @dir whose names end so */
