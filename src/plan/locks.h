/*
 * The locks of one VM: flock(2) on files of the lock folder. They end when the last descriptor of them is closed, in whatever
 * process: a VM process that inherited them keeps its CPUs when the runner is killed.
 *
 * A file is opened once and kept: an attempt that fails ends in LOCK_UN, never in close, because waiters are woken by closes
 * and a failed attempt frees nothing they wait for.
 */
#pragma once

#include "plan/lock_dir.h"

struct lock_file {
	struct plan_lock lock;
	int fd;
	bool is_held;
};

struct locks {
	const struct lock_dir *dir; /* borrowed */
	struct lock_file *files;    /* opened so far */
	size_t n_files;
};

/*
 * Takes all of @plan's locks, in its order, without waiting, or none. 1: taken; 0: @ret_busy is held by somebody; -errno with
 * @err. Nothing may be held before.
 */
MUST_CHECK int locks_take(struct locks *l, const struct plan *plan, struct plan_lock *ret_busy,
			  struct error *err);
/* Closes every file, and so gives up what no other process inherited. Idempotent. */
void locks_fini(struct locks *l);
/* Descriptors of what is held, to be inherited; @ret has room for n_files. Returns how many. */
size_t locks_held_fds(const struct locks *l, int *ret);
