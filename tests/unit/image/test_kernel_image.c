#include "image/kernel_image.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "kernel_maker.h"

static const enum compression all[] = { COMPRESSION_GZIP, COMPRESSION_BZIP2, COMPRESSION_LZMA,
					COMPRESSION_XZ,   COMPRESSION_LZ4,   COMPRESSION_ZSTD };

/* A folder per test: "kernel" is the file, "cache" the cache. */
struct fixture {
	char *dir;
	char *kernel;
	char *cache;
	struct kernel_image image;
	struct error err;
};

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->dir = maker_dir();
	f->kernel = xasprintf("%s/kernel", f->dir);
	f->cache = xasprintf("%s/cache", f->dir);
	f->image = KERNEL_IMAGE_INIT;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	kernel_image_fini(&f->image);
	maker_dir_remove(f->dir);
	free(f->kernel);
	free(f->cache);
	free(f);
	return 0;
}

static int open_kernel(struct fixture *f, bool as_is)
{
	const struct kernel_image_config config = { .path = f->kernel,
						    .cache_dir = f->cache,
						    .as_is = as_is };

	kernel_image_fini(&f->image);
	f->err = (struct error){ 0 };
	return kernel_image_open(&config, &f->image, &f->err);
}

static int open_bytes(struct fixture *f, const struct buf *b)
{
	maker_write(f->kernel, b->data, b->len);
	return open_kernel(f, false);
}

/* A usage error that names the file and says @what, and nothing left in the cache. */
static void assert_refused(struct fixture *f, int r, const char *what)
{
	assert_true(r < 0);
	assert_int_equal(f->err.code, r);
	assert_int_equal(f->err.class, ERROR_USAGE);
	assert_non_null(strstr(f->err.text, f->kernel));
	if (!strstr(f->err.text, what))
		fail_msg("'%s' does not say '%s'", f->err.text, what);
	assert_int_equal(f->image.fd, -1);
	CLEANUP(freep) char *vmlinux = xasprintf("%s/vmlinux", f->cache);
	assert_int_equal(maker_count(vmlinux, ".elf"), 0);
	assert_int_equal(maker_count(vmlinux, "") - maker_count(vmlinux, "lock") -
			     maker_count(vmlinux, "by-file"),
			 0);
}

static void assert_test_elf(const struct kernel_image *image, const struct buf *elf)
{
	CLEANUP(freep) uint8_t *got = xmalloc(elf->len);

	assert_int_equal(image->kind, KERNEL_ELF);
	assert_int_equal(image->n_segments, 1);
	assert_int_equal(image->segments[0].gpa, MAKER_GPA);
	assert_int_equal(image->segments[0].file_offset, MAKER_SEGMENT_OFFSET);
	assert_int_equal(image->segments[0].file_len, elf->len - MAKER_SEGMENT_OFFSET);
	assert_int_equal(image->segments[0].mem_len, image->segments[0].file_len + 8192);
	assert_int_equal(image->entry, MAKER_ENTRY);
	assert_int_equal(image->end, MAKER_GPA + image->segments[0].mem_len);
	assert_true(image->is_linux);
	assert_string_equal(image->release, "6.6.6-test");
	assert_int_equal(image->setup_header_len, 0);
	assert_int_equal(fd_pread_exact(image->fd, got, elf->len, 0), 0);
	assert_memory_equal(got, elf->data, elf->len);
}

static void make_bzimage_of(enum compression c, const struct buf *content, struct buf *ret)
{
	CLEANUP(buf_fini) struct buf payload = { 0 };

	maker_payload(c, content, &payload);
	maker_bzimage(&payload, ret);
}

static void test_open_bzimage_of_every_compression_gives_its_vmlinux(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };

	maker_elf(&elf);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_fini) struct buf bz = { 0 };
		make_bzimage_of(all[i], &elf, &bz);
		assert_int_equal(open_bytes(f, &bz), 0);
		assert_test_elf(&f->image, &elf);
	}
}

