/*
 * Only a name is at stake, so whatever is odd about the sections (none, too many, outside the file)
 * ends in an empty release, not in an error.
 */
#include "image/linux_banner.h"

#include <elf.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"

enum {
	SECTIONS_MAX = 512,
	NAMES_MAX = 32 * 1024,
	BANNER_WITHIN = 4096, /* of .rodata; seen at 128 to 416 */
};

static const char banner_start[] = "Linux version ";

/* @n bytes at @offset with a NUL behind them; NULL where the file does not have them. */
static char *read_part(int fd, uint64_t file_len, uint64_t offset, uint64_t n)
{
	if (n == 0 || offset > file_len || n > file_len - offset)
		return NULL;
	CLEANUP(freep) char *part = xmalloc(n + 1);
	part[n] = 0;
	return fd_pread_exact(fd, part, n, offset) < 0 ? NULL : TAKE_PTR(part);
}

/* The section called .rodata; false without. */
static bool find_rodata(int fd, uint64_t file_len, Elf64_Shdr *ret)
{
	Elf64_Ehdr ehdr;
	Elf64_Shdr names;

	if (file_len < sizeof(ehdr) || fd_pread_exact(fd, &ehdr, sizeof(ehdr), 0) < 0 ||
	    ehdr.e_shentsize != sizeof(*ret) || ehdr.e_shnum > SECTIONS_MAX ||
	    ehdr.e_shstrndx >= ehdr.e_shnum)
		return false;
	CLEANUP(freep)
	char *table = read_part(fd, file_len, ehdr.e_shoff, (uint64_t)ehdr.e_shnum * sizeof(*ret));
	if (!table)
		return false;
	memcpy(&names, table + (size_t)ehdr.e_shstrndx * sizeof(names), sizeof(names));
	if (names.sh_size > NAMES_MAX)
		return false;
	CLEANUP(freep) char *text = read_part(fd, file_len, names.sh_offset, names.sh_size);
	for (size_t i = 0; text && i < ehdr.e_shnum; i++) {
		memcpy(ret, table + i * sizeof(*ret), sizeof(*ret));
		if (ret->sh_name < names.sh_size && strcmp(text + ret->sh_name, ".rodata") == 0)
			return ret->sh_type == SHT_PROGBITS;
	}
	return false;
}

void linux_banner_read(int fd, uint64_t file_len, char ret[static KERNEL_RELEASE_MAX])
{
	Elf64_Shdr rodata;

	ret[0] = 0;
	if (!find_rodata(fd, file_len, &rodata))
		return;
	uint64_t n = num_min(rodata.sh_size, BANNER_WITHIN);
	CLEANUP(freep) char *part = read_part(fd, file_len, rodata.sh_offset, n);
	const char *at = part ? memmem(part, n, banner_start, strlen(banner_start)) : NULL;
	if (!at)
		return;
	at += strlen(banner_start);
	kernel_release_parse(at, (size_t)(part + n - at), ret);
}
