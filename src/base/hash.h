/*
 * 128-bit content keys for caches (XXH3; not cryptographic: a cache of one user trusts its own
 * files).
 */
#pragma once

#include <stdint.h>

enum { HASH_TEXT_MAX = 33 };

struct hash;
struct hash *hash_new(void);
struct hash *hash_free(struct hash *h);
void hash_update(struct hash *h, const void *data, size_t n);
/* A string with its NUL, so that "ab","c" differs from "a","bc". */
void hash_update_str(struct hash *h, const char *s);
void hash_format(struct hash *h, char text[static HASH_TEXT_MAX]);
