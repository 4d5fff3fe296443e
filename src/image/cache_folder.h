/*
 * A folder of the cache whose files appear complete (file_new) and never change: one writer at a
 * time, what killed writers left goes, and so does the oldest entry when there are many. Set-up
 * thread.
 */
#pragma once

#include <stddef.h>

/*
 * Waits for the folder's lock; a descriptor, the caller's: closing it unlocks. -1 where there are no
 * locks: then nothing may be swept.
 */
int cache_folder_lock(const char *dir);
/*
 * Under the lock. Entries are named "...SUFFIX" (".elf"): makes room for one more when there are
 * @n_max of them. "...SUFFIX.RANDOM" was left by a dead process.
 */
void cache_folder_sweep(const char *dir, const char *suffix, size_t n_max);