static void test_open_compressed_vmlinux_of_every_compression_gives_it(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };

	maker_elf(&elf);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_fini) struct buf packed = { 0 };
		maker_compress(all[i], &elf, &packed);
		assert_int_equal(open_bytes(f, &packed), 0);
		assert_test_elf(&f->image, &elf);
	}
}

static void test_open_vmlinux_is_linux(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };

	maker_elf(&elf);
	assert_int_equal(open_bytes(f, &elf), 0);
	assert_test_elf(&f->image, &elf);
	assert_int_not_equal(access(f->cache, F_OK), 0); /* nothing to decompress: no cache made */
}

static void test_open_micro_guest_is_not_linux(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };

	maker_micro_guest(&elf);
	assert_int_equal(open_bytes(f, &elf), 0);
	assert_false(f->image.is_linux);
	assert_int_equal(f->image.entry, 0x100010);
	assert_string_equal(f->image.release, "");
}

static void assert_as_is(const struct fixture *f, const struct buf *bz)
{
	assert_int_equal(f->image.kind, KERNEL_BZIMAGE);
	assert_int_equal(f->image.n_segments, 1);
	assert_int_equal(f->image.segments[0].gpa, 0x100000);
	assert_int_equal(f->image.segments[0].file_offset, MAKER_PROTECTED_OFFSET);
	assert_int_equal(f->image.segments[0].file_len, bz->len - MAKER_PROTECTED_OFFSET);
	assert_int_equal(f->image.segments[0].mem_len, bz->len - MAKER_PROTECTED_OFFSET);
	assert_int_equal(f->image.entry, 0x100200);
	assert_int_equal(f->image.end, MAKER_GPA + 0x2000000);
	assert_true(f->image.is_linux);
	assert_string_equal(f->image.release, "6.6.6-test");
	assert_int_equal(f->image.setup_header_len, sizeof(struct setup_header));
	assert_memory_equal(f->image.setup_header, bz->data + 0x1f1, sizeof(struct setup_header));
	assert_int_not_equal(access(f->cache, F_OK), 0);
}

static void test_open_as_is_decompresses_nothing(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };
	CLEANUP(buf_fini) struct buf bz = { 0 };

	maker_elf(&elf);
	make_bzimage_of(COMPRESSION_ZSTD, &elf, &bz);
	maker_write(f->kernel, bz.data, bz.len);
	assert_int_equal(open_kernel(f, true), 0);
	assert_as_is(f, &bz);
}

static void test_open_unknown_compression_boots_as_is(void **state)
{
	static const char lzo[64] = "\x89LZO\x00\x0d\x0a";
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf payload = { 0 };
	CLEANUP(buf_fini) struct buf bz = { 0 };

	buf_append(&payload, lzo, sizeof(lzo));
	maker_bzimage(&payload, &bz);
	assert_int_equal(open_bytes(f, &bz), 0);
	assert_as_is(f, &bz);
}

static void test_open_without_payload_boots_as_is(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf payload = { 0 };
	CLEANUP(buf_fini) struct buf bz = { 0 };

	buf_append_zeros(&payload, 3);
	maker_bzimage(&payload, &bz);
	assert_int_equal(open_bytes(f, &bz), 0);
	assert_as_is(f, &bz);
}

static void test_open_payload_that_is_no_elf_boots_as_is_and_caches_nothing(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_fini) struct buf content = { 0 };
		CLEANUP(buf_fini) struct buf bz = { 0 };
		CLEANUP(freep) char *vmlinux = xasprintf("%s/vmlinux", f->cache);
		buf_append_zeros(&content, 100000);
		make_bzimage_of(all[i], &content, &bz);
		assert_int_equal(open_bytes(f, &bz), 0);
		assert_int_equal(f->image.kind, KERNEL_BZIMAGE);
		assert_int_equal(maker_count(vmlinux, ".elf"), 0);
		assert_int_equal(maker_count(vmlinux, ""), 2); /* lock, by-file */
	}
}

