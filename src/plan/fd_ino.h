/* The kernel's own inode number and mount of a descriptor: proc_locks.h tells what for. Private to src/plan. */
#pragma once

#include "plan/proc_locks.h"

/* Also of an O_PATH descriptor. 0 or -errno. */
MUST_CHECK int fd_info_read(int fd, struct fd_info *ret);
