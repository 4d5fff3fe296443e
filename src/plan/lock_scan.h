/*
 * Who holds which lock: one reading of /proc/locks for all files of the lock folder. Takes no lock, opens no lock file in a way
 * that others notice (O_PATH: no inotify event), and keeps the inode numbers, so that a second reading costs two files.
 *
 * A snapshot and a hint: locks come and go, and those of processes in other pid namespaces are not shown at all. Only
 * flock(2) itself decides.
 */
#pragma once

#include "base/buf.h"
#include "plan/lock_dir.h"

struct lock_holder {
	struct plan_lock lock;
	int32_t pid; /* who took it; may be gone while a child of it holds the lock on */
};

struct lock_scan {
	const struct lock_dir *dir;   /* borrowed */
	struct lock_scan_file *files; /* seen so far */
	size_t n_files;
	uint32_t *by_id[2]; /* position in files + 1, by enum plan_lock_kind and id; 0: none */
	uint32_t *by_ino;   /* positions in files */
	bool is_sorted;     /* by_ino */
	struct buf text;
	struct lock_holder *holders; /* the last reading, by kind, id, pid */
	size_t n_holders;
};

/* {.dir = ...} to begin with. */
MUST_CHECK int lock_scan_read(struct lock_scan *s, struct error *err);
void lock_scan_fini(struct lock_scan *s);

/* Adds what was read to @to; ids that its host does not have are left out. */
void lock_scan_count(const struct lock_scan *s, struct plan_holders *to);
/* Appends "4711 (ktstr run ...)"; what is no longer there is called so. */
void lock_holder_describe(int32_t pid, struct buf *to);
/* The command line of @pid, its arguments separated by spaces, at most @max bytes; nothing when it is gone. */
void lock_holder_command(int32_t pid, size_t max, struct buf *to);
