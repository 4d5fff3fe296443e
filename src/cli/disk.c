#include "cli/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"

static int cannot_open(const char *path, bool read_only, int code, struct error *err)
{
	const char *hint = !read_only && (code == EACCES || code == EROFS || code == EPERM)
			       ? " for writing (or use ',ro')"
			       : "";

	(void)error_set(err, code, "--disk: cannot open '%s'%s", path, hint);
	return error_classify(err, ERROR_USAGE);
}

static int find_capacity(int fd, const char *path, const struct stat *st, uint64_t *ret,
			 struct error *err)
{
	uint64_t n = (uint64_t)st->st_size;

	if (S_ISBLK(st->st_mode) && ioctl(fd, BLKGETSIZE64, &n) < 0)
		return error_set(err, errno, "--disk: '%s': cannot get its size", path);
	if (n == 0)
		return error_set_usage(err, -EINVAL, "--disk: '%s' is empty", path);
	if (n % VIRTIO_BLK_SECTOR)
		return error_set_usage(err, -EINVAL,
				       "--disk: '%s' has %" PRIu64
				       " bytes, which is no multiple of %d: not a raw disk image",
				       path, n, VIRTIO_BLK_SECTOR);
	*ret = n;
	return 0;
}

/*
 * A file system without locks has none to offer: then two VMs on one image are the user's to avoid.
 */
static int lock(int fd, const char *path, bool read_only, struct error *err)
{
	if (flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return error_set_usage(err, -EBUSY, "--disk: '%s' is in use by another VM%s", path,
				       read_only ? ", which writes to it" : "");
	log_debug("--disk: '%s' cannot be locked: %d", path, errno);
	return 0;
}

/*
 * What is no disk is refused before it is opened for real: opening a FIFO or a device can wait or
 * have effects.
 */
static int check_kind(const char *path, bool read_only, struct stat *ret, struct error *err)
{
	if (stat(path, ret) < 0)
		return cannot_open(path, read_only, errno, err);
	if (S_ISDIR(ret->st_mode))
		return error_set_usage(err, -EISDIR, "--disk: '%s' is a directory", path);
	if (!S_ISREG(ret->st_mode) && !S_ISBLK(ret->st_mode))
		return error_set_usage(err, -EINVAL,
				       "--disk: '%s' is neither a regular file nor a block device",
				       path);
	return 0;
}

int disk_open(const char *path, bool read_only, struct virtio_blk_config *ret, struct error *err)
{
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
	struct stat st;
	uint64_t capacity = 0;

	if (check_kind(path, read_only, &st, err) < 0)
		return err->code;
	if (S_ISBLK(st.st_mode) && !read_only)
		flags |= O_EXCL; /* EBUSY while it is mounted or part of something */
	CLEANUP(fd_closep) int fd = open(path, flags);
	if (fd < 0)
		return cannot_open(path, read_only, errno, err);
	/* O_NONBLOCK was for a path that became a FIFO since; io_uring would make EAGAIN of it. */
	int res = fd_set_nonblock(fd, false);
	if (res < 0 || fstat(fd, &st) < 0)
		return error_set(err, res < 0 ? res : errno, "--disk: '%s'", path);
	if (find_capacity(fd, path, &st, &capacity, err) < 0 || lock(fd, path, read_only, err) < 0)
		return err->code;
	*ret = (struct virtio_blk_config){
		.fd = TAKE_FD(fd), .read_only = read_only, .capacity = capacity, .id = "ktstr-disk"
	};
	return 0;
}
