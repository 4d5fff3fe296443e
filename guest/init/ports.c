/*
 * A port comes to life in steps, driven by control messages of the host: the device node, then its
 * name in sysfs, then the host's end. Each step sends a uevent or wakes the port's wait queue, so PID
 * 1 sleeps in between:
 *
 *	vportNpM (uevent add) -> name (uevent change) -> host connected (an edge on the open port; until
 *	then poll() says POLLHUP for ever, which only an edge-triggered epoll can sleep on)
 */
#include "ports.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#define CLASS_DIR  "/sys/class/virtio-ports"
#define DRIVER_DIR "/sys/bus/virtio/drivers/virtio_console"

enum {
	RESCAN_MS = 20, /* only where the kernel has no uevents (no networking) */
};

/* Does the port's name attribute hold @name? */
static bool is_named(int class_fd, const char *dev, const char *name)
{
	char path[300];
	char text[64];

	if (snprintf(path, sizeof(path), "%s/name", dev) >= (int)sizeof(path))
		return false;
	int fd = openat(class_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) /* not told yet */
		return false;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, name) == 0;
}

int ports_find(const char *class_dir, const char *name, char *dev, size_t n)
{
	DIR *dir = opendir(class_dir);
	if (dir == NULL)
		return errno == ENOENT ? -ENODEV : -errno;

	int res = -ENOENT;
	// NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
	for (const struct dirent *e; res == -ENOENT && (e = readdir(dir)) != NULL;) {
		if (e->d_name[0] == '.' || !is_named(dirfd(dir), e->d_name, name))
			continue;
		res = snprintf(dev, n, "%s", e->d_name) < (int)n ? 0 : -ENAMETOOLONG;
	}
	closedir(dir);
	return res;
}

/* Is some console device bound to the driver? If not, no port will ever appear. */
static bool has_console(void)
{
	DIR *dir = opendir(DRIVER_DIR);
	if (dir == NULL)
		return false;

	bool found = false;
	// NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
	for (const struct dirent *e; !found && (e = readdir(dir)) != NULL;)
		found = strncmp(e->d_name, "virtio", strlen("virtio")) == 0;
	closedir(dir);
	return found;
}

/* Kernel events, or -1 where there are none. */
static int open_uevents(void)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd =
	    socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	if (fd < 0)
		return -1;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Sleeps until the kernel tells of any device, or @until_ms. */
static void wait_uevent(int fd, int64_t until_ms)
{
	char event[2048];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t left = until_ms - clock_now_ms();

	if (fd < 0 && left > RESCAN_MS)
		left = RESCAN_MS;
	if (left <= 0 || poll(&p, 1, (int)left) <= 0)
		return;
	/* What it says does not matter: the caller looks again. */
	while (recv(fd, event, sizeof(event), 0) > 0)
		;
}

static int wait_port(const char *name, int64_t until_ms, char *dev, size_t n)
{
	if (ports_find(CLASS_DIR, name, dev, n) == 0)
		return 0;
	if (!has_console())
		return -ENODEV;

	int events_fd = open_uevents();
	int res = ports_find(CLASS_DIR, name, dev, n); /* it may have come before the socket */
	while (res < 0 && clock_now_ms() < until_ms) {
		wait_uevent(events_fd, until_ms);
		res = ports_find(CLASS_DIR, name, dev, n);
	}
	if (events_fd >= 0)
		close(events_fd);
	return res < 0 ? -ETIMEDOUT : 0;
}

/* Waits until the host has opened its end of the port @fd. */
static int wait_host(int fd, int64_t until_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	if (poll(&p, 1, 0) > 0 && !(p.revents & POLLHUP))
		return 0;

	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return -errno;
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	int res = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : -ETIMEDOUT;
	while (res == -ETIMEDOUT) {
		int64_t left = until_ms - clock_now_ms();
		if (left <= 0 || epoll_wait(epoll_fd, &event, 1, (int)left) <= 0)
			break;
		if (!(event.events & EPOLLHUP))
			res = 0;
	}
	close(epoll_fd);
	return res;
}

int ports_open(const char *name, int64_t limit_ms, int *ret_fd, struct fault *f)
{
	int64_t until_ms = clock_now_ms() + limit_ms;
	char dev[64];
	int res = wait_port(name, until_ms, dev, sizeof(dev));
	if (res < 0)
		return fault_set(f, res, "find port '%s'", name);

	char path[80];
	(void)snprintf(path, sizeof(path), "/dev/%s", dev);
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fault_set(f, -errno, "open port '%s' (%s)", name, path);
	res = wait_host(fd, until_ms);
	if (res < 0) {
		close(fd);
		return fault_set(f, res, "port '%s': the host does not open it", name);
	}
	*ret_fd = fd;
	return 0;
}
