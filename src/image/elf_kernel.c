/*
 * A Linux vmlinux is linked at 0xffffffff81000000 and carries in p_paddr where each segment belongs
 * in physical memory; its e_entry is physical, too (the linker script takes LOAD_OFFSET off). A
 * micro-guest has vaddr == paddr. So addresses come from p_paddr and e_entry alone. A kernel built
 * to be relocated runs unrelocated at these addresses.
 */
#include "image/elf_kernel.h"

#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"
#include "image/kernel_release.h"
#include "image/linux_banner.h"

static_assert(sizeof(((struct kernel_image *)0)->release) == KERNEL_RELEASE_MAX, "one size");

enum {
	PHDRS_MAX = 64,
	NOTES_MAX = 64 * 1024,
	LINUX_NOTE_BUILD_SALT =
	    0x100, /* include/linux/elfnote-lto.h and build-salt.h: owner "Linux" */
};

/* Where x86_64 Linux is linked: the top 2 GiB. */
#define LINUX_TEXT_VADDR UINT64_C(0xffffffff80000000)

bool elf_kernel_is(const uint8_t *head, size_t n)
{
	return n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
}

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_386:
		return "i386";
	case EM_AARCH64:
		return "aarch64";
	case EM_ARM:
		return "arm";
	case EM_RISCV:
		return "riscv";
	case EM_S390:
		return "s390";
	case EM_PPC64:
		return "ppc64";
	default:
		return NULL;
	}
}

static int check_machine(const Elf64_Ehdr *ehdr, struct error *err)
{
	const char *name = machine_name(ehdr->e_machine);

	if (ehdr->e_machine == EM_X86_64 && ehdr->e_ident[EI_CLASS] == ELFCLASS64)
		return 0;
	if (ehdr->e_machine == EM_X86_64)
		return error_set_usage(err, -ENOEXEC, "a 32-bit (x32) ELF file, not a kernel");
	if (name)
		return error_set_usage(err, -ENOEXEC, "for %s, this build boots x86_64", name);
	return error_set_usage(err, -ENOEXEC, "for ELF machine %u, this build boots x86_64",
			       ehdr->e_machine);
}

static int read_ehdr(int fd, uint64_t file_len, Elf64_Ehdr *ret, struct error *err)
{
	if (file_len < EI_NIDENT)
		return error_set_usage(err, -ENOEXEC,
				       "truncated: has %" PRIu64 " bytes, needs at least %zu",
				       file_len, sizeof(*ret));
	/* e_machine is at the same place in the shorter header of a 32-bit file, so read what is
	 * there. */
	size_t n = (size_t)num_min(file_len, sizeof(*ret));
	*ret = (Elf64_Ehdr){ 0 };
	int r = fd_pread_exact(fd, ret, n, 0);
	if (r < 0)
		return error_set(err, r, "cannot read it");
	if (ret->e_ident[EI_DATA] == ELFDATA2MSB)
		return error_set_usage(err, -ENOEXEC,
				       "for a big-endian machine, this build boots x86_64");
	if (n < sizeof(*ret))
		return error_set_usage(err, -ENOEXEC,
				       "truncated: has %" PRIu64 " bytes, needs at least %zu",
				       file_len, sizeof(*ret));
	r = check_machine(ret, err);
	if (r < 0)
		return r;
	if (ret->e_type != ET_EXEC && ret->e_type != ET_DYN)
		return error_set_usage(err, -ENOEXEC,
				       "an ELF file of type %u (object or core), not a kernel",
				       ret->e_type);
	return 0;
}

static int read_phdrs(int fd, uint64_t file_len, const Elf64_Ehdr *ehdr, Elf64_Phdr *ret,
		      struct error *err)
{
	uint64_t len = (uint64_t)ehdr->e_phnum * sizeof(*ret);

	if (ehdr->e_phnum == 0)
		return error_set_usage(err, -ENOEXEC,
				       "an ELF file without program headers, not a kernel");
	if (ehdr->e_phentsize != sizeof(*ret) || ehdr->e_phnum > PHDRS_MAX)
		return error_set_usage(err, -ENOEXEC, "bad program headers: %u of %u bytes",
				       ehdr->e_phnum, ehdr->e_phentsize);
	if (ehdr->e_phoff > file_len || len > file_len - ehdr->e_phoff)
		return error_set_usage(err, -ENOEXEC,
				       "truncated: program headers at %" PRIu64 " need %" PRIu64
				       " bytes, the file has %" PRIu64,
				       ehdr->e_phoff, len, file_len);
	int r = fd_pread_exact(fd, ret, len, ehdr->e_phoff);
	return r < 0 ? error_set(err, r, "cannot read its program headers") : 0;
}

static int add_segment(struct kernel_image *image, const Elf64_Phdr *p, uint64_t file_len,
		       struct error *err)
{
	uint64_t end;
	uint64_t file_end;

