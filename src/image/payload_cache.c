/*
 *	by-file link --hit--> open           (no byte of the payload read)
 *	     | miss
 *	read and hash --HASH.elf there--> open, make the link
 *	     | miss
 *	lock --HASH.elf there by now--> ...
 *	     |
 *	decompress to a temporary name, rename, unlock, make the link
 *
 * The lock (flock on the folder's file "lock") keeps 32 VMs of a batch from decompressing the same
 * kernel, and makes every temporary name seen under it the leftover of a process that died. Where
 * flock does not work, entries are still made atomically; leftovers then stay.
 *
 * A link cannot lie: whatever changes a file's bytes changes its ctime, which nobody can set. Only a
 * change within the clock tick of the ctime itself could go unseen, so a file gets a link when its
 * ctime is some time past.
 */
#include "image/payload_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/num.h"
#include "image/cache_folder.h"

enum {
	COMPRESSED_MAX = 512 << 20,
	KEY_MAX = 160,
	ENTRIES_MAX = 24, /* a kernel developer makes one per build: the oldest go */
	ELF_MAGIC_LEN = 4,
};

/* Age of a ctime after which any further change gets another ctime; the second for file systems of
 * whole seconds. */
#define SETTLED_NS        (100 * NS_PER_MS)
#define SETTLED_COARSE_NS (3 * NS_PER_S)

/* The folder and the entry's name, while one payload is looked up or made. */
struct entry {
	char *dir;  /* {cache}/vmlinux */
	char *path; /* dir/HASH.elf */
	char *link; /* dir/by-file/KEY */
	bool may_link;
};

static void entry_fini(struct entry *e)
{
	freep(&e->dir);
	freep(&e->path);
	freep(&e->link);
}

static int key_init(struct entry *e, const char *cache_dir, const struct payload *p,
		    struct error *err)
{
	struct stat st;
	struct timespec now;

	if (fstat(p->fd, &st) < 0)
		return error_set(err, errno, "cannot stat it");
	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	e->dir = xasprintf("%s/vmlinux", cache_dir);
	e->link = xasprintf("%s/by-file/%jx-%jx-%jx-%jx.%lx-%jx.%lx", e->dir, (uintmax_t)st.st_dev,
			    (uintmax_t)st.st_ino, (uintmax_t)st.st_size,
			    (uintmax_t)st.st_mtim.tv_sec, (unsigned long)st.st_mtim.tv_nsec,
			    (uintmax_t)st.st_ctim.tv_sec, (unsigned long)st.st_ctim.tv_nsec);
	int64_t age_ns =
	    (now.tv_sec - st.st_ctim.tv_sec) * (int64_t)NS_PER_S + now.tv_nsec - st.st_ctim.tv_nsec;
	e->may_link = age_ns > (int64_t)(st.st_ctim.tv_nsec ? SETTLED_NS : SETTLED_COARSE_NS);
	return 0;
}

/* A finished entry has its full size; a shorter one was hit by a power loss (nothing is synced) and
 * is made again. */
static int open_entry(const char *path, const struct payload *p)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return -1;
	if (p->unpacked_len && (uint64_t)st.st_size != p->unpacked_len)
		return -1;
	return TAKE_FD(fd);
}

static int read_payload(const struct payload *p, uint8_t **ret, struct error *err)
{
	if (p->len > COMPRESSED_MAX)
		return error_set_usage(
		    err, -EFBIG, "its %s data has %" PRIu64 " bytes, more than %d MiB",
		    compression_name(p->compression), p->len, COMPRESSED_MAX >> 20);
	CLEANUP(freep) uint8_t *data = malloc(p->len ? p->len : 1);
	if (!data)
		return error_set(err, ENOMEM, "cannot read its %" PRIu64 " bytes of %s data",
				 p->len, compression_name(p->compression));
	int r = fd_pread_exact(p->fd, data, p->len, p->offset);
	if (r < 0)
		return error_set(err, r, "cannot read its %s data",
				 compression_name(p->compression));
	*ret = TAKE_PTR(data);
	return 0;
}

static void path_init(struct entry *e, const struct payload *p, const uint8_t *data)
{
	char text[HASH_TEXT_MAX];
	struct hash *h = hash_new();

	hash_update_str(h, compression_name(p->compression));
	hash_update(h, data, p->len);
	hash_format(h, text);
	hash_free(h);
	e->path = xasprintf("%s/%s.elf", e->dir, text);
}

/* Best effort: without the link the next run hashes again. */
static void make_link(const struct entry *e)
{
	const char *name = strrchr(e->path, '/') + 1;
	CLEANUP(freep) char *target = xasprintf("../%s", name);

	if (!e->may_link)
		return;
	if (symlink(target, e->link) == 0)
		return;
	/* A link to an entry that is gone, or the same link made by another process meanwhile. */
	if (errno == EEXIST && unlink(e->link) == 0 && symlink(target, e->link) == 0)
		return;
	log_debug("kernel cache: no link '%s': %s", e->link, strerrordesc_np(errno));
}

struct unpack {
	struct decompress_out out;
	struct file_new file;
	uint8_t head[PAYLOAD_HEAD_MAX];
	bool is_other; /* the output turned out to be no ELF file: given up */
};

/* The first call brings at least the magic: all decompressors fill a whole buffer or end. */
static int unpack_write(struct decompress_out *out, const uint8_t *data, size_t n,
			struct error *err)
{
	struct unpack *u = container_of(out, struct unpack, out);

