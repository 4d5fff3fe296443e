/*
 * The file systems of the guest. The initramfs brings no mount points and the kernel mounts nothing
 * in it (DEVTMPFS_MOUNT does not apply to an initramfs), so PID 1 starts with neither /dev/console
 * nor /dev/null.
 */
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct mount_entry {
	const char *type;
	const char *target;
	unsigned long flags;
	const char *data;
	bool required;
};

/*
 * In order: a target may lie inside an earlier one. Nothing on /tmp and /run: the root file system is memory already, and
 * what the host packed there (a program under its own /tmp) must stay to be seen.
 */
static const struct mount_entry entries[] = {
	{ "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, true },
	{ "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, true },
	{ "devtmpfs", "/dev", MS_NOSUID, "mode=0755", true },
	{ "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666", false },
	{ "tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777", true },
	{ "cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "debugfs", "/sys/kernel/debug", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "tracefs", "/sys/kernel/tracing", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "bpf", "/sys/fs/bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700", false },
};

/*
 * 0 also when an optional type is missing: ENODEV from mount, or no place for it (sysfs makes the
 * mount points of the types that are built in, and nobody can mkdir there).
 */
static int mount_one(const struct mount_entry *e, struct fault *f)
{
	if (mount(e->type, e->target, e->type, e->flags, e->data) == 0)
		return 0;
	if (errno == ENOENT && mkdir(e->target, 0755) == 0 &&
	    mount(e->type, e->target, e->type, e->flags, e->data) == 0)
		return 0;
	if (errno == EBUSY) /* there already */
		return 0;
	if (!e->required && (errno == ENODEV || errno == ENOENT || errno == EPERM))
		return 0;
	return fault_set(f, -errno, "mount %s on %s", e->type, e->target);
}

/* Whatever is opened later must not become somebody's standard output. */
static int open_standard_fds(struct fault *f)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR); /* inherited on purpose: descriptors 0-2 */
	} while (fd >= 0 && fd <= 2);
	if (fd < 0)
		return fault_set(f, -errno, "open /dev/null");
	close(fd);
	return 0;
}

/* Shells and scripts use these; devtmpfs does not make them. */
static int link_dev_fds(struct fault *f)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },
		{ "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" },
		{ "/proc/self/fd/2", "/dev/stderr" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			return fault_set(f, -errno, "link %s", links[i][1]);
	}
	return 0;
}

int mounts_make(struct fault *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		int res = mount_one(&entries[i], f);
		if (res < 0)
			return res;
		if (strcmp(entries[i].target, "/dev") == 0)
			res = open_standard_fds(f);
		if (res < 0)
			return res;
	}
	return link_dev_fds(f);
}

static int raise_loopback(struct fault *f)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno == EAFNOSUPPORT || errno == ENOSYS
			   ? 0
			   : fault_set(f, -errno, "raise lo: socket");

	/* The kernel itself gives lo its 127.0.0.1 when it comes up. */
	struct ifreq request = { .ifr_flags = IFF_UP | IFF_RUNNING };
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "lo");
	int res = ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
	close(fd);
	return res < 0 ? fault_set(f, res, "raise lo") : 0;
}

int mounts_name_host(struct fault *f)
{
	if (sethostname("ktstr", strlen("ktstr")) < 0)
		return fault_set(f, -errno, "set the host name");
	return raise_loopback(f);
}
