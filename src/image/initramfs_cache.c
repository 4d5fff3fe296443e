#include "image/initramfs_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/num.h"
#include "image/initramfs_pack.h"

#define PLAN_MAGIC "ktstr initramfs plan 1"

enum {
	PLAN_MAX = 64 << 20, /* bytes; include folders with a million files have that */
	KEEP_BASES = 32,
	KEEP_PLANS = 256,
	TOUCH_AFTER_S = 600,
};
#define KEEP_BASE_BYTES (8 * GIB)

void initramfs_plan_fini(struct initramfs_plan *p)
{
	freep(&p->exec);
	buf_fini(&p->modules);
}

int initramfs_cache_init(struct initramfs_cache *c, const char *cache_dir, struct error *err)
{
	*c = INITRAMFS_CACHE_INIT;
	c->folder = xasprintf("%s/initramfs", cache_dir);
	/* What the user alone may read is in here, readable. */
	return file_make_dirs(c->folder, 0700, err);
}

void initramfs_cache_fini(struct initramfs_cache *c)
{
	fd_closep(&c->lock_fd);
	freep(&c->folder);
}

int initramfs_cache_lock(struct initramfs_cache *c, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("%s/lock", c->folder);

	c->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (c->lock_fd < 0)
		return error_set(err, errno, "cannot open '%s'", path);
	int res = fd_lock(c->lock_fd, LOCK_EX);
	return res < 0 ? error_set(err, res, "cannot lock '%s'", path) : 0;
}

/* ---- a plan file: NUL-terminated strings ---- */

/* The next string of @b from *pos on; NULL at the end. */
static const char *next_text(const struct buf *b, size_t *pos)
{
	const uint8_t *p = b->data + *pos;

	if (*pos >= b->len || !memchr(p, 0, b->len - *pos))
		return NULL;
	*pos += strlen((const char *)p) + 1;
	return (const char *)p;
}

static bool parse_number(const char *text, uint64_t *ret)
{
	struct error ignored; /* whatever it is, the file is damaged */

	return text && num_parse_u64("", text, 0, UINT64_MAX, ret, &ignored) == 0;
}

static bool is_key(const char *text, size_t n)
{
	return n == HASH_TEXT_MAX - 1 && strspn(text, "0123456789abcdef") >= n;
}

/* The stamps begin at *ret_stamps. */
static bool parse_plan(const struct buf *b, struct initramfs_plan *ret, const char **ret_digest,
		       size_t *ret_stamps)
{
	size_t pos = 0;
	const char *magic = next_text(b, &pos);
	const char *digest = magic ? next_text(b, &pos) : NULL;
	const char *base = digest ? next_text(b, &pos) : NULL;

	if (!base || strcmp(magic, PLAN_MAGIC) != 0 || !is_key(base, strlen(base)))
		return false;
	if (!parse_number(next_text(b, &pos), &ret->base_len) ||
	    !parse_number(next_text(b, &pos), &ret->unpacked_len))
		return false;
	const char *exec = next_text(b, &pos);
	if (!exec)
		return false;
	memcpy(ret->base, base, sizeof(ret->base));
	ret->exec = xstrdup(exec);
	for (const char *module; (module = next_text(b, &pos)) && *module;)
		buf_append(&ret->modules, module, strlen(module) + 1);
	*ret_digest = digest;
	*ret_stamps = pos;
	return pos < b->len && b->data[b->len - 1] == 0;
}

/* Later sweeps keep what was used lately. */
static void touch(int fd)
{
	struct stat st;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	if (fstat(fd, &st) == 0 && now.tv_sec - st.st_mtim.tv_sec > TOUCH_AFTER_S)
		(void)futimens(fd, NULL); /* it is a hint */
}

static int open_file(const struct initramfs_cache *c, const char *name, const char *suffix)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s.%s", c->folder, name, suffix);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		touch(fd);
	return fd;
}

int initramfs_cache_open_base(const struct initramfs_cache *c, const char *name, uint64_t *ret_len)
{
	CLEANUP(fd_closep) int fd = open_file(c, name, "lz4");
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0 || st.st_size % INITRAMFS_ALIGN)
		return -1;
	*ret_len = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

static bool read_plan(const struct initramfs_cache *c, const char *key, struct buf *ret)
{
	CLEANUP(fd_closep) int fd = open_file(c, key, "plan");
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > PLAN_MAX)
		return false;
	size_t n = (size_t)st.st_size;
	if (fd_read_exact(fd, buf_reserve(ret, n), n) < 0)
		return false;
	ret->len = n;
	return true;
}

int initramfs_cache_find(const struct initramfs_cache *c, const char *key,
			 struct initramfs_plan *ret)
{
	CLEANUP(initramfs_plan_fini) struct initramfs_plan plan = { 0 };
	CLEANUP(buf_fini) struct buf text = { 0 };
	char digest[HASH_TEXT_MAX];
	const char *wanted;
	size_t stamps;
	uint64_t len = 0;

	if (!read_plan(c, key, &text) || !parse_plan(&text, &plan, &wanted, &stamps))
		return -1;
	stamps_digest(text.data + stamps, text.len - stamps, digest, NULL);
	if (strcmp(digest, wanted) != 0)
		return -1;
	CLEANUP(fd_closep) int fd = initramfs_cache_open_base(c, plan.base, &len);
	if (fd < 0 || len != plan.base_len)
		return -1;
	*ret = plan;
	plan = (struct initramfs_plan){ 0 };
	return TAKE_FD(fd);
}