static void test_open_payload_for_another_machine_boots_as_is(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };
	CLEANUP(buf_fini) struct buf bz = { 0 };

	maker_elf(&elf);
	elf.data[offsetof(Elf64_Ehdr, e_machine)] = EM_AARCH64;
	make_bzimage_of(COMPRESSION_LZ4, &elf, &bz);
	assert_int_equal(open_bytes(f, &bz), 0);
	assert_int_equal(f->image.kind, KERNEL_BZIMAGE);
}

/* In the middle for formats with a checksum, else where it breaks the structure. */
static size_t weak_spot(enum compression c, const struct buf *bz)
{
	bool has_checksum = c == COMPRESSION_GZIP || c == COMPRESSION_BZIP2 || c == COMPRESSION_XZ;

	return has_checksum ? bz->len / 2 : MAKER_PROTECTED_OFFSET + MAKER_PAYLOAD_OFFSET + 4;
}

static void test_open_damaged_payload_is_refused(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };

	maker_elf(&elf);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		CLEANUP(buf_fini) struct buf bz = { 0 };
		make_bzimage_of(all[i], &elf, &bz);
		memset(bz.data + weak_spot(all[i], &bz), 0xff, 8);
		assert_refused(f, open_bytes(f, &bz), compression_name(all[i]));
	}
}

static void test_open_payload_of_another_size_than_it_says_is_refused(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };
	CLEANUP(buf_fini) struct buf payload = { 0 };
	CLEANUP(buf_fini) struct buf bz = { 0 };

	maker_elf(&elf);
	maker_payload(COMPRESSION_LZ4, &elf, &payload);
	payload.data[payload.len - 4] ^= 1;
	maker_bzimage(&payload, &bz);
	assert_refused(f, open_bytes(f, &bz), "says");
}

/* Every cut, in the header byte by byte, is refused with both sizes; none is taken for a kernel. */
static void test_open_cut_bzimage_is_refused(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };
	CLEANUP(buf_fini) struct buf bz = { 0 };

	maker_elf(&elf);
	make_bzimage_of(COMPRESSION_GZIP, &elf, &bz);
	maker_write(f->kernel, bz.data, bz.len);
	for (size_t n = bz.len - 1; n > 0; n -= n > 0x280 ? (n + 30) / 31 : 1) {
		assert_int_equal(truncate(f->kernel, (off_t)n), 0);
		int r = open_kernel(f, false);
		assert_refused(f, r, n >= 0x206 ? "truncated: has " : "not a kernel");
	}
}

static void test_open_cut_vmlinux_is_refused(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };

	maker_elf(&elf);
	maker_write(f->kernel, elf.data, elf.len);
	for (size_t n = elf.len - 1; n > 0; n -= n > 600 ? (n + 30) / 31 : 1) {
		assert_int_equal(truncate(f->kernel, (off_t)n), 0);
		assert_refused(f, open_kernel(f, false), n >= 4 ? "truncated" : "not a kernel");
	}
}

