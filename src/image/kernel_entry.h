/* Reading one entry of the kernel cache. */
#pragma once

#include "image/kernel_cache.h"

/* False where root/NAME has no kernel in it; @ret is then untouched. */
MUST_CHECK bool kernel_entry_load(const char *root, const char *name, struct kernel_entry *ret);
