/*
 * The kernel's text about locks: /proc/locks, mountinfo and fdinfo. Parsers of text, so that other hosts' can be tested.
 *
 * A lock in /proc/locks has the device of its file system's superblock and the kernel's own inode number. stat(2) gives another
 * device on btrfs and overlayfs, and, for some combinations of layers, another number; mountinfo has that device, and
 * /proc/self/fdinfo has that number.
 */
#pragma once

#include <stdint.h>

struct proc_lock {
	int32_t pid; /* in this pid namespace; of the one who took it, who may be gone */
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t ino;
	bool exclusive;
};

/*
 * The next flock(2) that is held, from *@text on, which moves; false at the end. Other kinds of locks, waiters and lines that
 * are not understood are passed over.
 */
bool proc_locks_next(const char **text, struct proc_lock *ret);

enum { MOUNT_TYPE_MAX = 64 };
struct mount_info {
	uint32_t dev_major;
	uint32_t dev_minor;
	char type[MOUNT_TYPE_MAX]; /* "tmpfs", "fuse.sshfs" */
};

/* -ENOENT: mountinfo has no mount @mnt_id. */
MUST_CHECK int mountinfo_find(const char *mountinfo, uint64_t mnt_id, struct mount_info *ret);
/*
 * Whether locks on a file system of @type may be no locks of this host: network and cluster file systems, and what a program
 * in user space serves.
 */
bool mount_type_is_remote(const char *type);

struct fd_info {
	uint64_t mnt_id;
	uint64_t ino;
};
/* -ENOENT: a field is missing (Linux before 5.14 has no "ino:"). */
MUST_CHECK int fdinfo_parse(const char *fdinfo, struct fd_info *ret);