static void test_open_bad_bzimage_header_is_refused(void **state)
{
	static const struct {
		size_t offset;
		uint8_t value;
		const char *what;
	} table[] = {
		{ offsetof(struct setup_header, version), 0x05, "boot protocol 2.05" },
		{ offsetof(struct setup_header, xloadflags), 0, "i386" },
		{ offsetof(struct setup_header, loadflags), 0, "zImage" },
		{ offsetof(struct setup_header, payload_offset) + 3, 0xff, "bad header" },
		{ offsetof(struct setup_header, payload_length) + 3, 0xff, "bad header" },
		{ offsetof(struct setup_header, syssize) + 3, 0xff, "truncated" },
		{ offsetof(struct setup_header, syssize) + 3, 0, "bad header" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		CLEANUP(buf_fini) struct buf elf = { 0 };
		CLEANUP(buf_fini) struct buf bz = { 0 };
		maker_elf(&elf);
		make_bzimage_of(COMPRESSION_GZIP, &elf, &bz);
		if (i == ARRAY_SIZE(table) - 1)
			memset(bz.data + 0x1f4, 0x02, 2); /* a part too short for its payload */
		bz.data[0x1f1 + table[i].offset] = table[i].value;
		assert_refused(f, open_bytes(f, &bz), table[i].what);
	}
}

static Elf64_Ehdr *ehdr_of(struct buf *b)
{
	return (Elf64_Ehdr *)(void *)b->data;
}

static Elf64_Phdr *phdr_of(struct buf *b)
{
	return (Elf64_Phdr *)(void *)(b->data + MAKER_PHDR_OFFSET);
}

static void break_machine(struct buf *b)
{
	ehdr_of(b)->e_machine = EM_AARCH64;
}

static void break_class(struct buf *b)
{
	ehdr_of(b)->e_machine = EM_386;
	ehdr_of(b)->e_ident[EI_CLASS] = ELFCLASS32;
}

static void break_x32(struct buf *b)
{
	ehdr_of(b)->e_ident[EI_CLASS] = ELFCLASS32;
}

static void break_endian(struct buf *b)
{
	ehdr_of(b)->e_ident[EI_DATA] = ELFDATA2MSB;
}

static void break_unknown_machine(struct buf *b)
{
	ehdr_of(b)->e_machine = 4711;
}

static void break_type(struct buf *b)
{
	ehdr_of(b)->e_type = ET_REL;
}

static void break_no_phdrs(struct buf *b)
{
	ehdr_of(b)->e_phnum = 0;
}

static void break_many_phdrs(struct buf *b)
{
	ehdr_of(b)->e_phnum = 0xffff;
}

static void break_phentsize(struct buf *b)
{
	ehdr_of(b)->e_phentsize = 32;
}

static void break_phoff(struct buf *b)
{
	ehdr_of(b)->e_phoff = UINT64_MAX - 8;
}

static void break_filesz(struct buf *b)
{
	phdr_of(b)->p_filesz = phdr_of(b)->p_memsz + 1;
}

static void break_offset(struct buf *b)
{
	phdr_of(b)->p_offset = UINT64_MAX;
}

static void break_paddr(struct buf *b)
{
	phdr_of(b)->p_paddr = UINT64_MAX - 4096;
}

static void break_entry(struct buf *b)
{
	ehdr_of(b)->e_entry = MAKER_GPA - 1;
}

static void break_entry_in_bss(struct buf *b)
{
	ehdr_of(b)->e_entry = MAKER_GPA + phdr_of(b)->p_filesz;
}

static void break_overlap(struct buf *b)
{
	phdr_of(b)[1] = phdr_of(b)[0];
	phdr_of(b)[1].p_paddr += phdr_of(b)[0].p_memsz - 1;
}

static void break_interp(struct buf *b)
{
	phdr_of(b)[1].p_type = PT_INTERP;
}

static void break_many_segments(struct buf *b)
{
	ehdr_of(b)->e_phnum = KERNEL_MAX_SEGMENTS + 1;
	for (int i = 0; i <= KERNEL_MAX_SEGMENTS; i++) {
		phdr_of(b)[i] = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_offset = MAKER_SEGMENT_OFFSET,
			.p_paddr = MAKER_GPA + (uint64_t)i * 4096,
			.p_filesz = 4096,
			.p_memsz = 4096,
		};
	}
}