	if (out->len == n) {
		memcpy(u->head, data, num_min(n, PAYLOAD_HEAD_MAX));
		u->is_other = n < ELF_MAGIC_LEN || memcmp(data, "\177ELF", ELF_MAGIC_LEN) != 0;
		if (u->is_other)
			return error_set_usage(err, -ENOEXEC, "its payload is no ELF file");
	}
	int r = fd_write_all(u->file.fd, data, n);
	if (r < 0)
		return error_set(err, r, "cannot keep its decompressed kernel as '%s'",
				 u->file.path);
	return 0;
}

static int check_unpacked_len(const struct payload *p, uint64_t len, struct error *err)
{
	if (p->unpacked_len == 0 || p->unpacked_len == len)
		return 0;
	return error_set_usage(err, -EBADMSG,
			       "its %s data is damaged: gives %" PRIu64 " bytes, says %" PRIu32,
			       compression_name(p->compression), len, p->unpacked_len);
}

/* Makes the entry's file; returns a payload_result. */
static int unpack(const struct entry *e, const struct payload *p, const uint8_t *data,
		  uint8_t *head, struct error *err)
{
	struct unpack u = {
		.out = { .write = unpack_write, .limit = PAYLOAD_MAX_UNPACKED },
		.file = FILE_NEW_INIT,
	};

	int r = file_new_open(&u.file, e->path, err);
	if (r == 0)
		r = decompress(p->compression, data, p->len, &u.out, err);
	if (r == 0)
		r = check_unpacked_len(p, u.out.len, err);
	if (r == 0 && u.out.len == 0)
		u.is_other = true;
	/* Without a known length a power loss could leave a short file that nobody would notice. */
	else if (r == 0 && p->unpacked_len == 0 && fdatasync(u.file.fd) < 0)
		r = error_set(err, errno, "cannot write '%s'", e->path);
	else if (r == 0)
		r = file_new_commit(&u.file, 0444, err);
	file_new_fini(&u.file);
	if (u.is_other) {
		memcpy(head, u.head, sizeof(u.head));
		return PAYLOAD_OTHER;
	}
	return r < 0 ? r : PAYLOAD_ELF;
}

/* Links of files that changed or went away; they are small, so they go only when there are many. */
static void prune_links(const char *dir)
{
	enum { LINKS_MAX = 256 };
	CLEANUP(freep) char *path = xasprintf("%s/by-file", dir);
	DIR *d = opendir(path);
	size_t n = 0;

	if (!d)
		return;
	while (readdir(d)) /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		n++;
	rewinddir(d);
	for (struct dirent *de;
	     n > LINKS_MAX && (de = readdir(d));) /* NOLINT(concurrency-mt-unsafe) */
		if (de->d_name[0] != '.')
			(void)unlinkat(dirfd(d), de->d_name, 0); /* made again by the next use */
	(void)closedir(d);
}

static int make_dirs(const struct entry *e, struct error *err)
{
	CLEANUP(freep) char *links = xasprintf("%s/by-file", e->dir);

	return file_make_dirs(links, 0755, err);
}

static int make_entry(const struct entry *e, const struct payload *p, const uint8_t *data,
		      int *ret_fd, uint8_t *head, struct error *err)
{
	int r = make_dirs(e, err);
	if (r < 0)
		return r;
	CLEANUP(fd_closep) int lock = cache_folder_lock(e->dir);
	*ret_fd = open_entry(e->path, p); /* made by another process meanwhile? */
	if (*ret_fd >= 0)
		return PAYLOAD_ELF;
	if (lock >= 0) {
		cache_folder_sweep(e->dir, ".elf", ENTRIES_MAX);
		prune_links(e->dir);
	}
	r = unpack(e, p, data, head, err);
	if (r != PAYLOAD_ELF)
		return r;
	*ret_fd = open_entry(e->path, p);
	return *ret_fd < 0 ? error_set(err, errno ? errno : EIO, "cannot open '%s'", e->path)
			   : PAYLOAD_ELF;
}

static int open_or_make(struct entry *e, const struct payload *p, int *ret_fd, uint8_t *head,
			struct error *err)
{
	CLEANUP(freep) uint8_t *data = NULL;

	int r = read_payload(p, &data, err);
	if (r < 0)
		return r;
	path_init(e, p, data);
	*ret_fd = open_entry(e->path, p);
	r = *ret_fd >= 0 ? PAYLOAD_ELF : make_entry(e, p, data, ret_fd, head, err);
	if (r == PAYLOAD_ELF)
		make_link(e);
	return r;
}

int payload_cache_open(const char *cache_dir, const struct payload *p, int *ret_fd,
		       uint8_t ret_head[static PAYLOAD_HEAD_MAX], struct error *err)
{
	CLEANUP(entry_fini) struct entry e = { 0 };

	memset(ret_head, 0, PAYLOAD_HEAD_MAX);
	int r = key_init(&e, cache_dir, p, err);
	if (r < 0)
		return r;
	ASSERT(e.link); /* for the analyzer, which does not know that error_set is never 0 */
	int fd = open_entry(e.link, p);
	if (fd >= 0) {
		*ret_fd = fd;
		return PAYLOAD_ELF;
	}
	return open_or_make(&e, p, ret_fd, ret_head, err);
}
