#include "plan/lock_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "plan/fd_ino.h"
#include "plan/proc_locks.h"

enum { FOLDER_MODE = 01777, FILE_MODE = 0666, MOUNTINFO_MAX = 64 << 20, ATTEMPTS = 100 };

static const int folder_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

void lock_dir_name(enum plan_lock_kind kind, uint32_t id, char name[static LOCK_NAME_MAX])
{
	(void)snprintf(name, LOCK_NAME_MAX, "ktstr-%s-%u.lock",
		       kind == PLAN_LOCK_LLC ? "llc" : "cpu", id);
}

bool lock_dir_parse_name(const char *name, enum plan_lock_kind *ret_kind, uint32_t *ret_id)
{
	char canonical[LOCK_NAME_MAX];
	char kind[4];
	uint32_t id;

	/* NOLINTNEXTLINE(cert-err34-c): what does not come out the same is refused below */
	if (sscanf(name, "ktstr-%3[a-z]-%9u.lock", kind, &id) != 2 || id >= ID_SET_MAX)
		return false;
	*ret_kind = strcmp(kind, "llc") == 0 ? PLAN_LOCK_LLC : PLAN_LOCK_CPU;
	*ret_id = id;
	lock_dir_name(*ret_kind, id, canonical);
	return strcmp(name, canonical) == 0;
}

/*
 * A folder that appears with its mode: mkdir's is cut by the umask, and somebody who comes between it and a chmod would be
 * refused.
 */
static int make_folder(int dir_fd, const char *name)
{
	CLEANUP(fd_closep) int fd = -1;
	char temp[300];
	int res = 0;

	for (unsigned i = 0;; i++) {
		(void)snprintf(temp, sizeof(temp), "%.250s.%d.%u", name, (int)getpid(), i);
		if (mkdirat(dir_fd, temp, 0700) == 0)
			break;
		if (errno != EEXIST || i == ATTEMPTS)
			return -errno;
	}
	fd = openat(dir_fd, temp, folder_flags);
	if (fd < 0 || fchmod(fd, FOLDER_MODE) < 0 ||
	    renameat2(dir_fd, temp, dir_fd, name, RENAME_NOREPLACE) < 0)
		res = -errno;
	if (res < 0)
		(void)unlinkat(dir_fd, temp, AT_REMOVEDIR); /* res tells */
	return res == -EEXIST ? 0 : res;
}

int lock_dir_open_folder(int dir_fd, const char *name, bool create)
{
	int fd = openat(dir_fd, name, folder_flags);

	if (fd >= 0 || errno != ENOENT || !create)
		return fd < 0 ? -errno : fd;
	int res = make_folder(dir_fd, name);
	if (res < 0)
		return res;
	fd = openat(dir_fd, name, folder_flags);
	return fd < 0 ? -errno : fd;
}

/* Who may remove a lock that is held can have two holders of it. */
static int check_owner(struct lock_dir *d, bool is_default, struct error *err)
{
	struct stat st;

	if (fstat(d->fd, &st) < 0)
		return error_set(err, errno, "lock folder '%s'", d->path);
	if (is_default && st.st_uid != 0 && st.st_uid != geteuid()) {
		if (geteuid() != 0)
			return error_set_text(
			    err, -EPERM,
			    "lock folder '%s' belongs to user %u, who could remove locks: as root, "
			    "run `chown root %s`, or set KTSTR_LOCK_DIR to one for all users",
			    d->path, st.st_uid, d->path);
		if (fchown(d->fd, 0, 0) < 0 || fchmod(d->fd, FOLDER_MODE) < 0)
			return error_set(err, errno, "cannot take over the lock folder '%s'",
					 d->path);
		return 0;
	}
	if ((st.st_mode & 0022) && !(st.st_mode & S_ISVTX))
		return error_set_text(err, -EPERM,
				      "lock folder '%s': anybody may remove the locks of others; "
				      "run `chmod +t %s`",
				      d->path, d->path);
	return 0;
}

