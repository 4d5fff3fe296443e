#include "unpack_model.h"

#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 8 << 20, HEADER = 110 };

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* One stream behind its magic; the bytes it took, 0 where it is damaged. */
static size_t decode_stream(const uint8_t *in, size_t n, struct buf *ret)
{
	size_t pos = 0;

	for (;;) {
		if (n - pos < 4 || load32(in + pos) == 0)
			return pos;
		size_t packed = load32(in + pos);
		pos += 4;
		if (packed > n - pos)
			return 0;
		int got = LZ4_decompress_safe((const char *)in + pos,
					      (char *)buf_reserve(ret, BLOCK), (int)packed, BLOCK);
		if (got < 0)
			return 0;
		ret->len += (size_t)got;
		pos += packed;
		if (pos ==
		    n) /* a stream that the initrd ends with needs no zeros, but ours have them */
			return pos;
	}
}

bool unpack_model_decode(const uint8_t *in, size_t n, struct buf *ret)
{
	for (size_t pos = 0; pos < n;) {
		if (in[pos] == 0) {
			pos++;
			continue;
		}
		if (n - pos < 8 || load32(in + pos) != 0x184C2102u)
			return false;
		size_t took = decode_stream(in + pos + 4, n - pos - 4, ret);
		if (!took)
			return false;
		pos += 4 + took;
	}
	return true;
}

static uint32_t field(const uint8_t *header, unsigned idx)
{
	char text[9] = { 0 };

	memcpy(text, header + 6 + (size_t)idx * 8, 8);
	return (uint32_t)strtoul(text, NULL, 16);
}

bool unpack_model_find(const struct buf *archive, const char *name, struct unpack_entry *ret)
{
	bool found = false;

	for (size_t pos = 0; pos < archive->len;) {
		const uint8_t *h = archive->data + pos;
		if (*h == 0) {
			pos++;
			continue;
		}
		if (archive->len - pos < HEADER || memcmp(h, "070701", 6) != 0)
			return false;
		uint32_t size = field(h, 6), name_len = field(h, 11);
		size_t data = (pos + HEADER + name_len + 3) & ~(size_t)3;
		if (data + size > archive->len)
			return false;
		const char *entry = (const char *)h + HEADER;
		if (strcmp(entry, name) == 0) {
			*ret =
			    (struct unpack_entry){ entry, archive->data + data, size, field(h, 1) };
			found = true;
		}
		pos = (data + size + 3) & ~(size_t)3;
	}
	return found;
}
