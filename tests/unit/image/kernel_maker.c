#include "kernel_maker.h"

#include <asm/bootparam.h>
#include <bzlib.h>
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <lz4.h>
#include <lz4hc.h>
#include <lzma.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "image/tree.h"

enum { SEGMENT_LEN = 80 * 1024 };

/* Neither constant nor random, and full of x86 calls, which the branch filter of xz rewrites. */
static void add_code(struct buf *b, size_t n)
{
	uint32_t x = 12345;

	while (n >= 8) {
		x = x * 1664525 + 1013904223;
		uint8_t code[8] = { 0xe8, (uint8_t)(x >> 8), (uint8_t)(x >> 20), 0, 0, 0x90,
				    0x55, (uint8_t)(x >> 28) };
		buf_append(b, code, sizeof(code));
		n -= 8;
	}
	buf_append_zeros(b, n);
}

static void add_note(struct buf *b, const char *owner, uint32_t type, const void *desc,
		     uint32_t len)
{
	Elf64_Nhdr note = { .n_namesz = (uint32_t)strlen(owner) + 1,
			    .n_descsz = len,
			    .n_type = type };

	buf_append(b, &note, sizeof(note));
	buf_append(b, owner, note.n_namesz);
	buf_append_zeros(b, -b->len & 3);
	buf_append(b, desc, len);
	buf_append_zeros(b, -b->len & 3);
}

static void add_headers(struct buf *b, uint64_t vaddr, uint64_t paddr, uint64_t note_len)
{
	Elf64_Ehdr ehdr = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = paddr + 0x10,
		.e_phoff = MAKER_PHDR_OFFSET,
		.e_ehsize = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	Elf64_Phdr load = {
		.p_type = PT_LOAD,
		.p_offset = MAKER_SEGMENT_OFFSET,
		.p_vaddr = vaddr,
		.p_paddr = paddr,
		.p_filesz = SEGMENT_LEN,
		.p_memsz = SEGMENT_LEN + 8192,
	};
	Elf64_Phdr note = { .p_type = PT_NOTE, .p_offset = 512, .p_filesz = note_len };

	buf_append(b, &ehdr, sizeof(ehdr));
	buf_append(b, &load, sizeof(load));
	buf_append(b, &note, sizeof(note));
}

static void add_elf(struct buf *ret, uint64_t vaddr, uint64_t paddr, const struct buf *notes)
{
	add_headers(ret, vaddr, paddr, notes->len);
	buf_append_zeros(ret, 512 - ret->len);
	buf_append(ret, notes->data, notes->len);
	buf_append_zeros(ret, MAKER_SEGMENT_OFFSET - ret->len);
	add_code(ret, SEGMENT_LEN);
}

void maker_elf(struct buf *ret)
{
	CLEANUP(buf_fini) struct buf notes = { 0 };

	add_note(&notes, "GNU", 3, "12345678901234567890", 20);
	add_note(&notes, "Linux", 0x100, "6.6.6-test", 11);
	add_elf(ret, 0xffffffff81000000, MAKER_GPA, &notes);
}

void maker_micro_guest(struct buf *ret)
{
	const struct buf none = { 0 };

	add_elf(ret, 0x100000, 0x100000, &none);
}

static void gzip(const struct buf *in, struct buf *ret)
{
	z_stream z = { .next_in = in->data, .avail_in = (uInt)in->len };

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	size_t room = deflateBound(&z, in->len);
	z.next_out = buf_reserve(ret, room);
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	ret->len += z.total_out;
	deflateEnd(&z);
}

static void bzip2(const struct buf *in, struct buf *ret)
{
	unsigned n = (unsigned)in->len + in->len / 100 + 600;

	assert_int_equal(BZ2_bzBuffToBuffCompress((char *)buf_reserve(ret, n), &n, (char *)in->data,
						  (unsigned)in->len, 9, 0, 0),
			 BZ_OK);
	ret->len += n;
}

static void lzma_any(enum compression c, const struct buf *in, struct buf *ret)
{
	lzma_options_lzma options;
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_filter filters[] = {
		{ .id = LZMA_FILTER_X86 },
		{ .id = LZMA_FILTER_LZMA2, .options = &options },
		{ .id = LZMA_VLI_UNKNOWN },
	};
	size_t room = in->len + 65536;

	assert_false(lzma_lzma_preset(&options, 0));
	if (c == COMPRESSION_XZ)
		assert_int_equal(lzma_stream_encoder(&z, filters, LZMA_CHECK_CRC32), LZMA_OK);
	else
		assert_int_equal(lzma_alone_encoder(&z, &options), LZMA_OK);
	z.next_in = in->data;
	z.avail_in = in->len;
	z.next_out = buf_reserve(ret, room);
	z.avail_out = room;
	assert_int_equal(lzma_code(&z, LZMA_FINISH), LZMA_STREAM_END);
	ret->len += z.total_out;
	lzma_end(&z);
}

