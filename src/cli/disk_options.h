/* The value of --disk, parsed and checked; nothing is opened. */
#pragma once

#include "image/disk_template.h"
#include "virtio/blk_gate.h"

struct disk_options {
	char *path;         /* owned; NULL: a new disk */
	uint64_t new_bytes; /* of a new disk */
	enum disk_fs fs;    /* on a new disk */
	bool read_only;
	bool snapshot; /* the guest gets a copy */
	bool buffered;
	struct blk_limits limits; /* all that there are, also where nothing was said */
};

/*
 * "FILE[,OPTION]..." or "new=SIZE[,OPTION]...". The first comma ends a file's name. Errors are class
 * usage, one line that begins with "--disk".
 */
MUST_CHECK int disk_options_parse(const char *arg, struct disk_options *ret, struct error *err);
void disk_options_fini(struct disk_options *o);
