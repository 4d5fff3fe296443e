/*
 * Block devices and file systems for tests that may make them (root, /dev/loop-control): loop
 * devices over files without a name. The kernel takes them down with their last descriptor or
 * mount, however the test ends.
 */
#pragma once

#include <stdint.h>

struct block_device {
	int fd;        /* keeps it; -1: none */
	char path[32]; /* /dev/loopN */
};

/*
 * A device of @bytes with logical blocks of @block_size. False, and a line that says why, where this
 * host or user cannot.
 */
bool block_device_open(struct block_device *d, uint64_t bytes, uint32_t block_size);
void block_device_close(struct block_device *d);
/*
 * Mounts the file system @type that is on @d at the folder @dir, for this process and its children
 * only. False, and why, where it cannot.
 */
bool block_device_mount(const struct block_device *d, const char *type, const char *dir);
/* At once, and for good with the last descriptor into it. */
void block_device_unmount(const char *dir);
