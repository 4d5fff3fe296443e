/* The world a program expects: file systems, device names, host name, loopback. */
#pragma once

#include "fault.h"

/*
 * Mounts everything of the table in mounts.c and opens descriptors 0-2 (on /dev/null) when the
 * kernel gave none. A file system type that the kernel lacks is skipped, but for proc, sysfs,
 * devtmpfs and tmpfs. Errors name the mount.
 */
MUST_CHECK int mounts_make(struct fault *f);
/* Host name, lo up. A kernel without networking is no error. */
MUST_CHECK int mounts_name_host(struct fault *f);
