#include "image/skeleton.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "base/fd.h"

#define BUSYBOX_GUEST_PATH "/bin/busybox"

enum { APPLETS_MAX = 64 * 1024 }; /* bytes of the list; busybox's is 5 KB */

/*
 * Where the host has a link (/bin -> usr/bin, /root -> var/roothome) so does the guest, for paths
 * of the host are kept. Then the folder, at the link's target if need be.
 */
static int add_folders(struct guest_tree *t, struct error *err)
{
	static const char *const as_on_host[] = { "/bin",    "/sbin", "/lib", "/lib64", "/lib32",
						  "/libx32", "/root", "/var", "/home" };
	static const struct {
		const char *path;
		uint32_t perm;
	} folders[] = {
		{ "/bin", 0755 },     { "/sbin", 0755 },    { "/lib", 0755 },
		{ "/lib64", 0755 },   { "/usr/bin", 0755 }, { "/usr/sbin", 0755 },
		{ "/usr/lib", 0755 }, { "/root", 0700 },    { "/var/tmp", 01777 },
		{ "/tmp", 01777 },    { "/run", 0755 },     { "/etc", 0755 },
		{ "/proc", 0555 },    { "/sys", 0555 },     { "/dev", 0755 },
		{ "/mnt", 0755 },     { "/home", 0755 },    { GUEST_MODULE_DIR, 0755 },
	};
	char target[256];

	for (size_t i = 0; i < ARRAY_SIZE(as_on_host); i++) {
		ssize_t n = readlink(as_on_host[i], target, sizeof(target) - 1);
		stamps_add(&t->stamps, as_on_host[i], false);
		if (n <= 0)
			continue; /* a folder, or nothing */
		target[n] = 0;
		if (guest_tree_add_link(t, as_on_host[i], target, GUEST_RANK_OURS, err) < 0)
			return err->code;
	}
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		if (guest_tree_add_dir(t, folders[i].path, folders[i].perm, GUEST_RANK_OURS, err) <
		    0)
			return err->code;
	}
	return 0;
}

static int add_small_files(struct guest_tree *t, struct error *err)
{
	static const struct {
		const char *path;
		const char *text;
	} files[] = {
		{ "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
				 "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n" },
		{ "/etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n" },
		{ "/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n" },
		{ "/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (guest_tree_add_text(t, files[i].path, files[i].text, GUEST_RANK_FOUND, err) < 0)
			return err->code;
	}
	/* The kernel opens /dev/console before PID 1 can mount anything. */
	if (guest_tree_add_device(t, "/dev/console", S_IFCHR | 0600, makedev(5, 1), GUEST_RANK_OURS,
				  err) < 0)
		return err->code;
	return guest_tree_add_device(t, "/dev/null", S_IFCHR | 0666, makedev(1, 3), GUEST_RANK_OURS,
				     err);
}

static int add_own_program(struct guest_tree *t, const char *guest, const char *host,
			   enum guest_rank rank, struct error *err)
{
	struct stat st;

	if (stat(host, &st) < 0 || access(host, R_OK) < 0)
		return error_set(err, errno, "cannot read '%s'", host);
	if (!S_ISREG(st.st_mode))
		return error_set_text(err, -EINVAL, "'%s' is no regular file", host);
	st.st_mode |= 0755;
	return guest_tree_add_file(t, guest, host, &st, rank, err);
}

/* Reads what the child writes until it closes its end. */
static int drain(int fd, struct buf *ret)
{
	for (;;) {
		ssize_t n = read(fd, buf_reserve(ret, 4096), 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		ret->len += (size_t)n;
		if (ret->len > APPLETS_MAX)
			return -EFBIG;
	}
}

/* posix_spawn of "busybox --list-full" with @out as its standard output; an errno value. */
static int spawn_lister(const char *busybox, int out, pid_t *ret)
{
	char *const argv[] = { (char[]){ "busybox" }, (char[]){ "--list-full" }, NULL };
	char *const envp[] = { NULL };
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r)
		return r;
	r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (!r)
		r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY,
						     0);
	if (!r)
		r = posix_spawn(ret, busybox, &actions, NULL, argv, envp);
	(void)posix_spawn_file_actions_destroy(&actions); /* always 0 */
	return r;
}

static int list_applets(const char *busybox, struct buf *ret, struct error *err)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set(err, errno, "pipe");
	CLEANUP(fd_closep) int in = fds[0];
	CLEANUP(fd_closep) int out = fds[1];
	int r = spawn_lister(busybox, out, &pid);
	if (r)
		return error_set(err, r, "cannot run '%s'", busybox);
	fd_closep(&out);
	r = drain(in, ret);
	fd_closep(&in); /* a child that still writes ends by SIGPIPE */
	int status = 0;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return error_set(err, errno, "cannot wait for '%s'", busybox);
	}
	if (r < 0)
		return error_set(err, r, "cannot read the list of '%s'", busybox);
	if (status != 0 || !ret->len)
		return error_set_text(err, -EINVAL, "'%s --list-full' lists no applets", busybox);
	return 0;
}

/* One link for each line ("usr/bin/awk") of busybox's own list. */
static int add_busybox(struct guest_tree *t, const char *host, struct error *err)
{
	CLEANUP(buf_fini) struct buf list = { 0 };

	if (add_own_program(t, BUSYBOX_GUEST_PATH, host, GUEST_RANK_FOUND, err) < 0 ||
	    list_applets(host, &list, err) < 0)
		return err->code;
	buf_append(&list, "", 1);
	char *rest = (char *)list.data;
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (!strchr(line, '/')) /* linuxrc; the end */
			continue;
		CLEANUP(freep) char *path = xasprintf("/%s", line);
		if (guest_tree_add_link(t, path, BUSYBOX_GUEST_PATH, GUEST_RANK_FOUND, err) < 0)
			return error_prefix(err, "applets of '%s'", host);
	}
	return 0;
}

int skeleton_add(struct guest_tree *tree, const char *init_path, const char *busybox_path,
		 struct error *err)
{
	if (add_folders(tree, err) < 0 || add_small_files(tree, err) < 0 ||
	    add_own_program(tree, GUEST_INIT_PATH, init_path, GUEST_RANK_OURS, err) < 0)
		return err->code;
	return busybox_path ? add_busybox(tree, busybox_path, err) : 0;
}
