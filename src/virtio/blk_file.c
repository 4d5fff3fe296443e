#include "virtio/blk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/num.h"
#include "virtio/blk_command.h"

enum {
	GRANULARITY = 4096, /* of a probe for holes */
	BLOCK_SIZE_MAX = 65536,
	PROBE_ALIGN = 4096,
	PHYSICAL_MAX = 4096, /* for a regular file: more would only waste space in the guest */
};

/* Sizes */

static bool is_block_size(uint64_t n)
{
	return num_is_pow2(n) && n >= VIRTIO_BLK_SECTOR && n <= BLOCK_SIZE_MAX;
}

static int device_sizes(int fd, struct blk_file *ret, const char *name, struct error *err)
{
	unsigned physical = 0;
	int logical = 0;

	if (ioctl(fd, BLKGETSIZE64, &ret->capacity) < 0 || ioctl(fd, BLKSSZGET, &logical) < 0 ||
	    ioctl(fd, BLKPBSZGET, &physical) < 0)
		return error_set(err, errno, "'%s': cannot get its size", name);
	if (!is_block_size((uint64_t)logical))
		return error_set_usage(err, -EINVAL, "'%s' has blocks of %d bytes", name, logical);
	ret->block_size = (uint32_t)logical;
	ret->physical_block_size = is_block_size(physical)
				       ? (uint32_t)num_max(physical, ret->block_size)
				       : ret->block_size;
	return 0;
}

static int find_sizes(int fd, const struct stat *st, struct blk_file *ret, const char *name,
		      struct error *err)
{
	ret->capacity = (uint64_t)st->st_size;
	ret->block_size = VIRTIO_BLK_SECTOR;
	ret->physical_block_size = is_block_size((uint64_t)st->st_blksize)
				       ? (uint32_t)num_min((uint64_t)st->st_blksize, PHYSICAL_MAX)
				       : VIRTIO_BLK_SECTOR;
	if (S_ISBLK(st->st_mode) && device_sizes(fd, ret, name, err) < 0)
		return err->code;
	if (ret->capacity == 0)
		return error_set_usage(err, -EINVAL, "'%s' is empty", name);
	if (ret->capacity % ret->block_size)
		return error_set_usage(err, -EINVAL,
				       "'%s' has %" PRIu64
				       " bytes, which is no multiple of %" PRIu32
				       ": not a raw disk image",
				       name, ret->capacity, ret->block_size);
	return 0;
}

/* Holes */

/* The queue's answer, of the device itself or, for a partition, of the device that it is on. */
static bool device_can_zero(dev_t dev)
{
	static const char *const places[] = { "", "/.." };
	char text[32];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		CLEANUP(freep)
		char *path = xasprintf("/sys/dev/block/%u:%u%s/queue/write_zeroes_max_bytes",
				       major(dev), minor(dev), places[i]);
		if (file_read_line(path, text, sizeof(text)) == 0)
			return strtoull(text, NULL, 10) > 0;
	}
	return false;
}

/* Of a file behind its end: an answer without an effect. A block device gives none that way. */
static bool can_punch_holes(int fd, const struct stat *st)
{
	const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (S_ISBLK(st->st_mode))
		return device_can_zero(st->st_rdev);
	return S_ISREG(st->st_mode) && st->st_size < INT64_MAX - GRANULARITY &&
	       fallocate(fd, mode, st->st_size, GRANULARITY) == 0;
}

/* Direct I/O */

/*
 * A guest may write to its memory while a request reads it: the checksum of direct I/O on btrfs
 * would not fit the data, and the block could not be read any more. Files without checksums are
 * fine.
 */
static bool has_checksums(int fd)
{
	struct statfs fs;
	int flags = 0;

	if (fstatfs(fd, &fs) < 0 || fs.f_type != BTRFS_SUPER_MAGIC)
		return false;
	return ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || !(flags & FS_NOCOW_FL);
}

/* Reads a block with memory that is aligned to a sector and to no more. */
static bool can_read_direct(int fd, const struct blk_file *f)
{
	size_t n = num_max(f->block_size, VIRTIO_BLK_SECTOR);
	void *p = NULL;
	ssize_t got;

	if (posix_memalign(&p, PROBE_ALIGN, n + VIRTIO_BLK_SECTOR) != 0)
		return false;
	uint64_t offset = f->capacity > n ? n : 0;
	do
		got = pread(fd, (uint8_t *)p + VIRTIO_BLK_SECTOR, n, (off_t)offset);
	while (got < 0 && errno == EINTR);
	freep(&p);
	return got == (ssize_t)n;
}

static bool set_direct(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return false;
	flags = on ? flags | O_DIRECT : flags & ~O_DIRECT;
	return fcntl(fd, F_SETFL, flags) == 0;
}

/* Why direct I/O does not work with @fd, which has O_DIRECT from then on otherwise: then NULL. */
static const char *try_direct(int fd, struct blk_file *f)
{
	struct statx stx;

	if (has_checksums(fd))
		return "btrfs keeps checksums of this file";
	f->memory_align = VIRTIO_BLK_SECTOR;
	bool is_told = statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
		       stx.stx_mask & STATX_DIOALIGN;
	if (is_told && stx.stx_dio_offset_align == 0)
		return "its file system has no direct I/O for it";
	if (is_told &&
	    (stx.stx_dio_offset_align > f->block_size || stx.stx_dio_mem_align > VIRTIO_BLK_SECTOR))
		return "its direct I/O needs larger blocks than a guest keeps to";
	if (is_told && num_is_pow2(stx.stx_dio_mem_align))
		f->memory_align = stx.stx_dio_mem_align;
	if (!set_direct(fd, true))
		return "its file system has no direct I/O for it";
	if (is_told || can_read_direct(fd, f))
		return NULL;
	(void)set_direct(fd, false); /* took the flag before: it takes it back */
	return "direct I/O of a sector does not work";
}

int blk_file_examine(int fd, const char *name, const struct blk_file_wish *wish,
		     struct blk_file *ret, struct error *err)
{
	struct blk_file f = { 0 };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "'%s'", name);
	if (find_sizes(fd, &st, &f, name, err) < 0)
		return err->code;
	f.discards = !wish->read_only && can_punch_holes(fd, &st);
	f.why_buffered = wish->buffered ? "as asked for" : try_direct(fd, &f);
	f.is_direct = !f.why_buffered;
	*ret = f;
	return 0;
}