static int check_mount(struct lock_dir *d, struct error *err)
{
	CLEANUP(buf_fini) struct buf mounts = { 0 };
	struct mount_info mount;
	struct fd_info info;

	int res = fd_info_read(d->fd, &info);
	if (res < 0)
		return error_set(err, res, "lock folder '%s': /proc/self/fdinfo (Linux 5.14)",
				 d->path);
	if (file_read("/proc/self/mountinfo", MOUNTINFO_MAX, &mounts, err) < 0)
		return err->code;
	res = mountinfo_find(buf_str(&mounts), info.mnt_id, &mount);
	if (res < 0)
		return error_set(err, res, "lock folder '%s': its mount is not in mountinfo",
				 d->path);
	if (mount_type_is_remote(mount.type))
		return error_set_text(err, -EREMOTE,
				      "lock folder '%s' is on %s, whose locks may not be this "
				      "host's: set KTSTR_LOCK_DIR to a folder on a local file "
				      "system such as /dev/shm",
				      d->path, mount.type);
	d->dev_major = mount.dev_major;
	d->dev_minor = mount.dev_minor;
	return 0;
}

/* A file that every place needs: what keeps it away is said here, once, and not by each VM. */
static int check_use(struct lock_dir *d, struct error *err)
{
	int fd = lock_dir_open_file(d->fd, LOCK_SELECT_FILE, true);

	if (fd < 0)
		return error_set(err, fd, "lock folder '%s': cannot use '%s' in it", d->path,
				 LOCK_SELECT_FILE);
	(void)fd_close(fd);
	return 0;
}

static int open_and_check(struct lock_dir *d, bool is_default, bool create, struct error *err)
{
	d->fd = lock_dir_open_folder(AT_FDCWD, d->path, create);
	if (d->fd < 0)
		return error_set(err, d->fd, "lock folder '%s'%s", d->path,
				 d->fd == -ELOOP || d->fd == -ENOTDIR ? " is no folder" : "");
	if (check_owner(d, is_default, err) < 0 || check_mount(d, err) < 0)
		return err->code;
	return create ? check_use(d, err) : 0;
}

int lock_dir_open(struct lock_dir *d, const char *path, bool create, struct error *err)
{
	bool is_default = !path || !*path;

	*d = LOCK_DIR_INIT;
	d->path = xstrdup(is_default ? LOCK_DIR_DEFAULT : path);
	int res = open_and_check(d, is_default, create, err);
	if (res < 0) {
		if (!is_default)
			(void)error_classify(err, ERROR_USAGE);
		lock_dir_close(d);
	}
	return res;
}

void lock_dir_close(struct lock_dir *d)
{
	fd_closep(&d->fd);
	freep(&d->path);
}

/* Hard links are refused: they would be another file's name. */
static int check_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && st.st_nlink <= 1 ? 0 : -EINVAL;
}

/*
 * Made under another name first, so that it appears with its mode. The existing one is opened without O_CREAT, because
 * fs.protected_regular refuses O_CREAT on what belongs to others in a sticky folder.
 */
static int create_file(int dir_fd, const char *name, int flags)
{
	CLEANUP(fd_closep) int fd = -1;
	char temp[300];

	for (unsigned i = 0; fd < 0; i++) {
		(void)snprintf(temp, sizeof(temp), "%.250s.%d.%u", name, (int)getpid(), i);
		fd = openat(dir_fd, temp, flags | O_CREAT | O_EXCL, FILE_MODE);
		if (fd < 0 && (errno != EEXIST || i == ATTEMPTS))
			return -errno;
	}
	if (fchmod(fd, FILE_MODE) < 0 ||
	    renameat2(dir_fd, temp, dir_fd, name, RENAME_NOREPLACE) < 0) {
		int res = -errno;
		(void)unlinkat(dir_fd, temp, 0); /* res tells */
		return res;
	}
	return TAKE_FD(fd);
}

static int open_existing(int dir_fd, const char *name, int flags)
{
	CLEANUP(fd_closep) int fd = openat(dir_fd, name, flags);

	if (fd < 0)
		return -errno;
	int res = check_file(fd);
	return res < 0 ? res : TAKE_FD(fd);
}

int lock_dir_open_file(int dir_fd, const char *name, bool writable)
{
	int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

	for (unsigned i = 0; i < ATTEMPTS; i++) {
		int fd = open_existing(dir_fd, name, flags);
		if (fd != -ENOENT)
			return fd;
		fd = create_file(dir_fd, name, flags);
		if (fd != -EEXIST) /* somebody was faster */
			return fd;
	}
	return -EAGAIN;
}

bool lock_dir_is_same(int dir_fd, const char *name, int fd)
{
	struct stat a;
	struct stat b;

	return fstat(fd, &a) == 0 && fstatat(dir_fd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}
