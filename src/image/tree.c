#include "image/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

static FTS *tree_open(const char *path, int options)
{
	char *paths[] = { (char *)(uintptr_t)path, NULL }; /* fts_open only reads it */

	return fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | options, NULL);
}

int tree_remove(const char *path)
{
	FTS *fts = tree_open(path, 0);
	int ret = 0;

	if (!fts)
		return -errno;
	for (FTSENT *e;
	     (e = fts_read(fts));) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		int r = 0;
		if (e->fts_info == FTS_D) {
			/* A folder without w or x (a package may have one) could not be emptied. */
			(void)chmod(e->fts_accpath,
				    0700); /* if it matters, the removal fails below */
			continue;
		}
		if (e->fts_info == FTS_DP)
			r = rmdir(e->fts_accpath);
		else
			r = unlink(e->fts_accpath);
		if (r < 0 && errno != ENOENT && ret == 0)
			ret = -errno;
	}
	(void)fts_close(fts);
	return ret;
}

static int copy_data(int in, int out)
{
	struct stat st;

	if (ioctl(out, FICLONE, in) == 0)
		return 0;
	if (fstat(in, &st) < 0)
		return -errno;
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(out, in, NULL, (size_t)left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) /* shrank under us */
			return -EIO;
		left -= n;
	}
	return 0;
}

int tree_copy_file(const char *from, const char *to, unsigned mode, struct error *err)
{
	CLEANUP(fd_closep) int in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return error_set(err, errno, "cannot open '%s'", from);
	CLEANUP(fd_closep) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		return error_set(err, errno, "cannot make '%s'", to);
	int r = copy_data(in, out);
	if (r == 0 && fchmod(out, mode) < 0)
		r = -errno;
	return r < 0 ? error_set(err, r, "cannot copy '%s' to '%s'", from, to) : 0;
}

static int copy_link(const char *from, const char *to, struct error *err)
{
	char target[PATH_MAX];

	ssize_t n = readlink(from, target, sizeof(target) - 1);
	if (n < 0)
		return error_set(err, errno, "cannot read link '%s'", from);
	target[n] = 0;
	if (target[0] == '/')
		return 0;
	return symlink(target, to) < 0 ? error_set(err, errno, "cannot make '%s'", to) : 0;
}

static int copy_entry(const FTSENT *e, const char *to, struct error *err)
{
	switch (e->fts_info) {
	case FTS_D:
		return mkdir(to, 0755) < 0 ? error_set(err, errno, "cannot make '%s'", to) : 0;
	case FTS_F:
		return tree_copy_file(e->fts_accpath, to, 0644, err);
	case FTS_SL:
	case FTS_SLNONE:
		return copy_link(e->fts_accpath, to, err);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return error_set(err, e->fts_errno, "cannot read '%s'", e->fts_path);
	default:
		return 0; /* a folder left behind, a device, a FIFO */
	}
}

int tree_copy(const char *from, const char *to, struct error *err)
{
	size_t prefix = strlen(from);
	FTS *fts = tree_open(from, FTS_COMFOLLOW);
	int r = 0;

	if (!fts)
		return error_set(err, errno, "cannot read '%s'", from);
	while (prefix > 1 && from[prefix - 1] == '/')
		prefix--;
	for (FTSENT *e; r == 0 && (e = fts_read(fts));) { /* NOLINT(concurrency-mt-unsafe) */
		CLEANUP(freep) char *path = xasprintf("%s%s", to, e->fts_path + prefix);
		r = copy_entry(e, path, err);
	}
	(void)fts_close(fts);
	return r;
}
