#include "image/lz4_legacy.h"

#include <endian.h>
#include <errno.h>
#include <lz4.h>
#include <string.h>

#include "base/assert.h"
#include "base/fd.h"
#include "base/num.h"

static int put(struct lz4_legacy *z, const void *data, size_t n, struct error *err)
{
	if (z->fd < 0) {
		buf_append(z->out, data, n);
	} else {
		int r = fd_write_all(z->fd, data, n);
		if (r < 0)
			return error_set(err, r, "write");
	}
	z->len += n;
	return 0;
}

static int put_le32(struct lz4_legacy *z, uint32_t v, struct error *err)
{
	uint32_t le = htole32(v);

	return put(z, &le, sizeof(le), err);
}

int lz4_legacy_init(struct lz4_legacy *z, int fd, struct buf *out, struct error *err)
{
	ASSERT((fd >= 0) != (out != NULL));
	*z = (struct lz4_legacy){ .fd = fd, .out = out };
	return put_le32(z, LZ4_LEGACY_MAGIC, err);
}

static int put_block(struct lz4_legacy *z, struct error *err)
{
	int room = LZ4_compressBound((int)z->block.len);

	z->packed.len = 0;
	int n = LZ4_compress_default((const char *)z->block.data,
				     (char *)buf_reserve(&z->packed, (size_t)room),
				     (int)z->block.len, room);
	/* With room for the worst case there is always a result, so a block's size is never the end
	 * mark 0. */
	ASSERT(n > 0);
	z->block.len = 0;
	if (put_le32(z, (uint32_t)n, err) < 0)
		return err->code;
	return put(z, z->packed.data, (size_t)n, err);
}

int lz4_legacy_write(struct lz4_legacy *z, const void *data, size_t n, struct error *err)
{
	const uint8_t *p = data;

	while (n) {
		size_t take = num_min(n, LZ4_LEGACY_BLOCK - z->block.len);
		buf_append(&z->block, p, take);
		p += take;
		n -= take;
		if (z->block.len == LZ4_LEGACY_BLOCK && put_block(z, err) < 0)
			return err->code;
	}
	return 0;
}

int lz4_legacy_finish(struct lz4_legacy *z, uint64_t align, struct error *err)
{
	static const uint8_t zeros[4096];

	ASSERT(num_is_pow2(align) && align <= sizeof(zeros));
	if (z->block.len && put_block(z, err) < 0)
		return err->code;
	uint64_t end = num_align_up(z->len + LZ4_LEGACY_PAD_MIN, align);
	uint64_t pad = end - z->len;
	while (pad) {
		size_t n = num_min(pad, sizeof(zeros));
		if (put(z, zeros, n, err) < 0)
			return err->code;
		pad -= n;
	}
	return 0;
}

void lz4_legacy_fini(struct lz4_legacy *z)
{
	buf_fini(&z->block);
	buf_fini(&z->packed);
}
