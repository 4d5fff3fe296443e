/* What every guest has: folders, device nodes, a few files of /etc, ktstr-init, busybox and its
 * applets. */
#pragma once

#include "image/guest_tree.h"

/*
 * Errors name the file: @init_path or @busybox_path (NULL: none) cannot be read (class infra: they
 * belong to ktstr); busybox, which is run once for its list of applets, fails.
 */
MUST_CHECK int skeleton_add(struct guest_tree *tree, const char *init_path,
			    const char *busybox_path, struct error *err);
