/*
 * The folder of the locks, one per host: KTSTR_LOCK_DIR, else LOCK_DIR_DEFAULT on tmpfs. Every user's ktstr has to use the
 * same one, for a lock that others do not see keeps nobody away; so there is no folder per user to fall back to.
 *
 *	ktstr-llc-N.lock	an LLC
 *	ktstr-cpu-C.lock	a CPU
 *	ktstr-select.lock	held for the moment in which one process looks for a place and locks it
 *	wait/0000000001		a waiter, in order of arrival (tickets.h)
 *
 * Lock files are empty and stay when nobody holds them; `ktstr cleanup` removes them.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "plan/plan.h"

#define LOCK_DIR_DEFAULT "/dev/shm/ktstr-locks"
#define LOCK_SELECT_FILE "ktstr-select.lock"
#define LOCK_WAIT_FOLDER "wait"

enum { LOCK_NAME_MAX = 32 };

struct lock_dir {
	int fd;
	char *path;
	uint32_t dev_major; /* as /proc/locks has it */
	uint32_t dev_minor;
};
#define LOCK_DIR_INIT ((struct lock_dir){ .fd = -1 })

/*
 * @path NULL or "": the default. Makes it if @create, with mode 1777. Refused: a symbolic link, a network file system (its
 * locks may be this host's alone or not at all), a folder in which anybody may remove what is others', and, as the default, one
 * that belongs to another user than root or this one; root takes it over; with @create also one in which no locks can be
 * made. -ENOENT: there is none, without @create. Errors of another folder than the default are class usage.
 */
MUST_CHECK int lock_dir_open(struct lock_dir *d, const char *path, bool create, struct error *err);
void lock_dir_close(struct lock_dir *d); /* idempotent */

void lock_dir_name(enum plan_lock_kind kind, uint32_t id, char name[static LOCK_NAME_MAX]);
/* False: no lock file's name, or an id that no host has. */
bool lock_dir_parse_name(const char *name, enum plan_lock_kind *ret_kind, uint32_t *ret_id);

/*
 * A file of the folder for reading and writing (@writable) or reading, made if need be with mode 0666. Whatever is no regular
 * file with one name is refused (-EINVAL). Returns the descriptor or -errno.
 */
MUST_CHECK int lock_dir_open_file(int dir_fd, const char *name, bool writable);
/* Whether @fd still is the file of that name. */
bool lock_dir_is_same(int dir_fd, const char *name, int fd);
/* Descriptor of the folder @name in @dir_fd, made if need be with mode 1777; -errno. */
MUST_CHECK int lock_dir_open_folder(int dir_fd, const char *name, bool create);
