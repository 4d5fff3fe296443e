/* finit_module(2) for each file. The host resolved order and dependencies with libkmod and unpacked
 * the files. */
#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load_one(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int res = syscall(SYS_finit_module, fd, "", 0) < 0 ? -errno : 0;
	close(fd);
	return res;
}

int modules_load(char *const *paths, struct fault *f)
{
	for (; *paths != NULL; paths++) {
		int res = load_one(*paths);
		if (res < 0 && res != -EEXIST)
			return fault_set(f, res, "load module '%s'", *paths);
	}
	return 0;
}
