/* The command line of `ktstr bench`, parsed and checked, nothing opened yet. */
#pragma once

#include "base/id_set.h"
#include "bench/suite.h"

struct bench_options {
	const char *name;          /* of the suite */
	const struct suite *suite; /* of devices; NULL: batch */
	uint64_t n_runs;
	double seconds;
	const char *json;
	struct id_set jobs; /* batch */
	uint64_t n_vms;
	const char *file; /* NULL: a temporary one of size_mib in dir */
	const char *dir;
	uint64_t size_mib;
	const char *qemu; /* program; NULL: the usual one if there is one; "": without */
	const char *fio;  /* the same */
	bool help;
};

/* @argv[0] is the subcommand. Errors are class usage. */
MUST_CHECK int bench_options_parse(int argc, char **argv, struct bench_options *ret,
				   struct error *err);
void bench_options_usage(void);
