#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"

void scratch_init(struct scratch *s)
{
	char template[] = "/var/tmp/ktstr-test-XXXXXX";

	assert_non_null(mkdtemp(template));
	char *real = realpath(template, NULL);
	assert_non_null(real);
	assert_true(strlen(real) < sizeof(s->path));
	strcpy(s->path, real);
	free(real);
}

void scratch_fini(struct scratch *s)
{
	assert_int_equal(scratch_run(s, "chmod -R u+rwX . && rm -rf \"$PWD\""), 0);
}

char *scratch_path(const struct scratch *s, const char *name)
{
	char *path = xasprintf("%s/%s", s->path, name);
	char *slash = strrchr(path, '/');
	struct error err;

	*slash = 0;
	assert_int_equal(file_make_dirs(path, 0755, &err), 0);
	*slash = '/';
	return path;
}

char *scratch_file(const struct scratch *s, const char *name, const char *text, unsigned mode)
{
	char *path = scratch_path(s, name);

	(void)unlink(path); /* a new file, with a new inode, where there was one */
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
	return path;
}

void scratch_make(const struct scratch *s, const char *name, const char *text, unsigned mode)
{
	CLEANUP(freep) char *path = scratch_file(s, name, text, mode);

	assert_int_equal(access(path, F_OK), 0);
}

void scratch_settle(const struct scratch *s)
{
	assert_int_equal(scratch_run(s, "sleep 0.06"), 0);
}

int scratch_run(const struct scratch *s, const char *fmt, ...)
{
	CLEANUP(freep) char *command = NULL;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&command, fmt, ap);
	va_end(ap);
	assert_true(n >= 0);
	CLEANUP(freep) char *line = xasprintf("cd '%s' || exit 125\n%s", s->path, command);
	int status = system(line);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

void scratch_need(const struct scratch *s, const char *program)
{
	if (scratch_run(s, "command -v %s >/dev/null", program) != 0) {
		print_message("%s is not installed\n", program);
		skip();
	}
}
