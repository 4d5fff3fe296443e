#include "image/kernel_stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "image/kernel_entry.h"
#include "image/tool.h"
#include "image/tree.h"

#define TEMP_PREFIX ".new-"

enum { NAME_LEN_MAX = 127 };

bool kernel_stage_is_name(const char *name)
{
	static const char first[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t len = strlen(name);

	if (len == 0 || len > NAME_LEN_MAX || !strchr(first, name[0]))
		return false;
	for (const char *p = name; *p; p++)
		if (!strchr(first, *p) && !strchr("._+~-", *p))
			return false;
	return true;
}

/* Called under the lock: every temporary folder is of a process that died. */
static void remove_leftovers(const char *root)
{
	DIR *d = opendir(root);

	if (!d)
		return;
	for (struct dirent *de;
	     (de = readdir(d));) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (strncmp(de->d_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) != 0)
			continue;
		CLEANUP(freep) char *path = xasprintf("%s/%s", root, de->d_name);
		(void)tree_remove(path); /* tried again next time */
	}
	(void)closedir(d);
}

static int take_lock(const char *root, int progress_fd, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("%s/.lock", root);
	CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		return error_set(err, errno, "cannot write the kernel cache '%s'", root);
	int res = fd_lock(fd, LOCK_EX | LOCK_NB);
	if (res == -EWOULDBLOCK) {
		if (progress_fd >= 0)
			(void)dprintf(progress_fd,
				      "waiting for another ktstr that changes the kernel cache\n");
		res = fd_lock(fd, LOCK_EX);
	}
	if (res < 0)
		return error_set(err, res, "cannot lock the kernel cache '%s'", root);
	return TAKE_FD(fd);
}

int kernel_stage_open(struct kernel_stage *s, const char *cache_dir, int progress_fd,
		      struct error *err)
{
	*s = KERNEL_STAGE_INIT;
	s->root = xasprintf("%s/kernels", cache_dir);
	int r = file_make_dirs(s->root, 0755, err);
	if (r < 0)
		return r;
	s->lock_fd = take_lock(s->root, progress_fd, err);
	if (s->lock_fd < 0)
		return err->code;
	remove_leftovers(s->root);
	CLEANUP(freep) char *temp = xasprintf("%s/" TEMP_PREFIX "XXXXXX", s->root);
	if (!mkdtemp(temp))
		return error_set(err, errno, "cannot write the kernel cache '%s'", s->root);
	s->temp = TAKE_PTR(temp);
	s->entry = xasprintf("%s/entry", s->temp);
	return file_make_dirs(s->entry, 0755, err);
}

int kernel_stage_modules_dir(const struct kernel_stage *s, const char *release, char **ret,
			     struct error *err)
{
	CLEANUP(freep) char *parent = xasprintf("%s/lib/modules", s->entry);

	int r = file_make_dirs(parent, 0755, err);
	if (r == 0)
		*ret = xasprintf("%s/%s", parent, release);
	return r;
}

static int run_depmod(const char *entry, const char *release, struct error *err)
{
	const char *argv[] = { "depmod", "-b", entry, release, NULL };
	CLEANUP(freep) char *usr = xasprintf("%s/usr", entry);

	/* A depmod of a host with /usr/lib/modules looks there in ENTRY, too. */
	if (symlink(".", usr) < 0)
		return error_set(err, errno, "cannot make '%s'", usr);
	int r = tool_run(argv, NULL, NULL, err);
	if (r == -ENOENT) {
		argv[0] = "/sbin/depmod"; /* not in the PATH of plain users */
		r = tool_run(argv, NULL, NULL, err);
	}
	(void)unlink(usr); /* a link too many hurts nobody */
	if (r == -ENOENT)
		return error_set_text(err, -ENOENT,
				      "no depmod on this host: install the package kmod");
	return r;
}

static int complete_modules(const struct kernel_stage *s, const char *release, struct error *err)
{
	CLEANUP(freep) char *dep = xasprintf("%s/lib/modules/%s/modules.dep", s->entry, release);

	if (access(dep, F_OK) == 0)
		return 0;
	int r = run_depmod(s->entry, release, err);
	if (r == 0 && access(dep, F_OK) < 0)
		return error_set_text(err, -ENOENT, "depmod made no modules.dep for %s", release);
	return r;
}

static int write_source(const struct kernel_stage *s, const char *source, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("%s/source", s->entry);
	CLEANUP(freep) char *line = xasprintf("%s\n", source);
	CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

	int r = fd < 0 ? -errno : fd_write_all(fd, line, strlen(line));
	return r < 0 ? error_set(err, r, "cannot write '%s'", path) : 0;
}

/* Puts temp/entry in the place of root/NAME; an old entry ends up under temp and goes with it. */
static int replace_entry(const struct kernel_stage *s, const char *path)
{
	CLEANUP(freep) char *old = xasprintf("%s/old", s->temp);

	if (rename(s->entry, path) == 0)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	if (renameat2(AT_FDCWD, s->entry, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
		return 0;
	/* A file system without exchange: for an instant there is no entry. */
	if (rename(path, old) < 0)
		return -errno;
	if (rename(s->entry, path) == 0)
		return 0;
	int r = -errno;
	(void)rename(old, path); /* the failure to report is the one above */
	return r;
}

int kernel_stage_commit(struct kernel_stage *s, const char *name, const char *release,
			const char *source, struct kernel_entry *ret, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("%s/%s", s->root, name);

	int r = release ? complete_modules(s, release, err) : 0;
	if (r == 0)
		r = write_source(s, source, err);
	if (r < 0)
		return r;
	r = replace_entry(s, path);
	if (r < 0)
		return error_set(err, r, "cannot put '%s' in place", path);
	if (!kernel_entry_load(s->root, name, ret))
		return error_set_text(err, -EIO, "cache entry '%s' vanished", path);
	return 0;
}

void kernel_stage_fini(struct kernel_stage *s)
{
	if (s->temp)
		(void)tree_remove(s->temp); /* what stays, the next stage removes */
	freep(&s->temp);
	freep(&s->entry);
	freep(&s->root);
	fd_closep(&s->lock_fd); /* gives the lock back, now that nothing of ours is left */
}
