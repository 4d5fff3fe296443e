#include "image/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <limits.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"

void elf_file_fini(struct elf_file *f)
{
	freep(&f->interp);
	freep(&f->soname);
	freep(&f->rpath);
	freep(&f->runpath);
	for (size_t i = 0; i < f->n_needed; i++)
		freep(&f->needed[i]);
	freep(&f->needed);
	f->n_needed = 0;
}

static void elf_endp(Elf **elf)
{
	(void)elf_end(*elf); /* counts references; there is one */
}

/* The file offset of address @vaddr; false where no segment of the file holds it. */
static bool find_offset(Elf *elf, uint64_t vaddr, uint64_t *ret)
{
	size_t n = 0;
	GElf_Phdr ph;

	if (elf_getphdrnum(elf, &n) < 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!gelf_getphdr(elf, (int)i, &ph) || ph.p_type != PT_LOAD)
			continue;
		if (vaddr >= ph.p_vaddr && vaddr - ph.p_vaddr < ph.p_filesz) {
			*ret = ph.p_offset + (vaddr - ph.p_vaddr);
			return true;
		}
	}
	return false;
}

/* The string that starts at @offset of a table, which must end in it; NULL else. */
static char *copy_text(const Elf_Data *table, uint64_t offset)
{
	if (offset >= table->d_size)
		return NULL;
	const char *p = (const char *)table->d_buf + offset;
	return memchr(p, 0, table->d_size - offset) ? xstrdup(p) : NULL;
}

/* DT_STRTAB and DT_STRSZ. */
static Elf_Data *find_strings(Elf *elf, Elf_Data *dynamic, size_t n_dyn)
{
	uint64_t vaddr = 0, size = 0, offset;
	GElf_Dyn dyn;

	for (size_t i = 0; i < n_dyn && gelf_getdyn(dynamic, (int)i, &dyn); i++) {
		if (dyn.d_tag == DT_NULL)
			break;
		if (dyn.d_tag == DT_STRTAB)
			vaddr = dyn.d_un.d_ptr;
		else if (dyn.d_tag == DT_STRSZ)
			size = dyn.d_un.d_val;
	}
	if (!size || !find_offset(elf, vaddr, &offset) || offset > INT64_MAX)
		return NULL;
	return elf_getdata_rawchunk(elf, (int64_t)offset, size, ELF_T_BYTE);
}

static bool add_needed(struct elf_file *f, char *name)
{
	if (!name)
		return false;
	f->needed = xreallocarray(f->needed, f->n_needed + 1, sizeof(*f->needed));
	f->needed[f->n_needed++] = name;
	return true;
}

static bool set_text(char **field, char *text)
{
	freep(field);
	*field = text;
	return text != NULL;
}

static bool read_dynamic(Elf *elf, const GElf_Phdr *ph, struct elf_file *f)
{
	size_t entry = gelf_fsize(elf, ELF_T_DYN, 1, EV_CURRENT);

	if (!entry || ph->p_filesz < entry || ph->p_offset > INT64_MAX ||
	    ph->p_filesz / entry > INT_MAX)
		return false;
	size_t n = ph->p_filesz / entry;
	Elf_Data *dynamic = elf_getdata_rawchunk(elf, (int64_t)ph->p_offset, n * entry, ELF_T_DYN);
	if (!dynamic)
		return false;
	Elf_Data *strings = find_strings(elf, dynamic, n);
	bool ok = true;
	GElf_Dyn dyn;
	for (size_t i = 0; ok && i < n && gelf_getdyn(dynamic, (int)i, &dyn); i++) {
		if (dyn.d_tag == DT_NULL)
			break;
		if (dyn.d_tag == DT_NEEDED)
			ok = strings && add_needed(f, copy_text(strings, dyn.d_un.d_val));
		else if (dyn.d_tag == DT_SONAME)
			ok = strings && set_text(&f->soname, copy_text(strings, dyn.d_un.d_val));
		else if (dyn.d_tag == DT_RPATH)
			ok = strings && set_text(&f->rpath, copy_text(strings, dyn.d_un.d_val));
		else if (dyn.d_tag == DT_RUNPATH)
			ok = strings && set_text(&f->runpath, copy_text(strings, dyn.d_un.d_val));
	}
	return ok;
}

static bool read_interp(Elf *elf, const GElf_Phdr *ph, struct elf_file *f)
{
	if (ph->p_filesz > PATH_MAX || ph->p_offset > INT64_MAX)
		return false;
	Elf_Data *d = elf_getdata_rawchunk(elf, (int64_t)ph->p_offset, ph->p_filesz, ELF_T_BYTE);
	return d && set_text(&f->interp, copy_text(d, 0));
}

static bool read_segments(Elf *elf, struct elf_file *f)
{
	size_t n = 0;
	bool ok = elf_getphdrnum(elf, &n) == 0;

	for (size_t i = 0; ok && i < n; i++) {
		GElf_Phdr ph;
		if (!gelf_getphdr(elf, (int)i, &ph))
			return false;
		if (ph.p_type == PT_INTERP)
			ok = read_interp(elf, &ph, f);
		else if (ph.p_type == PT_DYNAMIC && ph.p_filesz) /* 0: a separate debug file */
			ok = read_dynamic(elf, &ph, f);
	}
	return ok;
}

int elf_file_read(const char *path, struct elf_file *ret, struct error *err)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct elf_file f = { 0 };
	GElf_Ehdr eh;

	if (fd < 0)
		return error_set_usage_errno(err, errno, "cannot read '%s'", path);
	(void)elf_version(EV_CURRENT); /* cannot fail for the version it was built with */
	CLEANUP(elf_endp) Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &eh))
		return 0;
	if (eh.e_type != ET_EXEC && eh.e_type != ET_DYN)
		return 0;
	f.class = (uint8_t)gelf_getclass(elf);
	f.machine = eh.e_machine;
	f.type = eh.e_type;
	if (!read_segments(elf, &f)) {
		elf_file_fini(&f);
		return error_set_usage(err, -ENOEXEC, "'%s' is a damaged ELF file", path);
	}
	*ret = f;
	return 1;
}
