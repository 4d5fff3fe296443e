/* Which program of the guest COMMAND is. Set-up thread. */
#pragma once

#include "image/program.h"

/*
 * @name with a slash: an included file at that guest path, else the host's file, which is added to
 * @tree and
 * @programs at its own place, else what the guest has there by itself. Without: an included program
 * in the guest's PATH, an applet of busybox, a program in @search, the host's PATH.
 *
 * @ret_exec: the absolute guest path; the caller frees it. Errors (class usage): -ENOENT says where
 * it was looked for; -EISDIR; unreadable files; and those of guest_tree.
 */
MUST_CHECK int command_resolve(struct guest_tree *tree, struct program_list *programs,
			       const char *name, const char *search, char **ret_exec,
			       struct error *err);