	if (p->p_memsz == 0)
		return 0;
	if (p->p_filesz > p->p_memsz || !num_add_u64(p->p_paddr, p->p_memsz, &end) ||
	    !num_add_u64(p->p_offset, p->p_filesz, &file_end))
		return error_set_usage(err, -ENOEXEC,
				       "bad segment at 0x%" PRIx64 ": %" PRIu64
				       " bytes of file at 0x%" PRIx64 ", %" PRIu64 " of memory",
				       p->p_paddr, p->p_filesz, p->p_offset, p->p_memsz);
	if (file_end > file_len)
		return error_set_usage(err, -ENOEXEC,
				       "truncated: has %" PRIu64 " bytes, needs %" PRIu64, file_len,
				       file_end);
	for (size_t i = 0; i < image->n_segments; i++) {
		const struct kernel_segment *s = &image->segments[i];
		if (p->p_paddr < s->gpa + s->mem_len && s->gpa < end)
			return error_set_usage(err, -ENOEXEC,
					       "segments at 0x%" PRIx64 " and 0x%" PRIx64
					       " overlap in memory",
					       s->gpa, p->p_paddr);
	}
	if (image->n_segments == KERNEL_MAX_SEGMENTS)
		return error_set_usage(err, -ENOEXEC, "has more than %d segments",
				       KERNEL_MAX_SEGMENTS);
	image->segments[image->n_segments++] = (struct kernel_segment){
		.gpa = p->p_paddr,
		.file_offset = p->p_offset,
		.file_len = p->p_filesz,
		.mem_len = p->p_memsz,
	};
	image->end = num_max(image->end, end);
	return 0;
}

static int check_entry(const struct kernel_image *image, struct error *err)
{
	for (size_t i = 0; i < image->n_segments; i++) {
		const struct kernel_segment *s = &image->segments[i];
		if (image->entry >= s->gpa && image->entry - s->gpa < s->file_len)
			return 0;
	}
	return error_set_usage(err, -ENOEXEC, "its entry 0x%" PRIx64 " lies in no segment",
			       image->entry);
}

/* One note of owner "Linux" or "Xen"; @desc has @len bytes. */
static void take_note(struct kernel_image *image, const char *owner, uint32_t type,
		      const uint8_t *desc, size_t len)
{
	enum { XEN_GUEST_OS = 6 };

	if (strcmp(owner, "Linux") == 0) {
		image->is_linux = true;
		if (type == LINUX_NOTE_BUILD_SALT)
			kernel_release_parse((const char *)desc, len, image->release);
	}
	if (strcmp(owner, "Xen") == 0 && type == XEN_GUEST_OS && len >= 5 &&
	    memcmp(desc, "linux", 5) == 0)
		image->is_linux = true;
}

/* Damaged notes are skipped: they decide nothing that must hold. */
static void scan_notes(struct kernel_image *image, const uint8_t *p, size_t n)
{
	while (n >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		char owner[8] = { 0 };

		memcpy(&note, p, sizeof(note));
		p += sizeof(note);
		n -= sizeof(note);
		uint64_t name_len = num_align_up(note.n_namesz, 4);
		uint64_t desc_len = num_align_up(note.n_descsz, 4);
		if (name_len > n || note.n_descsz > n - name_len)
			return;
		memcpy(owner, p, (size_t)num_min(note.n_namesz, sizeof(owner) - 1));
		take_note(image, owner, note.n_type, p + name_len, note.n_descsz);
		size_t skip = (size_t)num_min(name_len + desc_len, n);
		p += skip;
		n -= skip;
	}
}

static int read_notes(int fd, uint64_t file_len, const Elf64_Phdr *p, struct kernel_image *image,
		      struct error *err)
{
	CLEANUP(buf_fini) struct buf notes = { 0 };

	if (p->p_filesz == 0 || p->p_filesz > NOTES_MAX || p->p_offset > file_len ||
	    p->p_filesz > file_len - p->p_offset)
		return 0;
	int r = fd_pread_exact(fd, buf_reserve(&notes, p->p_filesz), p->p_filesz, p->p_offset);
	if (r < 0)
		return error_set(err, r, "cannot read its notes");
	scan_notes(image, notes.data, p->p_filesz);
	return 0;
}

static int take_phdr(int fd, uint64_t file_len, const Elf64_Phdr *p, struct kernel_image *image,
		     struct error *err)
{
	switch (p->p_type) {
	case PT_LOAD:
		/* Linux before 4.19 has no note of its own. */
		if (p->p_vaddr >= LINUX_TEXT_VADDR)
			image->is_linux = true;
		return add_segment(image, p, file_len, err);
	case PT_NOTE:
		return read_notes(fd, file_len, p, image, err);
	case PT_INTERP:
		return error_set_usage(err, -ENOEXEC, "a dynamically linked program, not a kernel");
	default:
		return 0;
	}
}

int elf_kernel_parse(int fd, uint64_t file_len, struct kernel_image *ret, struct error *err)
{
	Elf64_Ehdr ehdr = { 0 };
	Elf64_Phdr phdrs[PHDRS_MAX];

	int r = read_ehdr(fd, file_len, &ehdr, err);
	if (r < 0)
		return r;
	r = read_phdrs(fd, file_len, &ehdr, phdrs, err);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < ehdr.e_phnum; i++) {
		r = take_phdr(fd, file_len, &phdrs[i], ret, err);
		if (r < 0)
			return r;
	}
	char banner[KERNEL_RELEASE_MAX] = "";
	if (ret->is_linux)
		linux_banner_read(fd, file_len, banner);
	if (banner[0])
		memcpy(ret->release, banner,
		       sizeof(banner)); /* the build salt is only mostly the same */
	ret->entry = ehdr.e_entry;
	return check_entry(ret, err);
}
