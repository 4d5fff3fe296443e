#include "image/ld_cache.h"

#include <string.h>

#include "base/num.h"

/*
 *	old format (optional)           new format, at a multiple of 8; offsets count from its start
 *	  0  "ld.so-1.7.0"                0  "glibc-ld.so.cache" "1.1"
 *	 12  u32 count                   20  u32 count
 *	 16  count entries of 12 bytes   24  u32 bytes of strings, then flags and unused words
 *	                                 48  count entries: s32 flags, u32 key, u32 value,
 *	                                     u32 osversion, u64 hwcap
 */
#define OLD_MAGIC "ld.so-1.7.0"
#define NEW_MAGIC "glibc-ld.so.cache1.1"

enum {
	OLD_HEADER = 16,
	OLD_ENTRY = 12,
	NEW_COUNT = 20,
	NEW_HEADER = 48,
	NEW_ENTRY = 24,
	ENTRY_KEY = 4,
	ENTRY_VALUE = 8,
	ENTRY_HWCAP = 16,
};

static uint32_t load32(const struct buf *b, size_t offset)
{
	uint32_t v;

	memcpy(&v, b->data + offset, sizeof(v));
	return v;
}

static bool has_magic(const struct buf *b, size_t offset, const char *magic)
{
	size_t n = strlen(magic);

	return offset <= b->len && n <= b->len - offset && memcmp(b->data + offset, magic, n) == 0;
}

void ld_cache_fini(struct ld_cache *c)
{
	buf_fini(&c->data);
	c->n_entries = 0;
}

void ld_cache_init(struct ld_cache *c, struct buf *data)
{
	*c = (struct ld_cache){ .data = *data };
	*data = (struct buf){ 0 };
	if (has_magic(&c->data, 0, OLD_MAGIC) && c->data.len >= OLD_HEADER)
		c->table = num_align_up(OLD_HEADER + (uint64_t)load32(&c->data, 12) * OLD_ENTRY, 8);
	if (!has_magic(&c->data, c->table, NEW_MAGIC) || c->data.len - c->table < NEW_HEADER)
		return;
	uint64_t room = (c->data.len - c->table - NEW_HEADER) / NEW_ENTRY;
	c->n_entries = (uint32_t)num_min(load32(&c->data, c->table + NEW_COUNT), room);
}

/* The string at @offset from the table; NULL unless it ends within the file. */
static const char *text_at(const struct ld_cache *c, uint32_t offset)
{
	size_t room = c->data.len - c->table;

	if (offset >= room)
		return NULL;
	const uint8_t *p = c->data.data + c->table + offset;
	return memchr(p, 0, room - offset) ? (const char *)p : NULL;
}

const char *ld_cache_find(const struct ld_cache *c, const char *soname, unsigned nth)
{
	/* First the entries without a hardware condition, then the others. */
	for (uint64_t i = 0; i < 2 * (uint64_t)c->n_entries; i++) {
		bool wants_hwcap = i >= c->n_entries;
		uint64_t idx = wants_hwcap ? i - c->n_entries : i;
		size_t entry = c->table + NEW_HEADER + (size_t)idx * NEW_ENTRY;
		uint64_t hwcap;

		memcpy(&hwcap, c->data.data + entry + ENTRY_HWCAP, sizeof(hwcap));
		if ((hwcap != 0) != wants_hwcap)
			continue;
		const char *key = text_at(c, load32(&c->data, entry + ENTRY_KEY));
		const char *path = text_at(c, load32(&c->data, entry + ENTRY_VALUE));
		if (!key || !path || *path != '/' || strcmp(key, soname) != 0)
			continue;
		if (nth-- == 0)
			return path;
	}
	return NULL;
}
