/*
 * One function per compression, all of the same shape: feed everything, hand each full buffer to
 * the sink, stop at the stream's own end. The libraries check the data; what they leave open (an
 * early end, endless output) is checked here.
 */
#include "image/decompress.h"

#include <bzlib.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#define ZLIB_CONST /* next_in points to const */
#include <zlib.h>
#include <zstd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/num.h"

enum {
	OUT_CHUNK = 256 * 1024,
	LZ4_LEGACY_BLOCK = 8 * 1024 * 1024,
	LZ4_LEGACY_MAGIC_LEN = 4,
};

/* The dictionary a stream may ask for: kernels use up to 128 MiB. */
#define LZMA_MEMORY_MAX (512 * MIB)

static const uint8_t lz4_legacy_magic[LZ4_LEGACY_MAGIC_LEN] = { 0x02, 0x21, 0x4c, 0x18 };

enum compression compression_detect(const uint8_t *data, size_t n)
{
	static const struct {
		enum compression compression;
		uint8_t len;
		uint8_t magic[COMPRESSION_MAGIC_LEN];
	} table[] = {
		{ COMPRESSION_GZIP, 3, { 0x1f, 0x8b, 0x08 } },
		{ COMPRESSION_BZIP2, 3, { 'B', 'Z', 'h' } },
		{ COMPRESSION_LZMA, 3, { 0x5d, 0x00, 0x00 } },
		{ COMPRESSION_XZ, 6, { 0xfd, '7', 'z', 'X', 'Z', 0x00 } },
		{ COMPRESSION_LZ4, 4, { 0x02, 0x21, 0x4c, 0x18 } },
		{ COMPRESSION_ZSTD, 4, { 0x28, 0xb5, 0x2f, 0xfd } },
	};

	if (n < COMPRESSION_MAGIC_LEN)
		return COMPRESSION_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (memcmp(data, table[i].magic, table[i].len) == 0)
			return table[i].compression;
	return COMPRESSION_NONE;
}

const char *compression_name(enum compression c)
{
	switch (c) {
	case COMPRESSION_NONE:
		return "no known compression";
	case COMPRESSION_GZIP:
		return "gzip";
	case COMPRESSION_BZIP2:
		return "bzip2";
	case COMPRESSION_LZMA:
		return "lzma";
	case COMPRESSION_XZ:
		return "xz";
	case COMPRESSION_LZ4:
		return "lz4";
	case COMPRESSION_ZSTD:
		return "zstd";
	}
	return "?";
}

static int damaged(enum compression c, size_t at, struct error *err)
{
	return error_set_usage(err, -EBADMSG, "its %s data is damaged at byte %zu",
			       compression_name(c), at);
}

static int cut_short(enum compression c, size_t n, struct error *err)
{
	return error_set_usage(err, -EBADMSG, "its %s data ends too early, after %zu bytes",
			       compression_name(c), n);
}

static int no_memory(enum compression c, struct error *err)
{
	return error_set_text(err, -ENOMEM, "no memory to decompress its %s data",
			      compression_name(c));
}

static int put(struct decompress_out *out, const uint8_t *data, size_t n, struct error *err)
{
	if (n == 0)
		return 0;
	if (n > out->limit - out->len)
		return error_set_usage(err, -EFBIG,
				       "its data grows beyond %" PRIu64 " MiB when decompressed",
				       out->limit / MIB);
	out->len += n;
	return out->write(out, data, n, err);
}

static int gunzip(const uint8_t *in, size_t n, struct decompress_out *out, uint8_t *chunk,
		  struct error *err)
{
	z_stream z = { .next_in = in, .avail_in = (uInt)n };
	int ret = 0;

	if (inflateInit2(&z, 15 + 16) != Z_OK) /* largest window, gzip wrapper */
		return no_memory(COMPRESSION_GZIP, err);
	for (int status = Z_OK; ret == 0 && status != Z_STREAM_END;) {
		z.next_out = chunk;
		z.avail_out = OUT_CHUNK;
		status = inflate(&z, Z_NO_FLUSH);
		if (status == Z_BUF_ERROR)
			ret = cut_short(COMPRESSION_GZIP, n, err);
		else if (status == Z_MEM_ERROR)
			ret = no_memory(COMPRESSION_GZIP, err);
		else if (status != Z_OK && status != Z_STREAM_END)
			ret = damaged(COMPRESSION_GZIP, z.total_in, err);
		else
			ret = put(out, chunk, OUT_CHUNK - z.avail_out, err);
	}
	(void)inflateEnd(&z); /* fails for a broken z only */
	return ret;
}

static int bunzip2(const uint8_t *in, size_t n, struct decompress_out *out, uint8_t *chunk,
		   struct error *err)
{
	/* The library reads through next_in only, its type just lacks the const. */
	bz_stream z = { .next_in = (char *)(uintptr_t)in, .avail_in = (unsigned)n };
	int ret = 0;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return no_memory(COMPRESSION_BZIP2, err);
	for (int status = BZ_OK; ret == 0 && status != BZ_STREAM_END;) {
		z.next_out = (char *)chunk;
		z.avail_out = OUT_CHUNK;
		status = BZ2_bzDecompress(&z);
		if (status == BZ_MEM_ERROR)
			ret = no_memory(COMPRESSION_BZIP2, err);
		else if (status != BZ_OK && status != BZ_STREAM_END)
			ret = damaged(COMPRESSION_BZIP2, n - z.avail_in, err);
		else if (status == BZ_OK && z.avail_in == 0 && z.avail_out != 0)
			ret = cut_short(COMPRESSION_BZIP2, n, err);
		else
			ret = put(out, chunk, OUT_CHUNK - z.avail_out, err);
	}
	(void)BZ2_bzDecompressEnd(&z);
	return ret;
}

