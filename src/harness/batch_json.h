/*
 * The JSON document of a batch (docs/test-json.md), written and read. What was written is read back as it was. The
 * reader is strict: a member that is missing, of another type or out of its range is an error that names it; members
 * that it does not know are for a newer version.
 */
#pragma once

#include "base/buf.h"
#include "harness/batch_result.h"

enum { BATCH_JSON_VERSION = 1 };
/* Bytes of a document that is read at most. */
#define BATCH_JSON_MAX ((size_t)1 << 30)

/* Appends the document: one line per test. */
void batch_json_write(const struct batch_result *b, struct buf *ret);
/* Into @b as it was initialised. Class usage; @b is to be thrown away then. */
MUST_CHECK int batch_json_read(struct batch_result *b, const void *text, size_t n,
			       struct error *err);

/* What writer and reader share. Unknown: "?", and UINT32_MAX back. */
enum { BATCH_TIME_MAX = 32 };
const char *batch_exit_kind_name(uint32_t kind);
uint32_t batch_exit_kind_parse(const char *name);
uint32_t batch_phase_parse(const char *name);
/* "2026-01-31T12:00:00.000000Z". */
void batch_time_format(uint64_t unix_us, char text[static BATCH_TIME_MAX]);
MUST_CHECK bool batch_time_parse(const char *text, uint64_t *ret);
