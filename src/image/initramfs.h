/*
 * The guest's root file system: newc cpio in lz4 legacy frames. A base (init, busybox, program,
 * libraries, includes, modules), cached under a hash of its inputs, and a small per-VM suffix
 * (GUEST_CONFIG_PATH). Set-up thread.
 */
#pragma once

#include "base/error.h"

struct initramfs_config {
	const char *init_path;    /* ktstr-init, static */
	const char *busybox_path; /* static busybox; NULL: none */
	const char *cache_dir;
	const char *const *includes; /* "HOST[:GUEST]"; files or folders */
	size_t n_includes;
	char *const *command;       /* argv of COMMAND, NULL-terminated */
	const char *kernel_release; /* "" where not known: then no modules are looked for */
	const char *modules_dir;    /* tree with modules.dep (…/lib/modules/RELEASE), or NULL */
	/* Names needed: "virtio_mmio", "virtio_console", ...; NULL-terminated. */
	const char *const *modules;
	/* Further "key=value" records for GUEST_CONFIG_PATH; NULL-terminated. */
	const char *const *config;
	uint64_t unpacked_max; /* bytes that the files may take, unpacked; 0: any number */
	bool need_modules;     /* false for kernels without module support, bare guests */
};

struct initramfs {
	int base_fd;       /* owned; read-only file that is never written again; lz4 */
	uint64_t base_len; /* a multiple of 4096; the last 4 bytes at least are zeros */
	uint8_t *suffix;   /* owned; goes right behind the base */
	size_t suffix_len;
	uint64_t unpacked_len; /* bytes of the files in whole pages, for the memory estimate */
	char *exec;            /* owned; the program's path in the guest */
	char *modules;         /* owned; "module=..." records, each with its NUL */
	size_t modules_len;
};
#define INITRAMFS_INIT ((struct initramfs){ .base_fd = -1 })

/*
 * COMMAND[0] resolves to: a path that exists on the host (packed with its closure) or is among the
 * includes; a busybox applet; a program in the host's PATH. Errors (class usage) name the file:
 * unreadable, no such command, a library that cannot be resolved and who needs it, modules neither
 * found nor built in or of another kernel, more than unpacked_max.
 */
MUST_CHECK int initramfs_build(const struct initramfs_config *config, struct initramfs *ret,
			       struct error *err);
/*
 * Another suffix for @base, for the same program with other arguments and records. The caller frees *ret.
 */
MUST_CHECK int initramfs_make_suffix(const struct initramfs *base, char *const *command,
				     const char *const *config, uint8_t **ret, size_t *ret_len,
				     struct error *err);
void initramfs_fini(struct initramfs *r); /* idempotent */
