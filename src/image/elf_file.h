/* What the dynamic loader reads of one ELF file. Set-up thread. */
#pragma once

#include "base/error.h"

struct elf_file {
	uint8_t class;    /* ELFCLASS32, ELFCLASS64 */
	uint16_t machine; /* EM_X86_64, ... */
	uint16_t type;    /* ET_EXEC, ET_DYN, ... */
	char *interp;     /* PT_INTERP, or NULL */
	char *soname;     /* or NULL */
	char *rpath;      /* DT_RPATH, or NULL */
	char *runpath;    /* DT_RUNPATH, or NULL */
	char **needed;    /* in order */
	size_t n_needed;
};

void elf_file_fini(struct elf_file *f); /* idempotent */
/*
 * 1: read; 0: no ELF file that a loader maps (another format, an object file, a core). Errors
 * (class usage) name
 * @path: it cannot be read, or its tables lie outside the file.
 */
MUST_CHECK int elf_file_read(const char *path, struct elf_file *ret, struct error *err);
