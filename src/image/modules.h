/* Kernel modules in load order, by libkmod. Set-up thread. */
#pragma once

#include "image/guest_tree.h"

/*
 * Adds the modules @names (NULL-terminated) of the tree @dir (".../lib/modules/RELEASE") and all
 * that they depend on to @tree as GUEST_MODULE_DIR/NNN-name.ko, decompressed, and appends a
 * "module=..." record for each to @records, in load order. A module that is built into the kernel
 * is left out. @release is the kernel's, "" if it is not known.
 *
 * The tree alone counts: neither the host's modprobe.d nor the modules of its running kernel.
 * Errors (class usage): no such tree; no modules.dep in it (says how to make it); names that are
 * neither there nor built in; an unreadable or damaged file; a module of another release.
 */
MUST_CHECK int modules_add(struct guest_tree *tree, const char *dir, const char *release,
			   const char *const *names, struct buf *records, struct error *err);
