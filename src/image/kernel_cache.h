/*
 * Kernels that ktstr knows by name: folders {cache}/kernels/NAME with vmlinuz and, for modular
 * kernels, lib/modules/RELEASE (with modules.dep made by depmod). Entries appear complete or not at
 * all.
 */
#pragma once

#include "base/error.h"

struct kernel_entry {
	char *name;        /* "6.1.0-53-cloud-amd64" */
	char *image;       /* path of vmlinuz or vmlinux */
	char *modules_dir; /* ".../lib/modules/RELEASE"; NULL without */
	/* "apt linux-image-6.1-cloud-amd64 6.1.180-1", "file /path"; NULL if not recorded */
	char *source;
};
void kernel_entry_fini(struct kernel_entry *e);

/*
 * Sorted by version, newest last. Caller frees each with kernel_entry_fini and the array with free.
 */
MUST_CHECK int kernel_cache_list(const char *cache_dir, struct kernel_entry **ret, size_t *ret_n,
				 struct error *err);
/*
 * Copies a kernel file (and @modules_dir, if not NULL) into the cache as @name (NULL: its release),
 * in the place of an entry of that name. Errors: class usage for what is no kernel or no name.
 */
MUST_CHECK int kernel_cache_add(const char *cache_dir, const char *path, const char *modules_dir,
				const char *name, struct kernel_entry *ret, struct error *err);
/*
 * Downloads a distribution's kernel package with `apt-get download` and unpacks it with dpkg-deb.
 * @what: "6.1", "6.12" (the newest cloud kernel of that series), a package name, or NULL for the
 * default: 6.12, else the distribution's own. Progress lines go to @progress_fd (-1: none). A
 * package that is in the cache already is not downloaded again. Errors: class usage for a name that
 * apt does not know or that is no kernel, class skip where there is no apt, class infra for the
 * rest.
 */
MUST_CHECK int kernel_cache_fetch(const char *cache_dir, const char *what, int progress_fd,
				  struct kernel_entry *ret, struct error *err);
/*
 * Finds a kernel: @spec is a path (contains '/'), a cache entry's name or unique prefix ("6.1"
 * prefers 6.1.0 to 6.12); NULL: $KTSTR_KERNEL, the newest cache entry (versions before chosen
 * names), the host's own /boot/vmlinuz-$(uname -r). A path's modules are looked for beside it
 * (lib/modules/RELEASE in its folder or the one above). Errors (class usage) tell what was looked
 * at and what to do.
 */
MUST_CHECK int kernel_find(const char *cache_dir, const char *spec, struct kernel_entry *ret,
			   struct error *err);