static void lz4_legacy(const struct buf *in, struct buf *ret)
{
	enum { BLOCK = 8 << 20 };
	const uint8_t magic[4] = { 0x02, 0x21, 0x4c, 0x18 };

	buf_append(ret, magic, sizeof(magic));
	for (size_t at = 0; at < in->len;) {
		int n = in->len - at < BLOCK ? (int)(in->len - at) : BLOCK;
		CLEANUP(buf_fini) struct buf block = { 0 };
		int room = LZ4_compressBound(n);
		int got = LZ4_compress_HC((char *)in->data + at,
					  (char *)buf_reserve(&block, (size_t)room), n, room, 9);
		assert_true(got > 0);
		uint32_t len = (uint32_t)got;
		buf_append(ret, &len, sizeof(len));
		buf_append(ret, block.data, len);
		at += (size_t)n;
	}
}

static void zstd(const struct buf *in, struct buf *ret)
{
	size_t room = ZSTD_compressBound(in->len);
	size_t n = ZSTD_compress(buf_reserve(ret, room), room, in->data, in->len, 9);

	assert_false(ZSTD_isError(n));
	ret->len += n;
}

void maker_compress(enum compression c, const struct buf *in, struct buf *ret)
{
	switch (c) {
	case COMPRESSION_NONE:
		buf_append(ret, in->data, in->len);
		break;
	case COMPRESSION_GZIP:
		gzip(in, ret);
		break;
	case COMPRESSION_BZIP2:
		bzip2(in, ret);
		break;
	case COMPRESSION_LZMA:
	case COMPRESSION_XZ:
		lzma_any(c, in, ret);
		break;
	case COMPRESSION_LZ4:
		lz4_legacy(in, ret);
		break;
	case COMPRESSION_ZSTD:
		zstd(in, ret);
		break;
	}
}

void maker_payload(enum compression c, const struct buf *in, struct buf *ret)
{
	uint32_t len = (uint32_t)in->len;

	maker_compress(c, in, ret);
	if (c != COMPRESSION_GZIP)
		buf_append(ret, &len, sizeof(len));
}

void maker_bzimage(const struct buf *payload, struct buf *ret)
{
	static const char version[] = "6.6.6-test (builder@example) #1 SMP";
	uint64_t protected_len = (MAKER_PAYLOAD_OFFSET + payload->len + 15) / 16 * 16;
	struct setup_header h = {
		.setup_sects = MAKER_PROTECTED_OFFSET / 512 - 1,
		.syssize = (uint32_t)(protected_len / 16),
		.boot_flag = 0xaa55,
		.jump = (uint16_t)(0xeb | ((0x1f1 + sizeof(h) - 0x202) << 8)),
		.header = 0x53726448, /* "HdrS" */
		.version = 0x20f,
		.kernel_version = 0x300,
		.loadflags = LOADED_HIGH,
		.xloadflags = XLF_KERNEL_64,
		.payload_offset = MAKER_PAYLOAD_OFFSET,
		.payload_length = (uint32_t)payload->len,
		.pref_address = MAKER_GPA,
		.init_size = 0x2000000,
	};

	buf_append_zeros(ret, 0x1f1);
	buf_append(ret, &h, sizeof(h));
	buf_append_zeros(ret, 0x500 - ret->len);
	buf_append(ret, version, sizeof(version));
	buf_append_zeros(ret, MAKER_PROTECTED_OFFSET + MAKER_PAYLOAD_OFFSET - ret->len);
	buf_append(ret, payload->data, payload->len);
	buf_append_zeros(ret, MAKER_PROTECTED_OFFSET + protected_len - ret->len);
}

char *maker_dir(void)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = xasprintf("%s/ktstr-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");

	assert_non_null(mkdtemp(dir));
	return dir;
}

void maker_dir_remove(char *dir)
{
	assert_int_equal(tree_remove(dir), 0);
	free(dir);
}

void maker_write(const char *path, const void *data, size_t n)
{
	CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, data, n), 0);
}

void maker_settle(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = 130000000 }, NULL);
}

size_t maker_count(const char *dir, const char *suffix)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	if (!d)
		return 0;
	for (struct dirent *de; (de = readdir(d));) {
		size_t len = strlen(de->d_name);
		n += len >= strlen(suffix) &&
		     strcmp(de->d_name + len - strlen(suffix), suffix) == 0 &&
		     strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
	}
	(void)closedir(d);
	return n;
}
