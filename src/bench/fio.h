/* fio as the host's floor: the same reads of the same file without a VM. */
#pragma once

#include "base/error.h"

struct fio_job {
	const char *program; /* path, or found in PATH */
	const char *file;
	const char *engine; /* "io_uring", "psync" */
	bool is_random;
	unsigned block, depth;
	double seconds, warm_up_seconds;
};

struct fio_result {
	double iops, bytes_per_s;
	double p50_us, p99_us; /* from submission to completion */
	double cpu_us_per_io;  /* of fio */
};

enum { FIO_ARGV_MAX = 24, FIO_TEXT_MAX = 192 };
struct fio_argv {
	const char *argv[FIO_ARGV_MAX];
	char text[FIO_ARGV_MAX][FIO_TEXT_MAX];
};
void fio_make_argv(const struct fio_job *job, struct fio_argv *ret);
/* What `fio --output-format=json` prints; notes of its in front of the document are passed over. */
MUST_CHECK int fio_parse(const char *text, struct fio_result *ret, struct error *err);
