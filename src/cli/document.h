/* Documents for the user (JSON, JUnit, TAP), to a file, a pipe or standard output. */
#pragma once

#include <jansson.h>

#include "base/error.h"

/*
 * Before the work: whether document_write could write to @path, so that a wrong one is told at once and
 * not after an hour. Class usage.
 */
MUST_CHECK int document_check_path(const char *path, struct error *err);
/*
 * Releases @doc (NULL: no memory). Writes it to @path, "-" for stdout; a file is replaced as a whole,
 * a pipe or device written in place. Class usage: the path is the user's.
 */
MUST_CHECK int document_write(json_t *doc, const char *path, struct error *err);
/* The same for @n bytes of text as they are. A file is on the disk, synced, before it takes its place. */
MUST_CHECK int document_write_text(const char *text, size_t n, const char *path, struct error *err);
