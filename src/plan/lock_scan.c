#include "plan/lock_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "plan/fd_ino.h"
#include "plan/proc_locks.h"

enum { PROC_LOCKS_MAX = 64 << 20, COMMAND_MAX = 120 };

struct lock_scan_file {
	enum plan_lock_kind kind;
	uint32_t id;
	uint64_t dir_ino; /* of readdir: tells whether the file is still the same */
	uint64_t ino;     /* of /proc/locks */
	bool is_there;
};

static struct lock_scan_file *find_file(struct lock_scan *s, enum plan_lock_kind kind, uint32_t id)
{
	if (!s->by_id[kind])
		s->by_id[kind] = xcalloc(ID_SET_MAX, sizeof(**s->by_id));
	if (!s->by_id[kind][id]) {
		s->files = xreallocarray(s->files, s->n_files + 1, sizeof(*s->files));
		s->files[s->n_files] = (struct lock_scan_file){ .kind = kind, .id = id };
		s->by_id[kind][id] = (uint32_t)++s->n_files;
		s->is_sorted = false;
	}
	return &s->files[s->by_id[kind][id] - 1];
}

static void see_file(struct lock_scan *s, const struct dirent *e, struct lock_scan_file *f)
{
	CLEANUP(fd_closep) int fd = -1;
	struct fd_info info;

	f->is_there = true;
	if (f->ino && f->dir_ino == e->d_ino)
		return;
	fd = openat(s->dir->fd, e->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fd_info_read(fd, &info) < 0) {
		f->is_there = false; /* removed since */
		return;
	}
	f->dir_ino = e->d_ino;
	f->ino = info.ino;
	s->is_sorted = false;
}

static int see_files(struct lock_scan *s, struct error *err)
{
	int fd = openat(s->dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		int code = errno;
		(void)fd_close(fd);
		return error_set(err, code, "lock folder '%s'", s->dir->path);
	}
	for (size_t i = 0; i < s->n_files; i++)
		s->files[i].is_there = false;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this function's own */
	while ((e = readdir(dir))) {
		enum plan_lock_kind kind;
		uint32_t id;
		if (lock_dir_parse_name(e->d_name, &kind, &id))
			see_file(s, e, find_file(s, kind, id));
	}
	(void)closedir(dir);
	return 0;
}

/* For qsort_r: positions by the inode number of their file. */
static int compare_inos(const void *a, const void *b, void *files)
{
	const struct lock_scan_file *f = files;
	uint64_t x = f[*(const uint32_t *)a].ino;
	uint64_t y = f[*(const uint32_t *)b].ino;

	return (x > y) - (x < y);
}

static void sort_by_ino(struct lock_scan *s)
{
	if (s->is_sorted || s->n_files == 0)
		return;
	s->by_ino = xreallocarray(s->by_ino, s->n_files, sizeof(*s->by_ino));
	for (uint32_t i = 0; i < s->n_files; i++)
		s->by_ino[i] = i;
	qsort_r(s->by_ino, s->n_files, sizeof(*s->by_ino), compare_inos, s->files);
	s->is_sorted = true;
}

static const struct lock_scan_file *find_ino(const struct lock_scan *s, uint64_t ino)
{
	size_t low = 0;
	size_t high = s->n_files;

	while (low < high) {
		size_t mid = (low + high) / 2;
		if (s->files[s->by_ino[mid]].ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	/* A removed file's number may be another's by now: of equals the one that is there. */
	for (; low < s->n_files && s->files[s->by_ino[low]].ino == ino; low++)
		if (s->files[s->by_ino[low]].is_there)
			return &s->files[s->by_ino[low]];
	return NULL;
}

static int compare_holders(const void *a, const void *b)
{
	const struct lock_holder *x = a;
	const struct lock_holder *y = b;

	if (x->lock.kind != y->lock.kind)
		return x->lock.kind == PLAN_LOCK_LLC ? -1 : 1;
	if (x->lock.id != y->lock.id)
		return x->lock.id < y->lock.id ? -1 : 1;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

static void add_holder(struct lock_scan *s, const struct lock_scan_file *f,
		       const struct proc_lock *l)
{
	s->holders = xreallocarray(s->holders, s->n_holders + 1, sizeof(*s->holders));
	s->holders[s->n_holders++] = (struct lock_holder){
		.lock = { .kind = f->kind, .id = f->id, .exclusive = l->exclusive }, .pid = l->pid
	};
}

int lock_scan_read(struct lock_scan *s, struct error *err)
{
	const char *text;
	struct proc_lock l;

	if (see_files(s, err) < 0)
		return err->code;
	s->text.len = 0;
	if (file_read("/proc/locks", PROC_LOCKS_MAX, &s->text, err) < 0)
		return err->code;
	sort_by_ino(s);
	s->n_holders = 0;
	text = buf_str(&s->text);
	while (proc_locks_next(&text, &l)) {
		if (l.dev_major != s->dir->dev_major || l.dev_minor != s->dir->dev_minor)
			continue;
		const struct lock_scan_file *f = find_ino(s, l.ino);
		if (f)
			add_holder(s, f, &l);
	}
	if (s->n_holders)
		qsort(s->holders, s->n_holders, sizeof(*s->holders), compare_holders);
	return 0;
}

void lock_scan_fini(struct lock_scan *s)
{
	freep(&s->files);
	freep(&s->by_id[0]);
	freep(&s->by_id[1]);
	freep(&s->by_ino);
	freep(&s->holders);
	buf_fini(&s->text);
	s->n_files = 0;
	s->n_holders = 0;
}

void lock_scan_count(const struct lock_scan *s, struct plan_holders *to)
{
	for (size_t i = 0; i < s->n_holders; i++) {
		const struct plan_lock *l = &s->holders[i].lock;
		if (l->id < (l->kind == PLAN_LOCK_LLC ? to->n_llcs : to->n_cpus))
			plan_holders_add(to, l);
	}
}

void lock_holder_command(int32_t pid, size_t max, struct buf *to)
{
	CLEANUP(fd_closep) int fd = -1;
	char path[64];
	char text[4096];

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	while (n > 0 && !text[n - 1])
		n--;
	if (n <= 0)
		return;
	size_t keep = (size_t)n < max ? (size_t)n : max;
	for (size_t i = 0; i < keep; i++) {
		unsigned char c = (unsigned char)text[i];
		text[i] = (char)(c == 0 ? ' ' : c < ' ' || c >= 0x7f ? '?' : c);
	}
	buf_append(to, text, keep);
}

void lock_holder_describe(int32_t pid, struct buf *to)
{
	size_t before;

	buf_printf(to, "%d (", pid);
	before = to->len;
	lock_holder_command(pid, COMMAND_MAX, to);
	if (to->len == before)
		buf_append_str(to, "gone, its VM still runs");
	buf_append_str(to, ")");
}
