/* A folder of its own for one test, and the few things that tests do in it. Every failure fails the
 * test. */
#pragma once

#include "base/buf.h"

struct scratch {
	char path[64]; /* without symbolic links */
};

void scratch_init(struct scratch *s);
void scratch_fini(struct scratch *s);
/* "@path/@name", to be freed; parents are made. */
char *scratch_path(const struct scratch *s, const char *name);
/* A file with this content and mode; its path, to be freed. */
char *scratch_file(const struct scratch *s, const char *name, const char *text, unsigned mode);
/* The same where the path is not of interest. */
void scratch_make(const struct scratch *s, const char *name, const char *text, unsigned mode);
/* Waits until the files of the folder count as unchanged for a while. */
void scratch_settle(const struct scratch *s);
/* A shell command in the folder; its exit status. */
int scratch_run(const struct scratch *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Whether the shell finds @program; else the test is skipped. */
void scratch_need(const struct scratch *s, const char *program);
