/* A folder of the test's own for locks, and other processes that hold them. */
#pragma once

#include <sys/types.h>

#include "plan/locks.h"

/* "/dev/shm/ktstr-test-XXXXXX", or below /tmp; caller frees. */
char *scratch_dir_new(void);
/* Removes it and frees the name. */
void scratch_dir_free(char *path);

/* A child that takes @locks in @path, and holds them until it is killed; returns when it has them. */
pid_t holder_start(const char *path, const struct plan_lock *locks, uint32_t n_locks);
/* Kills it and waits until it is gone. */
void holder_kill(pid_t pid);
