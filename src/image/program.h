/*
 * What a file needs to be run: an ELF file its closure, a script its interpreter and that one's
 * closure. Files are noted while they are placed and looked into afterwards, when everything that
 * the user gave has its place. Set-up thread.
 */
#pragma once

#include "image/elf_closure.h"

struct program_list {
	struct program_entry *entries;
	size_t n_entries;
};

void program_list_fini(struct program_list *l); /* idempotent */
/*
 * Notes the file @host, which lies at @guest. @is_named: the user named this very file, so that it
 * must be able to run; in a folder, scripts without an interpreter here and damaged ELF files are
 * data.
 */
void program_list_add(struct program_list *l, const char *host, const char *guest, bool is_named);
/*
 * Adds to @c->tree what the noted files need. @search: the host's PATH, for "#!/usr/bin/env NAME".
 * Errors (class usage) name the file: unreadable, an interpreter or a library that cannot be found.
 */
MUST_CHECK int program_list_resolve(struct program_list *l, struct elf_closure *c,
				    const char *search, struct error *err);

/* The first executable file called @name in the folders of @search (PATH); NULL: none. Caller
 * frees. */
char *program_find(struct stamps *stamps, const char *search, const char *name);
