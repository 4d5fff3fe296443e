#include "image/scratch_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"

enum {
	CHUNK = 64 << 20, /* of one call: a signal is looked at between them */
	BUFFER = 128 << 10,
	STAT_BLOCK = 512, /* unit of st_blocks */
};

/* One copy under way. */
struct copy {
	int in, out;
	bool is_device;
	uint64_t copied;
};

/* A file of @dir without a name, or a negative errno. */
static int open_nameless(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	/* A file system without such files (NFS, older overlays): one with a name for a moment. */
	CLEANUP(freep) char *path = xasprintf("%s/.ktstr-disk-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (unlink(path) == 0)
		return fd;
	int code = -errno;
	fd_closep(&fd);
	return code;
}

static int cannot_make(const char *dir, int code, struct error *err)
{
	return error_set(err, code, "cannot make a disk in '%s'", dir);
}

int scratch_disk_new(const char *dir, uint64_t bytes, struct scratch_disk *ret, struct error *err)
{
	CLEANUP(fd_closep) int fd = open_nameless(dir);

	if (fd < 0)
		return cannot_make(dir, fd, err);
	if (ftruncate(fd, (off_t)bytes) < 0)
		return cannot_make(dir, errno, err);
	*ret = (struct scratch_disk){ .fd = TAKE_FD(fd), .method = SCRATCH_EMPTY };
	return 0;
}

/* A reflink of @in in @dir, or -1. */
static int reflink(int in, const char *dir)
{
	CLEANUP(fd_closep) int out = dir ? open_nameless(dir) : -1;

	return out >= 0 && ioctl(out, FICLONE, in) == 0 ? TAKE_FD(out) : -1;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Through a buffer; of a block device what is not zero. */
static int copy_by_hand(struct copy *c, uint8_t *buffer, uint64_t at, uint64_t end)
{
	while (at < end) {
		size_t n = num_min(BUFFER, end - at);
		int r = fd_pread_exact(c->in, buffer, n, at);
		if (r < 0)
			return r;
		if (!c->is_device || !is_zero(buffer, n)) {
			r = fd_pwrite_all(c->out, buffer, n, at);
			c->copied += n;
		}
		if (r < 0)
			return r;
		at += n;
	}
	return 0;
}

static bool is_no_copy_file_range(int code)
{
	return code == EXDEV || code == EINVAL || code == EOPNOTSUPP || code == ENOSYS;
}

static int copy_range(struct copy *c, uint64_t at, uint64_t end)
{
	CLEANUP(freep) uint8_t *buffer = NULL;

	while (!c->is_device && at < end) {
		off_t from = (off_t)at, to = (off_t)at;
		ssize_t n = copy_file_range(c->in, &from, c->out, &to, num_min(CHUNK, end - at), 0);
		if (n < 0 && is_no_copy_file_range(errno))
			break;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0) /* it shrank */
			return -EIO;
		at += n > 0 ? (uint64_t)n : 0;
		c->copied += n > 0 ? (uint64_t)n : 0;
	}
	if (at == end)
		return 0;
	buffer = xmalloc(BUFFER);
	return copy_by_hand(c, buffer, at, end);
}

static int copy_data(struct copy *c, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes;) {
		off_t data = c->is_device ? (off_t)at : lseek(c->in, (off_t)at, SEEK_DATA);
		if (data < 0 && errno == ENXIO) /* a hole up to the end */
			return 0;
		off_t hole = data < 0 || c->is_device ? -1 : lseek(c->in, data, SEEK_HOLE);
		uint64_t begin =
		    data < 0 ? at : (uint64_t)data; /* no such thing here: all is data */
		uint64_t end = hole < 0 ? bytes : num_min((uint64_t)hole, bytes);
		int r = begin < end ? copy_range(c, begin, end) : 0;
		if (r < 0)
			return r;
		at = end;
	}
	return 0;
}

static int check_room(int out, const struct stat *st, const struct scratch_source *source,
		      const char *dir, struct error *err)
{
	uint64_t need = S_ISBLK(st->st_mode)
			    ? source->bytes
			    : num_min((uint64_t)st->st_blocks * STAT_BLOCK, source->bytes);
	struct statvfs fs;

	if (fstatvfs(out, &fs) < 0)
		return error_set(err, errno, "cannot look for room in '%s'", dir);
	uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (need <= room)
		return 0;
	return error_set_text(err, -ENOSPC,
			      "a copy of '%s' needs %" PRIu64 " MiB, and '%s' has %" PRIu64
			      " MiB left: set TMPDIR to a folder with more room",
			      source->name, need / MIB, dir, room / MIB);
}

static int copy_all(const struct scratch_source *source, const struct stat *st, const char *dir,
		    struct scratch_disk *ret, struct error *err)
{
	CLEANUP(fd_closep) int out = open_nameless(dir);
	struct copy c = { .in = source->fd, .out = out, .is_device = S_ISBLK(st->st_mode) };

	if (out < 0)
		return cannot_make(dir, out, err);
	if (check_room(out, st, source, dir, err) < 0)
		return err->code;
	if (ftruncate(out, (off_t)source->bytes) < 0)
		return cannot_make(dir, errno, err);
	int r = copy_data(&c, source->bytes);
	if (r < 0)
		return error_set(err, r, "cannot copy '%s' to '%s'", source->name, dir);
	*ret = (struct scratch_disk){ .fd = TAKE_FD(out),
				      .method = SCRATCH_COPIED,
				      .copied_bytes = c.copied };
	return 0;
}

/* Not by its ctime: a template in the cache may be unlinked while it is copied. */
static bool is_changed(int fd, const struct stat *before)
{
	struct stat now;

	if (S_ISBLK(before->st_mode))
		return false;
	return fstat(fd, &now) < 0 || now.st_size != before->st_size ||
	       now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != before->st_mtim.tv_nsec;
}

int scratch_disk_copy(const struct scratch_source *source, const char *beside, const char *dir,
		      struct scratch_disk *ret, struct error *err)
{
	struct scratch_disk d = { .method = SCRATCH_REFLINK };
	struct stat st;
	int r = 0;

	if (fstat(source->fd, &st) < 0)
		return error_set(err, errno, "'%s'", source->name);
	d.fd = reflink(source->fd, beside);
	if (d.fd < 0)
		d.fd = reflink(source->fd, dir);
	if (d.fd < 0)
		r = copy_all(source, &st, dir, &d, err);
	if (is_changed(source->fd, &st)) /* also where that is why copying failed */
		r = error_set_usage(err, -EBUSY, "'%s' was changed while it was copied",
				    source->name);
	if (r < 0)
		fd_closep(&d.fd);
	else
		*ret = d;
	return r;
}
