/* The embedded ktstr-init as a file, for initramfs_config. */
#pragma once

#include "base/error.h"

/*
 * A path of the cache whose content is the embedded program: named by its content's hash, written
 * once. Caller frees.
 */
MUST_CHECK int guest_init_path(const char *cache_dir, char **ret, struct error *err);