/* Packs @tree into @f, opened beside the place where a base of that name is. */
static int pack(struct initramfs_cache *c, const struct guest_tree *tree,
		struct initramfs_plan *plan, struct file_new *f, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s.lz4", c->folder, plan->base);

	ASSERT(c->lock_fd >= 0);
	if (file_new_open(f, path, err) < 0)
		return err->code;
	if (initramfs_pack(tree, f->fd, &plan->base_len, err) < 0)
		return error_prefix(err, "initramfs");
	return 0;
}

static int open_read_only(const char *path, int *ret_fd, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, errno, "cannot open '%s'", path);
	*ret_fd = fd;
	return 0;
}

int initramfs_cache_add_base(struct initramfs_cache *c, const struct guest_tree *tree,
			     struct initramfs_plan *plan, int *ret_fd, struct error *err)
{
	CLEANUP(file_new_fini) struct file_new f = FILE_NEW_INIT;

	if (pack(c, tree, plan, &f, err) < 0 || file_new_commit(&f, 0444, err) < 0)
		return err->code;
	return open_read_only(f.path, ret_fd, err);
}

int initramfs_cache_pack_unkept(struct initramfs_cache *c, const struct guest_tree *tree,
				struct initramfs_plan *plan, int *ret_fd, struct error *err)
{
	CLEANUP(file_new_fini) struct file_new f = FILE_NEW_INIT;

	if (pack(c, tree, plan, &f, err) < 0)
		return err->code;
	return open_read_only(f.temp, ret_fd, err);
}

/* ---- sweeping ---- */

struct swept {
	char name[HASH_TEXT_MAX + 8];
	int64_t mtime_ns;
	uint64_t size;
};

struct swept_list {
	struct swept *files;
	size_t n;
};

static int compare_newest_first(const void *a, const void *b)
{
	const struct swept *x = a, *y = b;

	return (x->mtime_ns < y->mtime_ns) - (x->mtime_ns > y->mtime_ns);
}

static void sweep_list(int folder_fd, struct swept_list *l, size_t keep, uint64_t keep_bytes)
{
	uint64_t bytes = 0;

	if (l->n)
		qsort(l->files, l->n, sizeof(*l->files), compare_newest_first);
	for (size_t i = 0; i < l->n; i++) {
		bytes += l->files[i].size;
		/* The newest one is in use. A file that cannot be unlinked is tried again next
		 * time. */
		if (i && (i >= keep || bytes > keep_bytes))
			(void)unlinkat(folder_fd, l->files[i].name, 0);
	}
	freep(&l->files);
	l->n = 0;
}

static void note(int folder_fd, const char *name, struct swept_list *l)
{
	struct swept f = { 0 };
	struct stat st;

	if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	struct file_stamp stamp = file_stamp_of(&st);
	(void)snprintf(f.name, sizeof(f.name), "%s", name);
	f.mtime_ns = stamp.mtime_ns;
	f.size = stamp.size;
	l->files = xreallocarray(l->files, l->n + 1, sizeof(f));
	l->files[l->n++] = f;
}

/* Who holds the lock is the only writer: a file that is neither base nor plan was left by a run
 * that was killed. */
static void sweep(const struct initramfs_cache *c)
{
	struct swept_list bases = { 0 }, plans = { 0 };
	DIR *dir = opendir(c->folder);

	if (!dir) {
		log_debug("cannot sweep '%s'", c->folder);
		return;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
	for (const struct dirent *e; (e = readdir(dir));) {
		const char *dot = strchr(e->d_name, '.');
		bool named = dot && is_key(e->d_name, (size_t)(dot - e->d_name));
		if (named && strcmp(dot, ".lz4") == 0)
			note(dirfd(dir), e->d_name, &bases);
		else if (named && strcmp(dot, ".plan") == 0)
			note(dirfd(dir), e->d_name, &plans);
		else if (named)
			(void)unlinkat(dirfd(dir), e->d_name, 0); /* tried again next time */
	}
	sweep_list(dirfd(dir), &bases, KEEP_BASES, KEEP_BASE_BYTES);
	sweep_list(dirfd(dir), &plans, KEEP_PLANS, UINT64_MAX);
	(void)closedir(dir);
}

int initramfs_cache_add_plan(struct initramfs_cache *c, const char *key,
			     const struct initramfs_plan *plan, const struct buf *paths,
			     const char *digest, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s.plan", c->folder, key);
	CLEANUP(buf_fini) struct buf text = { 0 };

	ASSERT(c->lock_fd >= 0);
	buf_printf(&text, "%s%c%s%c%s%c%" PRIu64 "%c%" PRIu64 "%c%s%c", PLAN_MAGIC, 0, digest, 0,
		   plan->base, 0, plan->base_len, 0, plan->unpacked_len, 0, plan->exec, 0);
	buf_append(&text, plan->modules.data, plan->modules.len);
	buf_append(&text, "", 1);
	buf_append(&text, paths->data, paths->len);
	if (file_replace(path, 0444, text.data, text.len, err) < 0)
		return err->code;
	sweep(c);
	return 0;
}