static void test_open_bad_elf_is_refused(void **state)
{
	static const struct {
		void (*damage)(struct buf *b);
		const char *what;
	} table[] = {
		{ break_machine, "for aarch64, this build boots x86_64" },
		{ break_class, "for i386, this build boots x86_64" },
		{ break_x32, "32-bit" },
		{ break_endian, "big-endian" },
		{ break_unknown_machine, "machine 4711" },
		{ break_type, "type 1" },
		{ break_no_phdrs, "without program headers" },
		{ break_many_phdrs, "bad program headers" },
		{ break_phentsize, "bad program headers" },
		{ break_phoff, "truncated" },
		{ break_filesz, "bad segment" },
		{ break_offset, "bad segment" },
		{ break_paddr, "bad segment" },
		{ break_entry, "lies in no segment" },
		{ break_entry_in_bss, "lies in no segment" },
		{ break_overlap, "overlap" },
		{ break_interp, "dynamically linked program" },
		{ break_many_segments, "more than 16 segments" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		CLEANUP(buf_fini) struct buf elf = { 0 };
		maker_elf(&elf);
		table[i].damage(&elf);
		assert_refused(f, open_bytes(f, &elf), table[i].what);
	}
}

static void test_open_most_segments_and_touching_ones_are_fine(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };

	maker_elf(&elf);
	break_many_segments(&elf);
	ehdr_of(&elf)->e_phnum = KERNEL_MAX_SEGMENTS;
	assert_int_equal(open_bytes(f, &elf), 0);
	assert_int_equal(f->image.n_segments, KERNEL_MAX_SEGMENTS);
	assert_int_equal(f->image.end, MAKER_GPA + KERNEL_MAX_SEGMENTS * 4096);
}

static void test_open_damaged_notes_are_passed_over(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };

	maker_micro_guest(&elf);
	phdr_of(&elf)[1].p_filesz = 64;
	memset(elf.data + 512, 0xff, 64);
	assert_int_equal(open_bytes(f, &elf), 0);
	assert_false(f->image.is_linux);
	phdr_of(&elf)[1].p_offset = UINT64_MAX;
	assert_int_equal(open_bytes(f, &elf), 0);
}

/* Appends .rodata (@content), its name table and three section headers. */
static void add_sections(struct buf *b, const char *content)
{
	static const char names[] = "\0.rodata\0.shstrtab";
	Elf64_Shdr sections[3] = {
		{ 0 },
		{ .sh_name = 1,
		  .sh_type = SHT_PROGBITS,
		  .sh_offset = b->len,
		  .sh_size = strlen(content) },
		{ .sh_name = 9, .sh_type = SHT_STRTAB, .sh_size = sizeof(names) },
	};

	buf_append_str(b, content);
	sections[2].sh_offset = b->len;
	buf_append(b, names, sizeof(names));
	buf_append_zeros(b, -b->len % sizeof(uint64_t)); /* as linkers align the table */
	ehdr_of(b)->e_shoff = b->len;
	ehdr_of(b)->e_shentsize = sizeof(sections[0]);
	ehdr_of(b)->e_shnum = 3;
	ehdr_of(b)->e_shstrndx = 2;
	buf_append(b, sections, sizeof(sections));
}

static void test_open_vmlinux_takes_the_release_of_its_banner(void **state)
{
	static const struct {
		const char *rodata;
		const char *release;
	} table[] = {
		{ "junk\nLinux version 6.9.1-mine (me@host) #1", "6.9.1-mine" },
		{ "Linux version ../x (me@host)", "6.6.6-test" }, /* the build salt */
		{ "nothing of the kind", "6.6.6-test" },
		{ "Linux version 6.9.1", "6.9.1" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		CLEANUP(buf_fini) struct buf elf = { 0 };
		maker_elf(&elf);
		add_sections(&elf, table[i].rodata);
		assert_int_equal(open_bytes(f, &elf), 0);
		assert_string_equal(f->image.release, table[i].release);
	}
}

static void test_open_bad_sections_only_lose_the_release(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 6; i++) {
		CLEANUP(buf_fini) struct buf elf = { 0 };
		maker_elf(&elf);
		add_sections(&elf, "Linux version 6.9.1 (x)");
		Elf64_Ehdr *ehdr = ehdr_of(&elf);
		Elf64_Shdr *sections = (Elf64_Shdr *)(void *)(elf.data + ehdr->e_shoff);
		switch (i) {
		case 0:
			ehdr->e_shoff = UINT64_MAX - 16;
			break;
		case 1:
			ehdr->e_shnum = 0xffff;
			break;
		case 2:
			ehdr->e_shstrndx = 3;
			break;
		case 3:
			sections[2].sh_size = UINT64_MAX;
			break;
		case 4:
			sections[1].sh_offset = UINT64_MAX;
			break;
		default:
			sections[1].sh_name = UINT32_MAX;
		}
		assert_int_equal(open_bytes(f, &elf), 0);
		assert_string_equal(f->image.release, "6.6.6-test");
	}
}

