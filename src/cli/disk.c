#include "cli/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/num.h"

#define DISK_ID "ktstr-disk"

enum { LOCK_TRIES = 50, LOCK_EACH_MS = 10 };

/* Files that are there */

static int cannot_open(const char *path, bool for_writing, int code, struct error *err)
{
	const char *hint = for_writing && (code == EACCES || code == EROFS || code == EPERM)
			       ? " for writing (or use ',ro')"
			       : "";

	return error_set_usage_errno(err, code, "cannot open '%s'%s", path, hint);
}

/* The files of a VM process that was killed are open until its io_uring has ended, some milliseconds after the process. */
static int lock_patiently(int fd, int how)
{
	int res = fd_lock(fd, how | LOCK_NB);

	for (int i = 0; i < LOCK_TRIES && res == -EWOULDBLOCK; i++) {
		(void)poll(
		    NULL, 0,
		    LOCK_EACH_MS); /* nothing tells when a lock is free that one need not wait for */
		res = fd_lock(fd, how | LOCK_NB);
	}
	return res;
}

/*
 * A file system without locks has none to offer: then two VMs on one image are the user's to avoid.
 */
static int lock(int fd, const char *path, bool for_writing, struct error *err)
{
	int res = lock_patiently(fd, for_writing ? LOCK_EX : LOCK_SH);

	if (res == 0)
		return 0;
	if (res == -EWOULDBLOCK)
		return error_set_usage(err, -EBUSY, "'%s' is in use by another VM%s", path,
				       for_writing ? "" : ", which writes to it");
	log_debug("--disk: '%s' cannot be locked: %d", path, res);
	return 0;
}

/*
 * What is no disk is refused before it is opened for real: opening a FIFO or a device can wait or
 * have effects.
 */
static int check_kind(const char *path, bool for_writing, struct stat *ret, struct error *err)
{
	if (stat(path, ret) < 0)
		return cannot_open(path, for_writing, errno, err);
	if (S_ISDIR(ret->st_mode))
		return error_set_usage(err, -EISDIR, "'%s' is a directory", path);
	if (!S_ISREG(ret->st_mode) && !S_ISBLK(ret->st_mode))
		return error_set_usage(err, -EINVAL,
				       "'%s' is neither a regular file nor a block device", path);
	return 0;
}

/* @is_exclusive: a block device is EBUSY while it is mounted or part of something. */
static int open_file(const char *path, bool for_writing, bool is_exclusive, int *ret,
		     struct error *err)
{
	int flags = (for_writing ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
	struct stat st;

	if (check_kind(path, for_writing, &st, err) < 0)
		return err->code;
	if (S_ISBLK(st.st_mode) && is_exclusive)
		flags |= O_EXCL;
	CLEANUP(fd_closep) int fd = open(path, flags);
	if (fd < 0)
		return cannot_open(path, for_writing, errno, err);
	/* O_NONBLOCK was for a path that became a FIFO since; io_uring would make EAGAIN of it. */
	int res = fd_set_nonblock(fd, false);
	if (res < 0)
		return error_set(err, res, "'%s'", path);
	if (lock(fd, path, for_writing, err) < 0)
		return err->code;
	*ret = TAKE_FD(fd);
	return 0;
}

/* Copies and new disks */

/* Where disks without a name are made. */
static int scratch_dir(const char *cache_dir, char **ret, struct error *err)
{
	const char *tmp = getenv("TMPDIR");
	CLEANUP(freep)
	char *dir = tmp && *tmp ? xstrdup(tmp) : xasprintf("%s/disks", cache_dir);

	if (!(tmp && *tmp) && file_make_dirs(dir, 0755, err) < 0)
		return err->code;
	*ret = TAKE_PTR(dir);
	return 0;
}

/* The folder of the file that @path leads to; NULL where that cannot be told. */
static char *folder_of(const char *path)
{
	char *real = realpath(path, NULL);

	if (real)
		strrchr(real, '/')[1] = 0;
	return real;
}

static int make_snapshot(const char *path, const char *dir, struct scratch_disk *ret,
			 struct error *err)
{
	const struct blk_file_wish as_is = { .read_only = true, .buffered = true };
	CLEANUP(freep) char *beside = folder_of(path);
	CLEANUP(fd_closep) int fd = -1;
	struct blk_file file;

