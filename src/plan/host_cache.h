/*
 * A host that was discovered once, kept in a file: hwloc reads a few thousand files of sysfs on a large host, and a run on no
 * CPU in particular should not wait for that. Valid for one boot and one set of online CPUs. Which CPUs this process may use is no
 * part of it.
 */
#pragma once

#include "plan/host.h"

/* What the file depends on, as text without a newline. -errno: unknown, so nothing may be kept. */
enum { HOST_CACHE_KEY_MAX = 1024 };
MUST_CHECK int host_cache_key(char ret[static HOST_CACHE_KEY_MAX]);
/* NULL: there is none, or it is not @key's. */
struct host *host_cache_read(const char *path, const char *key, const struct id_set *allowed);
/* Best effort: without it the next process discovers again. Makes the folder. */
void host_cache_write(const char *path, const char *key, const struct host *host);
