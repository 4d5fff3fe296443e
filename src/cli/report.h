/*
 * What `ktstr run` says at the end: the outcome line, the log on failure, the timeline, the JSON
 * document.
 */
#pragma once

#include "cli/disk.h"
#include "cli/place.h"
#include "cli/run_options.h"
#include "cli/run_result.h"

struct report {
	const struct run_options *options;
	const struct run_result *result;
	const struct disk *disk; /* NULL: none */
	const struct place *place;
	const char *kernel;  /* path */
	const char *release; /* "" if not known */
	uint64_t start_ns;   /* of the process */
	uint64_t end_ns;
	int exit_code;
};

/*
 * To stderr: nothing for a command that ran and ended; else the outcome, its reason and the log's
 * tail.
 */
void report_outcome(const struct report *r);
void report_timeline(const struct report *r);
/*
 * Notes for @result's user about streams that could not be kept whole (disk full, file limit), and
 * about tests whose results are missing.
 */
void report_note_losses(struct run_result *result);
/*
 * Writes the document (docs/run-json.md) to @path, "-" for stdout. Class usage: the path is the
 * user's.
 */
MUST_CHECK int report_json(const struct report *r, const char *path, struct error *err);
