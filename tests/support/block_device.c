#include "block_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/fd.h"

enum { TRIES = 50 }; /* another test may take the device that was free a moment ago */

static bool no(const char *what)
{
	printf("skip: %s: %s\n", what, strerror(errno));
	return false;
}

static int open_backing(uint64_t bytes)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 && ftruncate(fd, (off_t)bytes) < 0)
		fd = fd_close(fd);
	return fd;
}

static bool attach(struct block_device *d, int control, const struct loop_config *config)
{
	int number = ioctl(control, LOOP_CTL_GET_FREE);

	if (number < 0)
		return false;
	(void)snprintf(d->path, sizeof(d->path), "/dev/loop%d", number);
	d->fd = open(d->path, O_RDWR | O_CLOEXEC);
	if (d->fd < 0)
		return false;
	if (ioctl(d->fd, LOOP_CONFIGURE, config) == 0)
		return true;
	d->fd = fd_close(d->fd);
	return false;
}

bool block_device_open(struct block_device *d, uint64_t bytes, uint32_t block_size)
{
	CLEANUP(fd_closep) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	CLEANUP(fd_closep) int backing = open_backing(bytes);
	const struct loop_config config = { .fd = (uint32_t)backing,
					    .block_size = block_size,
					    .info.lo_flags = LO_FLAGS_AUTOCLEAR };

	d->fd = -1;
	if (control < 0)
		return no("/dev/loop-control");
	if (backing < 0)
		return no("a file in /var/tmp");
	for (int i = 0; i < TRIES; i++)
		if (attach(d, control, &config))
			return true;
	return no("a loop device");
}

void block_device_close(struct block_device *d)
{
	fd_closep(&d->fd);
}

bool block_device_mount(const struct block_device *d, const char *type, const char *dir)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return no("a mount namespace");
	if (mount(d->path, dir, type, 0, NULL) < 0)
		return no(type);
	return true;
}

void block_device_unmount(const char *dir)
{
	(void)umount2(dir, MNT_DETACH); /* else it goes with this process */
}
