/*
 * .symtab where the file has one, else .dynsym. Read with pread in bounded pieces, never mapped: a
 * file that shrinks or lies costs a name and nothing else.
 */
#include "symbols.h"

#include <elf.h>
#include <string.h>
#include <unistd.h>

enum {
	HEADERS_MAX = 128,
	SYMBOLS_MAX = 1 << 20,
	SYMBOLS_CHUNK = 512,
};

static bool read_at(int fd, void *buf, size_t n, uint64_t offset)
{
	return offset <= INT64_MAX && pread(fd, buf, n, (off_t)offset) == (ssize_t)n;
}

static bool read_header(int fd, Elf64_Ehdr *ret)
{
	return read_at(fd, ret, sizeof(*ret), 0) && memcmp(ret->e_ident, ELFMAG, SELFMAG) == 0 &&
	       ret->e_ident[EI_CLASS] == ELFCLASS64;
}

/* Where the file's code at @file_offset is linked to. */
static bool to_vaddr(int fd, const Elf64_Ehdr *h, uint64_t file_offset, uint64_t *ret)
{
	for (size_t i = 0; i < h->e_phnum && i < HEADERS_MAX; i++) {
		Elf64_Phdr p;
		if (!read_at(fd, &p, sizeof(p), h->e_phoff + i * sizeof(p)))
			return false;
		if (p.p_type != PT_LOAD || !(p.p_flags & PF_X) || file_offset < p.p_offset ||
		    file_offset - p.p_offset >= p.p_filesz)
			continue;
		*ret = file_offset - p.p_offset + p.p_vaddr;
		return true;
	}
	return false;
}

static bool find_section(int fd, const Elf64_Ehdr *h, uint32_t type, Elf64_Shdr *ret,
			 Elf64_Shdr *ret_strings)
{
	for (size_t i = 0; i < h->e_shnum && i < HEADERS_MAX; i++) {
		if (!read_at(fd, ret, sizeof(*ret), h->e_shoff + i * sizeof(*ret)))
			return false;
		if (ret->sh_type != type)
			continue;
		return read_at(fd, ret_strings, sizeof(*ret_strings),
			       h->e_shoff + ret->sh_link * sizeof(*ret_strings));
	}
	return false;
}

/* The nearest function at or before @vaddr of one table. */
static bool search(int fd, const Elf64_Shdr *table, uint64_t vaddr, Elf64_Sym *ret)
{
	uint64_t n = table->sh_size / sizeof(Elf64_Sym);
	bool found = false;

	for (uint64_t i = 0; i < n && i < SYMBOLS_MAX;) {
		Elf64_Sym chunk[SYMBOLS_CHUNK];
		size_t count = n - i < SYMBOLS_CHUNK ? (size_t)(n - i) : SYMBOLS_CHUNK;
		if (!read_at(fd, chunk, count * sizeof(chunk[0]),
			     table->sh_offset + i * sizeof(chunk[0])))
			break;
		for (size_t k = 0; k < count; k++) {
			const Elf64_Sym *s = &chunk[k];
			unsigned type = ELF64_ST_TYPE(s->st_info);
			if ((type != STT_FUNC && type != STT_GNU_IFUNC) ||
			    s->st_shndx == SHN_UNDEF || s->st_value > vaddr ||
			    (found && s->st_value <= ret->st_value))
				continue;
			*ret = *s;
			found = true;
		}
		i += count;
	}
	/* Beyond its end is somebody else's code, who has no name here. */
	return found && (ret->st_size == 0 || vaddr - ret->st_value < ret->st_size);
}

static bool find_in(int fd, const Elf64_Ehdr *h, uint32_t type, uint64_t vaddr, struct symbol *ret)
{
	Elf64_Shdr table;
	Elf64_Shdr strings;
	Elf64_Sym symbol = { 0 };

	if (!find_section(fd, h, type, &table, &strings) || !search(fd, &table, vaddr, &symbol))
		return false;
	ssize_t n = pread(fd, ret->name, sizeof(ret->name) - 1,
			  (off_t)(strings.sh_offset + symbol.st_name));
	if (n <= 0)
		return false;
	ret->name[n] = '\0';
	ret->offset = vaddr - symbol.st_value;
	return ret->name[0] != '\0';
}

bool symbols_find(int fd, uint64_t file_offset, struct symbol *ret)
{
	Elf64_Ehdr h;
	uint64_t vaddr;

	if (!read_header(fd, &h) || !to_vaddr(fd, &h, file_offset, &vaddr))
		return false;
	return find_in(fd, &h, SHT_SYMTAB, vaddr, ret) || find_in(fd, &h, SHT_DYNSYM, vaddr, ret);
}
