/*
 * What wakes those who wait: one inotify descriptor, readable when a lock or a ticket was closed, by its holder's release, exit
 * or death. Lock files are open for writing only in those who want them, so nothing else closes them so.
 *
 * The event comes a moment before the kernel lets go of a dying holder's lock: who finds it still held looks again shortly
 * after (LOCK_WATCH_RETRIES).
 */
#pragma once

#include "plan/lock_dir.h"

/* Looks after an event that found nothing, in milliseconds after the one before. */
#define LOCK_WATCH_RETRIES_MS                                                                      \
	{                                                                                          \
		10, 50, 200                                                                        \
	}

enum lock_watch_event {
	LOCK_WATCH_RELEASED = 1, /* a lock or a ticket */
	LOCK_WATCH_SELECTED = 2, /* somebody is done with selecting */
};

struct lock_watch {
	int fd;        /* non-blocking, for poll */
	int select_wd; /* -1: not watched */
};
#define LOCK_WATCH_INIT ((struct lock_watch){ .fd = -1, .select_wd = -1 })

/* Makes the folder of the tickets if need be. */
MUST_CHECK int lock_watch_open(struct lock_watch *w, const struct lock_dir *dir, struct error *err);
void lock_watch_close(struct lock_watch *w);
/* From now on LOCK_WATCH_SELECTED comes, or no longer. */
MUST_CHECK int lock_watch_selection(struct lock_watch *w, const struct lock_dir *dir, bool on);
/* Reads all there is; the events as bits, 0 for none, or -errno. */
MUST_CHECK int lock_watch_drain(struct lock_watch *w);
