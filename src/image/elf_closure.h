/*
 * What an ELF program needs to run, found the way the dynamic loader would find it: interpreter,
 * DT_NEEDED libraries in breadth-first order, DT_RPATH of the chain of loaders, DT_RUNPATH,
 * ld.so.cache, the default folders. Set-up thread.
 *
 * The search is the guest's: a file that the plan already has at a searched place wins over the
 * host's, $ORIGIN of a program that was moved moves its libraries along, LD_LIBRARY_PATH and
 * hardware-specific folders do not count.
 */
#pragma once

#include "image/guest_tree.h"
#include "image/ld_cache.h"

struct elf_closure {
	struct guest_tree *tree;      /* borrowed */
	const struct ld_cache *cache; /* borrowed */
	bool used_cache; /* a library was found in ld.so.cache: the guest needs it as well */
};

/*
 * Adds the needs of the file @host, which lies at @guest (both without links). A file that is no
 * ELF program or library needs nothing. Errors (class usage) name who needs what: -ENOENT; -ENOEXEC
 * for a damaged file; and those of guest_tree.
 */
MUST_CHECK int elf_closure_add(struct elf_closure *c, const char *host, const char *guest,
			       struct error *err);
