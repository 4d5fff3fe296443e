#include "plan/lock_watch.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fd.h"

static int add_folder(const struct lock_watch *w, int dir_fd)
{
	char path[64];

	/* By descriptor: the path may be another folder's by now. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dir_fd);
	return inotify_add_watch(w->fd, path, IN_CLOSE_WRITE) < 0 ? -errno : 0;
}

int lock_watch_open(struct lock_watch *w, const struct lock_dir *dir, struct error *err)
{
	CLEANUP(fd_closep) int wait_fd = lock_dir_open_folder(dir->fd, LOCK_WAIT_FOLDER, true);
	int res = wait_fd < 0 ? wait_fd : 0;

	*w = LOCK_WATCH_INIT;
	if (res == 0) {
		w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		res = w->fd < 0 ? -errno : add_folder(w, dir->fd);
	}
	if (res == 0)
		res = add_folder(w, wait_fd);
	if (res < 0) {
		lock_watch_close(w);
		return error_set(err, res, "cannot watch the lock folder '%s'%s", dir->path,
				 res == -EMFILE || res == -ENOSPC
				     ? " (fs.inotify.max_user_instances, max_user_watches)"
				     : "");
	}
	return 0;
}

void lock_watch_close(struct lock_watch *w)
{
	fd_closep(&w->fd);
	w->select_wd = -1;
}

int lock_watch_selection(struct lock_watch *w, const struct lock_dir *dir, bool on)
{
	char path[128];

	if (on == (w->select_wd >= 0))
		return 0;
	if (!on) {
		(void)inotify_rm_watch(
		    w->fd, w->select_wd); /* the file may be gone, and the watch with it */
		w->select_wd = -1;
		return 0;
	}
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir->fd, LOCK_SELECT_FILE);
	w->select_wd = inotify_add_watch(w->fd, path, IN_ATTRIB);
	return w->select_wd < 0 ? -errno : 0;
}

int lock_watch_drain(struct lock_watch *w)
{
	_Alignas(struct inotify_event) char data[4096];
	int events = 0;

	for (;;) {
		ssize_t n = read(w->fd, data, sizeof(data));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? events : -errno;
		for (char *p = data; p < data + n;) {
			const struct inotify_event *e = (const void *)p;
			if (e->mask & (IN_CLOSE_WRITE | IN_Q_OVERFLOW))
				events |= LOCK_WATCH_RELEASED;
			if ((e->mask & (IN_ATTRIB | IN_Q_OVERFLOW)))
				events |= LOCK_WATCH_SELECTED;
			p += sizeof(*e) + e->len;
		}
	}
}