static void test_has_driver_looks_for_both_spellings(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_fini) struct buf elf = { 0 };

	maker_elf(&elf);
	buf_append_str(&elf, "virtio-mmio virtio_console");
	assert_int_equal(open_bytes(f, &elf), 0);
	assert_true(kernel_image_has_driver(&f->image, "virtio_mmio"));
	assert_true(kernel_image_has_driver(&f->image, "virtio_console"));
	assert_false(kernel_image_has_driver(&f->image, "virtio_blk"));
}

static void test_open_foreign_files_are_named(void **state)
{
	static const struct {
		size_t offset;
		const char *magic;
		const char *what;
	} table[] = {
		{ 0x38, "ARM\x64", "Image for aarch64, this build boots x86_64" },
		{ 0x30, "RISCV", "Image for riscv" },
		{ 0, "MZ\x01\x01zimg", "EFI zboot" },
		{ 0, "\x27\x05\x19\x56", "U-Boot" },
		{ 0, "#!/b", "starts with 23 21 2f 62" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		CLEANUP(buf_fini) struct buf image = { 0 };
		CLEANUP(buf_fini) struct buf packed = { 0 };
		buf_append_zeros(&image, 4096);
		memcpy(image.data + table[i].offset, table[i].magic, strlen(table[i].magic));
		assert_refused(f, open_bytes(f, &image), table[i].what);
		maker_compress(COMPRESSION_GZIP, &image, &packed);
		assert_refused(f, open_bytes(f, &packed), table[i].what);
		assert_non_null(strstr(f->err.text, "gzip of"));
	}
}

static void test_open_what_is_no_file_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_refused(f, open_kernel(f, false), "No such file");
	assert_int_equal(mkdir(f->kernel, 0755), 0);
	assert_refused(f, open_kernel(f, false), "a directory");
	assert_int_equal(rmdir(f->kernel), 0);
	assert_int_equal(mkfifo(f->kernel, 0644), 0);
	assert_refused(f, open_kernel(f, false), "a FIFO");
	assert_int_equal(unlink(f->kernel), 0);
	assert_int_equal(symlink("/dev/null", f->kernel), 0);
	assert_refused(f, open_kernel(f, false), "a device");
	assert_int_equal(unlink(f->kernel), 0);
	maker_write(f->kernel, "", 0);
	assert_refused(f, open_kernel(f, false), "empty");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_open_bzimage_of_every_compression_gives_its_vmlinux),
		T(test_open_compressed_vmlinux_of_every_compression_gives_it),
		T(test_open_vmlinux_is_linux),
		T(test_open_micro_guest_is_not_linux),
		T(test_open_as_is_decompresses_nothing),
		T(test_open_unknown_compression_boots_as_is),
		T(test_open_without_payload_boots_as_is),
		T(test_open_payload_that_is_no_elf_boots_as_is_and_caches_nothing),
		T(test_open_payload_for_another_machine_boots_as_is),
		T(test_open_damaged_payload_is_refused),
		T(test_open_payload_of_another_size_than_it_says_is_refused),
		T(test_open_cut_bzimage_is_refused),
		T(test_open_cut_vmlinux_is_refused),
		T(test_open_bad_bzimage_header_is_refused),
		T(test_open_bad_elf_is_refused),
		T(test_open_most_segments_and_touching_ones_are_fine),
		T(test_open_damaged_notes_are_passed_over),
		T(test_open_vmlinux_takes_the_release_of_its_banner),
		T(test_open_bad_sections_only_lose_the_release),
		T(test_has_driver_looks_for_both_spellings),
		T(test_open_foreign_files_are_named),
		T(test_open_what_is_no_file_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
