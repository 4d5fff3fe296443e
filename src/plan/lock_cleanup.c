#include "plan/lock_cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"

typedef bool (*is_ours_fn)(const char *name);

static bool is_lock(const char *name)
{
	return strncmp(name, "ktstr-", 6) == 0 && strstr(name, ".lock");
}

static bool is_ticket(const char *name)
{
	return strspn(name, "0123456789") == strlen(name) || strncmp(name, "new.", 4) == 0;
}

/* O_RDONLY: closing it wakes nobody. */
static void remove_unheld(int dir_fd, const char *name, struct lock_cleanup *ret)
{
	CLEANUP(fd_closep)
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return; /* gone, or nothing of ours */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		ret->n_in_use++;
	else if (lock_dir_is_same(dir_fd, name, fd) && unlinkat(dir_fd, name, 0) == 0)
		ret->n_removed++;
	else
		ret->n_refused++;
}

/* Takes ownership of @fd. */
static int clean_folder(int fd, is_ours_fn is_ours, struct lock_cleanup *ret)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		int code = errno;
		(void)fd_close(fd);
		return -code;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this function's own */
	while ((e = readdir(dir)))
		if (e->d_type != DT_DIR && is_ours(e->d_name))
			remove_unheld(dirfd(dir), e->d_name, ret);
	(void)closedir(dir);
	return 0;
}

int lock_cleanup(const struct lock_dir *dir, struct lock_cleanup *ret, struct error *err)
{
	static const struct {
		const char *folder;
		is_ours_fn is_ours;
	} parts[] = { { ".", is_lock }, { LOCK_WAIT_FOLDER, is_ticket } };

	*ret = (struct lock_cleanup){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int fd = lock_dir_open_folder(dir->fd, parts[i].folder, false);
		if (fd == -ENOENT)
			continue;
		int res = fd < 0 ? fd : clean_folder(fd, parts[i].is_ours, ret);
		if (res < 0)
			return error_set(err, res, "lock folder '%s/%s'", dir->path,
					 parts[i].folder);
	}
	return 0;
}
