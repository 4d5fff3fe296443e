/*
 * A kernel cache entry in the making: {cache}/kernels/.new-XXXXXX, locked against other processes,
 * renamed to {cache}/kernels/NAME when it is complete. What a killed process leaves, the next stage
 * removes. Set-up thread.
 */
#pragma once

#include "base/error.h"
#include "image/kernel_cache.h"

struct kernel_stage {
	int lock_fd;
	char *root;  /* {cache}/kernels */
	char *temp;  /* root/.new-XXXXXX, for downloads and the like */
	char *entry; /* temp/entry: what becomes root/NAME */
};
#define KERNEL_STAGE_INIT ((struct kernel_stage){ .lock_fd = -1 })

/* Waits for another process's stage, saying so on @progress_fd (-1: silently). */
MUST_CHECK int kernel_stage_open(struct kernel_stage *s, const char *cache_dir, int progress_fd,
				 struct error *err);
/* Where modules of @release go, with the folders above made; the caller frees it. */
MUST_CHECK int kernel_stage_modules_dir(const struct kernel_stage *s, const char *release,
					char **ret, struct error *err);
/*
 * Runs depmod if the modules have no modules.dep, records @source, and puts the entry in its place;
 * an entry of that name is replaced. @release: of the modules, NULL without.
 */
MUST_CHECK int kernel_stage_commit(struct kernel_stage *s, const char *name, const char *release,
				   const char *source, struct kernel_entry *ret, struct error *err);
/* Removes what was not committed; idempotent. */
void kernel_stage_fini(struct kernel_stage *s);

/* Whether @name can be an entry's: letters, digits and "._+~-", the first a letter or digit. */
bool kernel_stage_is_name(const char *name);
