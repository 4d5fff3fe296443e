#include "plan/fd_ino.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"

int fd_info_read(int fd, struct fd_info *ret)
{
	CLEANUP(fd_closep) int info_fd = -1;
	char path[64];
	char text[512]; /* the first lines are enough; a holder's has its locks behind them */

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (info_fd < 0)
		return -errno;
	ssize_t n = read(info_fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = 0;
	return fdinfo_parse(text, ret);
}
