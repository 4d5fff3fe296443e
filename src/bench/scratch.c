/* See scratch.h. */
#include "bench/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"

enum { CHUNK = 1 << 20, SECTOR = 512, SIZE_MIN = 64 << 10 /* the largest read */ };

static int usage(struct error *err, int code, const char *what, const char *path)
{
	(void)error_set(err, code, "%s '%s'", what, path);
	return error_classify(err, ERROR_USAGE);
}

/* Random bytes: some storage keeps zeros and repetitions nowhere. xorshift64*. */
static void fill(uint64_t *words, size_t n, uint64_t *state)
{
	for (size_t i = 0; i < n; i++) {
		*state ^= *state >> 12;
		*state ^= *state << 25;
		*state ^= *state >> 27;
		words[i] = *state * 0x2545f4914f6cdd1dull;
	}
}

static int write_content(int fd, uint64_t size)
{
	CLEANUP(freep) uint64_t *chunk = xmalloc(CHUNK);
	uint64_t state = 1;
	int res = 0;

	for (uint64_t done = 0; res == 0 && done < size;) {
		size_t n = (size_t)num_min(CHUNK, size - done);
		fill(chunk, CHUNK / sizeof(*chunk), &state);
		res = fd_write_all(fd, chunk, n);
		done += n;
	}
	if (res == 0 && fsync(fd) < 0)
		res = -errno;
	/* The page cache's copy is in nobody's way: all read past it. */
	if (res == 0)
		res = -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return res;
}

/* Names it by its descriptor, and tries what the readers will do. */
static int finish(struct scratch *s, const char *where, struct error *err)
{
	struct statfs fs;

	(void)snprintf(s->path, sizeof(s->path), "/proc/%d/fd/%d", (int)getpid(), s->fd);
	CLEANUP(fd_closep) int direct = open(s->path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (direct < 0)
		return usage(err, errno, "cannot read past the page cache (O_DIRECT) in", where);
	if (fstatfs(s->fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
		s->note = "the file is in memory (tmpfs): no disk was measured";
	return 0;
}

int scratch_make(const char *dir, uint64_t size, struct scratch *ret, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("%s/ktstr-bench-XXXXXX", dir);
	struct scratch s = SCRATCH_INIT;

	s.fd = mkostemp(path, O_CLOEXEC);
	if (s.fd < 0)
		return usage(err, errno, "cannot make a file in", dir);
	(void)unlink(path);
	int res = write_content(s.fd, size);
	if (res < 0)
		res = usage(err, res, "cannot write the file in", dir);
	else
		res = finish(&s, dir, err);
	if (res < 0)
		scratch_fini(&s);
	else
		*ret = s;
	return res;
}

static int check_disk(int fd, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return usage(err, errno, "cannot open", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set_usage(err, -EINVAL,
				       "'%s' is neither a regular file nor a block device", path);
	off_t size = lseek(fd, 0, SEEK_END);
	if (size < SIZE_MIN || size % SECTOR)
		return error_set_usage(err, -EINVAL,
				       "'%s' has %lld bytes: a disk to read has 64 KiB or more, in "
				       "whole sectors of %d bytes",
				       path, (long long)size, SECTOR);
	return 0;
}

int scratch_open(const char *path, struct scratch *ret, struct error *err)
{
	struct scratch s = SCRATCH_INIT;

	s.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (s.fd < 0)
		return usage(err, errno, "cannot open", path);
	if (check_disk(s.fd, path, err) < 0 || finish(&s, path, err) < 0) {
		scratch_fini(&s);
		return err->code;
	}
	*ret = s;
	return 0;
}

void scratch_fini(struct scratch *s)
{
	fd_closep(&s->fd);
}
