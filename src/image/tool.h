/* Runs a program of the host (apt-get, dpkg-deb, depmod) to its end: argv array, no shell. Set-up
 * thread. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/*
 * Runs argv[0], looked up in PATH, in folder @cwd (NULL: the current one), with stdin /dev/null and
 * LC_ALL=C. Its standard output is appended to @ret_stdout (NULL: dropped). Errors: -ENOENT no such
 * program (errno kept for the direct caller to word); -ECHILD for a failure, with its status and
 * the end of what it wrote to stderr.
 */
MUST_CHECK int tool_run(const char *const *argv, const char *cwd, struct buf *ret_stdout,
			struct error *err);