	if (open_file(path, false, true, &fd, err) < 0 ||
	    blk_file_examine(fd, path, &as_is, &file, err) < 0)
		return err->code;
	const struct scratch_source source = { fd, path, file.capacity };
	return scratch_disk_copy(&source, beside, dir, ret, err);
}

static int make_new(const struct disk_options *o, const char *cache_dir, const char *dir,
		    struct scratch_disk *ret, struct error *err)
{
	CLEANUP(freep) char *templates = xasprintf("%s/disks", cache_dir);
	CLEANUP(fd_closep) int template = -1;
	/* A user's PATH often lacks the folders of such tools. */
	const char *path = getenv("PATH");
	CLEANUP(freep) char *search = xasprintf("%s:/usr/sbin:/sbin", path ? path : "");

	if (o->fs == DISK_FS_NONE)
		return scratch_disk_new(dir, o->new_bytes, ret, err);
	if (disk_template_open(cache_dir, search, o->fs, o->new_bytes, &template, err) < 0)
		return err->code;
	const struct scratch_source source = { template, "the template", o->new_bytes };
	return scratch_disk_copy(&source, templates, dir, ret, err);
}

static int open_scratch(const struct disk_options *o, const char *cache_dir, struct disk *d,
			struct error *err)
{
	struct scratch_disk scratch = SCRATCH_DISK_INIT;
	CLEANUP(freep) char *dir = NULL;

	if (scratch_dir(cache_dir, &dir, err) < 0)
		return err->code;
	int res = o->path ? make_snapshot(o->path, dir, &scratch, err)
			  : make_new(o, cache_dir, dir, &scratch, err);
	if (res < 0)
		return res;
	d->config.fd = scratch.fd;
	d->method = scratch.method;
	d->copied_bytes = scratch.copied_bytes;
	return 0;
}

static int open_disk(const struct disk_options *o, const char *cache_dir, struct disk *d,
		     struct error *err)
{
	const struct blk_file_wish wish = { .read_only = o->read_only, .buffered = o->buffered };

	int res = d->is_in_place
		      ? open_file(o->path, !o->read_only, !o->read_only, &d->config.fd, err)
		      : open_scratch(o, cache_dir, d, err);
	if (res < 0)
		return res;
	return blk_file_examine(d->config.fd, o->path ? o->path : "the new disk", &wish,
				&d->config.file, err);
}

int disk_open(const struct disk_options *o, const char *cache_dir, struct disk *ret,
	      struct error *err)
{
	struct disk d = { .config = { .fd = -1,
				      .read_only = o->read_only,
				      .limits = o->limits,
				      .id = DISK_ID },
			  .is_in_place = o->path && !o->snapshot };

	if (open_disk(o, cache_dir, &d, err) < 0) {
		disk_fini(&d);
		return error_prefix(err, "--disk");
	}
	*ret = d;
	return 0;
}

void disk_fini(struct disk *d)
{
	fd_closep(&d->config.fd);
}

const char *disk_source_name(const struct disk *d)
{
	static const char *const names[] = {
		[SCRATCH_EMPTY] = "empty", [SCRATCH_REFLINK] = "reflink", [SCRATCH_COPIED] = "copy"
	};

	return d->is_in_place ? "in-place" : names[d->method];
}

char *disk_describe(const struct disk *d)
{
	const struct blk_file *f = &d->config.file;
	bool is_copy = !d->is_in_place && d->method == SCRATCH_COPIED;
	CLEANUP(freep)
	char *size = is_copy ? xasprintf(" of %" PRIu64 " MiB", (d->copied_bytes + MIB - 1) / MIB)
			     : xstrdup("");

	if (f->is_direct)
		return xasprintf("%s%s, direct I/O", disk_source_name(d), size);
	return xasprintf("%s%s, buffered I/O (%s)", disk_source_name(d), size, f->why_buffered);
}
