/* A 16550 costs the host at least one exit per byte: this is for the last words only. */
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

static int open_node(const char *path)
{
	/* NONBLOCK: do not wait for a carrier. */
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT || strcmp(path, CONSOLE_COM2_PATH) != 0)
		return fd;
	/* Without /dev: its number never changes. */
	if (mkdir("/dev", 0755) < 0 && errno != EEXIST)
		return -1;
	if (mknod(path, S_IFCHR | 0600, makedev(4, 65)) < 0)
		return -1;
	return open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

int console_open(const char *path)
{
	int fd = open_node(path);
	if (fd < 0)
		return -errno;

	struct termios t;
	int res = 0;
	if (tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		t.c_cflag |= CLOCAL;
		res = tcsetattr(fd, TCSANOW, &t);
	} else if (errno != ENOTTY) {
		res = -1;
	}
	if (res == 0)
		res = fcntl(fd, F_SETFL, O_RDWR);
	if (res < 0) {
		res = -errno;
		close(fd);
		return res;
	}
	return fd;
}

void console_write(int fd, const void *data, size_t n)
{
	for (const char *p = data; n > 0;) {
		ssize_t wrote = write(fd, p, n);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return;
		p += wrote;
		n -= (size_t)wrote;
	}
}

void console_drain(int fd)
{
	(void)tcdrain(fd); /* fails on what is no terminal, where nothing is left to drain */
}
