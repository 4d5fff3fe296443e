#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

static int make_dir(const char *path, unsigned mode, struct error *err)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno == EEXIST && stat(path, &st) == 0)
		errno = S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
	return errno ? error_set(err, errno, "cannot make folder '%s'", path) : 0;
}

int file_make_dirs(const char *path, unsigned mode, struct error *err)
{
	CLEANUP(freep) char *copy = xstrdup(path);

	for (char *p = copy; *p; p++) {
		if (*p != '/' || p == copy)
			continue;
		*p = 0;
		if (make_dir(copy, mode, err) < 0)
			return err->code;
		*p = '/';
	}
	return make_dir(copy, mode, err);
}

int file_read(const char *path, size_t max, struct buf *ret, struct error *err)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t total = 0;

	if (fd < 0)
		return error_set(err, errno, "cannot open '%s'", path);
	for (;;) {
		ssize_t n = read(fd, buf_reserve(ret, 65536), 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, errno, "cannot read '%s'", path);
		if (n == 0)
			return 0;
		total += (size_t)n;
		if (total > max)
			return error_set_text(err, -EFBIG, "'%s' is larger than %zu bytes", path,
					      max);
		ret->len += (size_t)n;
	}
}

int file_read_line(const char *path, char *ret, size_t n)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ssize_t got;
	do
		got = read(fd, ret, n - 1);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	ret[got] = 0;
	ret[strcspn(ret, "\n")] = 0;
	return 0;
}

int file_new_open(struct file_new *f, const char *path, struct error *err)
{
	*f = FILE_NEW_INIT;
	f->path = xstrdup(path);
	f->temp = xasprintf("%s.XXXXXX", path);
	f->fd = mkostemp(f->temp, O_CLOEXEC);
	if (f->fd < 0) {
		freep(&f->temp);
		return error_set(err, errno, "cannot write '%s'", path);
	}
	return 0;
}

int file_new_sync(struct file_new *f, struct error *err)
{
	return fsync(f->fd) < 0 ? error_set(err, errno, "cannot write '%s'", f->path) : 0;
}

int file_new_commit(struct file_new *f, unsigned mode, struct error *err)
{
	if (fchmod(f->fd, mode) < 0 || rename(f->temp, f->path) < 0)
		return error_set(err, errno, "cannot write '%s'", f->path);
	freep(&f->temp);
	return 0;
}

void file_new_fini(struct file_new *f)
{
	fd_closep(&f->fd);
	if (f->temp)
		(void)unlink(f->temp); /* already gone is fine */
	freep(&f->temp);
	freep(&f->path);
}

int file_replace(const char *path, unsigned mode, const void *data, size_t n, struct error *err)
{
	CLEANUP(file_new_fini) struct file_new f = FILE_NEW_INIT;

	if (file_new_open(&f, path, err) < 0)
		return err->code;
	int res = fd_write_all(f.fd, data, n);
	return res < 0 ? error_set(err, res, "cannot write '%s'", path)
		       : file_new_commit(&f, mode, err);
}

int file_cache_dir(char **ret, struct error *err)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): set-up, one thread */
	const char *xdg = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	/* NOLINTEND(concurrency-mt-unsafe) */

	if (xdg && *xdg == '/')
		*ret = xasprintf("%s/ktstr", xdg);
	else if (home && *home == '/')
		*ret = xasprintf("%s/.cache/ktstr", home);
	else
		return error_set_usage(
		    err, -ENOENT,
		    "no place for the cache: set HOME or XDG_CACHE_HOME to an absolute path");
	return 0;
}
