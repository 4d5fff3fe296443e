/* Removes what nobody holds from a lock folder. */
#pragma once

#include "plan/lock_dir.h"

struct lock_cleanup {
	unsigned n_removed;
	unsigned n_in_use;
	unsigned n_refused; /* by the kernel: other users' */
};

/*
 * Lock files without a holder, tickets of the dead, and what was left of files half made. Each is removed under its own lock, and
 * whoever opened it before notices after locking (locks.c). Files of other names stay.
 */
MUST_CHECK int lock_cleanup(const struct lock_dir *dir, struct lock_cleanup *ret,
			    struct error *err);
