/*
 * A growing byte buffer, owned by one thread. Allocation failure ends the process: we are on a
 * set-up path.
 */
#pragma once

#include <stdarg.h>

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

void buf_fini(struct buf *b); /* idempotent; for CLEANUP(buf_fini) */
/* Room for @n more bytes at the end, not yet counted in len. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_append(struct buf *b, const void *data, size_t n);
void buf_append_str(struct buf *b, const char *s);
void buf_append_zeros(struct buf *b, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The content as a C string (a NUL is kept behind the end); valid until the next change. */
const char *buf_str(struct buf *b);
/* Drops the first @n bytes. */
void buf_consume(struct buf *b, size_t n);

/* malloc family that ends the process when there is no memory: for set-up paths only. */
NORETURN void die_out_of_memory(void);
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);
/*
 * Zeroed pages of their own, which take memory only where they are touched (calloc may take from
 * its heap, and clears that by hand). Released by xunmap with the same @n; it takes NULL.
 */
void *xmap(size_t n);
void xunmap(void *p, size_t n);
/* For CLEANUP(freep) on any owned heap pointer. */
void freep(void *pp);
