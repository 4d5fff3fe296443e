#include "image/cache_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

int cache_folder_lock(const char *dir)
{
	CLEANUP(freep) char *path = xasprintf("%s/lock", dir);
	CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	return fd < 0 || fd_lock(fd, LOCK_EX) < 0 ? -1 : TAKE_FD(fd);
}

static bool is_entry(const char *name, const char *suffix)
{
	size_t n = strlen(name), n_suffix = strlen(suffix);

	return n > n_suffix && strcmp(name + n - n_suffix, suffix) == 0;
}

static bool is_leftover(const char *name, const char *suffix)
{
	const char *p = strstr(name, suffix);

	return p && p[strlen(suffix)] == '.';
}

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

void cache_folder_sweep(const char *dir, const char *suffix, size_t n_max)
{
	struct timespec oldest = { .tv_sec = INT64_MAX };
	char oldest_name[NAME_MAX + 1] = "";
	DIR *d = opendir(dir);
	size_t n = 0;

	if (!d)
		return;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	for (struct dirent *de; (de = readdir(d));) {
		struct stat st;
		if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (is_leftover(de->d_name, suffix))
			(void)unlinkat(dirfd(d), de->d_name, 0); /* tried again next time */
		if (!is_entry(de->d_name, suffix))
			continue;
		n++;
		if (!is_before(&st.st_mtim, &oldest))
			continue;
		oldest = st.st_mtim;
		(void)snprintf(oldest_name, sizeof(oldest_name), "%s", de->d_name);
	}
	if (n >= n_max) /* who uses it keeps a descriptor */
		(void)unlinkat(dirfd(d), oldest_name, 0);
	(void)closedir(d);
}
