/* Folders with all that is in them. Set-up thread. */
#pragma once

#include "base/error.h"

/* rm -rf: a missing @path is fine; follows no symbolic links. Returns 0 or the first negative
 * errno. */
int tree_remove(const char *path);

/*
 * Copies the folder @from to the new folder @to: folders 0755, regular files 0644, symbolic links
 * that stay relative. Everything else is left out, also the links `build` and `source` of module
 * trees to kernel sources (absolute).
 */
MUST_CHECK int tree_copy(const char *from, const char *to, struct error *err);

/* Copies one file's content to the new file @to with @mode, sharing blocks where the file system
 * can. */
MUST_CHECK int tree_copy_file(const char *from, const char *to, unsigned mode, struct error *err);
