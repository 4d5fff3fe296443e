/* Kernel modules that the host packed, already in load order. */
#pragma once

#include "fault.h"

/*
 * Loads the files of @paths (NULL-terminated) one after the other. One that is loaded or built in
 * already (-EEXIST) is fine; any other error ends the list and names the file.
 */
MUST_CHECK int modules_load(char *const *paths, struct fault *f);
