#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
    debug; /* the one mutable global (tests/style allows it): written once, before threads */

void log_init(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before there are threads, says log.h */
	const char *level = getenv("KTSTR_LOG");

	debug = level && strcmp(level, "debug") == 0;
}

bool log_is_debug(void)
{
	return debug;
}

void log_debug(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (!debug)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "ktstr: debug: %s\n", line);
}