static int unlzma(enum compression c, const uint8_t *in, size_t n, struct decompress_out *out,
		  uint8_t *chunk, struct error *err)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_ret status = c == COMPRESSION_XZ ? lzma_stream_decoder(&z, LZMA_MEMORY_MAX, 0)
					      : lzma_alone_decoder(&z, LZMA_MEMORY_MAX);
	int ret = 0;

	if (status != LZMA_OK)
		return no_memory(c, err);
	z.next_in = in;
	z.avail_in = n;
	while (ret == 0 && status != LZMA_STREAM_END) {
		z.next_out = chunk;
		z.avail_out = OUT_CHUNK;
		status = lzma_code(&z, LZMA_FINISH);
		if (status == LZMA_BUF_ERROR)
			ret = cut_short(c, n, err);
		else if (status == LZMA_MEM_ERROR)
			ret = no_memory(c, err);
		else if (status == LZMA_MEMLIMIT_ERROR)
			ret = error_set_usage(err, -EFBIG,
					      "its %s data needs more than %" PRIu64
					      " MiB to decompress",
					      compression_name(c), LZMA_MEMORY_MAX / MIB);
		else if (status != LZMA_OK && status != LZMA_STREAM_END)
			ret = damaged(c, z.total_in, err);
		else
			ret = put(out, chunk, OUT_CHUNK - z.avail_out, err);
	}
	lzma_end(&z);
	return ret;
}

static int unzstd(const uint8_t *in, size_t n, struct decompress_out *out, uint8_t *chunk,
		  struct error *err)
{
	ZSTD_DStream *z =
	    ZSTD_createDStream(); /* accepts windows up to 128 MiB, the most that kernels use */
	ZSTD_inBuffer src = { .src = in, .size = n };
	int ret = 0;

	if (!z)
		return no_memory(COMPRESSION_ZSTD, err);
	for (size_t status = 1; ret == 0 && status != 0;) {
		ZSTD_outBuffer dst = { .dst = chunk, .size = OUT_CHUNK };
		status = ZSTD_decompressStream(z, &dst, &src);
		if (ZSTD_isError(status))
			ret = damaged(COMPRESSION_ZSTD, src.pos, err);
		else if (status != 0 && src.pos == n && dst.pos < dst.size)
			ret = cut_short(COMPRESSION_ZSTD, n, err);
		else
			ret = put(out, chunk, dst.pos, err);
	}
	(void)ZSTD_freeDStream(z); /* cannot fail */
	return ret;
}

/* Blocks of (length, data), each at most 8 MiB unpacked, up to the end of the input. */
static int unlz4(const uint8_t *in, size_t n, struct decompress_out *out, struct error *err)
{
	CLEANUP(freep) uint8_t *block = xmalloc(LZ4_LEGACY_BLOCK);
	size_t at = LZ4_LEGACY_MAGIC_LEN;

	while (at < n) {
		uint32_t len;

		if (n - at < sizeof(len))
			return cut_short(COMPRESSION_LZ4, n, err);
		memcpy(&len, in + at, sizeof(len));
		at += sizeof(len);
		if (memcmp(&len, lz4_legacy_magic, sizeof(len)) == 0)
			continue; /* a further stream behind the first */
		if (len > LZ4_COMPRESSBOUND(LZ4_LEGACY_BLOCK))
			return damaged(COMPRESSION_LZ4, at - sizeof(len), err);
		if (len > n - at)
			return cut_short(COMPRESSION_LZ4, n, err);
		int got = LZ4_decompress_safe((const char *)in + at, (char *)block, (int)len,
					      LZ4_LEGACY_BLOCK);
		if (got < 0)
			return damaged(COMPRESSION_LZ4, at, err);
		int ret = put(out, block, (size_t)got, err);
		if (ret != 0)
			return ret;
		at += len;
	}
	return 0;
}

int decompress(enum compression c, const uint8_t *in, size_t n, struct decompress_out *out,
	       struct error *err)
{
	CLEANUP(freep) uint8_t *chunk = xmalloc(OUT_CHUNK);

	if (n > INT_MAX) /* the libraries count in ints */
		return error_set_usage(err, -EFBIG, "its %s data of %zu bytes is too large",
				       compression_name(c), n);
	out->len = 0;
	switch (c) {
	case COMPRESSION_GZIP:
		return gunzip(in, n, out, chunk, err);
	case COMPRESSION_BZIP2:
		return bunzip2(in, n, out, chunk, err);
	case COMPRESSION_LZMA:
	case COMPRESSION_XZ:
		return unlzma(c, in, n, out, chunk, err);
	case COMPRESSION_LZ4:
		return unlz4(in, n, out, err);
	case COMPRESSION_ZSTD:
		return unzstd(in, n, out, chunk, err);
	case COMPRESSION_NONE:
		break;
	}
	ASSERT(c != COMPRESSION_NONE);
	return error_set_text(err, -EINVAL, "no such compression");
}
