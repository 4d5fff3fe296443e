/* Places what `--include HOST[:GUEST]` names. Set-up thread. */
#pragma once

#include "image/program.h"

/*
 * Adds @spec to @tree and its regular files to @programs. Without GUEST a path keeps its place,
 * links on the way included; a relative one is taken from the working folder. A folder comes with
 * all that is in it. A link in it stays a link; where it leads to a file outside, that file comes
 * along.
 *
 * HOST itself may have colons as long as it exists. Errors (class usage) name the file: it does not
 * exist, cannot be read, GUEST is not absolute; and those of guest_tree.
 */
MUST_CHECK int include_add(struct guest_tree *tree, struct program_list *programs, const char *spec,
			   struct error *err);
