#include "plan/locks.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/fd.h"

/* A file that is removed and made anew again and again: somebody cleans up without looking. */
enum { MAX_REOPENS = 10 };

static struct lock_file *find_file(struct locks *l, const struct plan_lock *lock)
{
	for (size_t i = 0; i < l->n_files; i++)
		if (l->files[i].lock.id == lock->id && l->files[i].lock.kind == lock->kind)
			return &l->files[i];
	l->files = xreallocarray(l->files, l->n_files + 1, sizeof(*l->files));
	l->files[l->n_files] = (struct lock_file){ .lock = *lock, .fd = -1 };
	return &l->files[l->n_files++];
}

static int flock_once(int fd, bool exclusive)
{
	int res;

	do
		res = flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
	while (res < 0 && errno == EINTR);
	return res < 0 ? -errno : 0;
}

/* 1: held; 0: busy; -errno. */
static int take_one(struct locks *l, const struct plan_lock *lock)
{
	struct lock_file *f = find_file(l, lock);
	char name[LOCK_NAME_MAX];

	lock_dir_name(lock->kind, lock->id, name);
	for (int i = 0; i < MAX_REOPENS; i++) {
		if (f->fd < 0)
			f->fd = lock_dir_open_file(l->dir->fd, name, true);
		if (f->fd < 0)
			return f->fd;
		int res = flock_once(f->fd, lock->exclusive);
		if (res < 0)
			return res == -EWOULDBLOCK ? 0 : res;
		/* A lock on a file that was removed meanwhile (`ktstr cleanup`) keeps nobody away. */
		if (lock_dir_is_same(l->dir->fd, name, f->fd)) {
			f->is_held = true;
			f->lock.exclusive = lock->exclusive;
			return 1;
		}
		fd_closep(&f->fd);
	}
	return -ESTALE;
}

/*
 * CPUs before LLCs: one that is stopped in between would else have a CPU in an LLC that is another's alone by then.
 */
static void for_each_backwards(struct locks *l, void (*fn)(struct lock_file *f))
{
	for (int kind = PLAN_LOCK_CPU; kind >= PLAN_LOCK_LLC; kind--)
		for (size_t i = 0; i < l->n_files; i++)
			if ((int)l->files[i].lock.kind == kind)
				fn(&l->files[i]);
}

static void unlock_file(struct lock_file *f)
{
	if (f->is_held)
		(void)flock(f->fd, LOCK_UN); /* cannot fail for a lock that is held */
	f->is_held = false;
}

static void close_file(struct lock_file *f)
{
	fd_closep(&f->fd);
}

int locks_take(struct locks *l, const struct plan *plan, struct plan_lock *ret_busy,
	       struct error *err)
{
	for (size_t i = 0; i < l->n_files; i++)
		ASSERT(!l->files[i].is_held);
	for (uint32_t i = 0; i < plan->n_locks; i++) {
		const struct plan_lock *lock = &plan->locks[i];
		int res = take_one(l, lock);
		if (res == 1)
			continue;
		for_each_backwards(l, unlock_file);
		if (res < 0) {
			char name[LOCK_NAME_MAX];
			lock_dir_name(lock->kind, lock->id, name);
			return error_set(err, res, "cannot lock '%s/%s'", l->dir->path, name);
		}
		*ret_busy = *lock;
		return 0;
	}
	return 1;
}

void locks_fini(struct locks *l)
{
	for_each_backwards(l, close_file);
	freep(&l->files);
	l->n_files = 0;
}

size_t locks_held_fds(const struct locks *l, int *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n_files; i++)
		if (l->files[i].is_held)
			ret[n++] = l->files[i].fd;
	return n;
}
