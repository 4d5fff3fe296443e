#include "cli/bench_options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/num.h"
#include "bench/batch_suite.h"

enum {
	MAX_RUNS = 10000,
	MAX_SIZE_MIB = 1024 * 1024,
	MAX_VMS = 100000,
	DEFAULT_RUNS = 5,
	DEFAULT_SIZE_MIB = 1024,
	DEFAULT_VMS = 1000,
};
#define DEFAULT_JOBS    "1,2,4,8,16,32,64"
#define MIN_SECONDS     0.01
#define MAX_SECONDS     3600.0
#define DEFAULT_SECONDS 1.0

/* One a line: tests/style/check_manual.sh reads them. */
/* clang-format off */
static const struct option long_options[] = {
	{ "dir", required_argument, NULL, 'd' },
	{ "file", required_argument, NULL, 'f' },
	{ "fio", required_argument, NULL, 'o' },
	{ "help", no_argument, NULL, 'h' },
	{ "jobs", required_argument, NULL, 'J' },
	{ "json", required_argument, NULL, 'j' },
	{ "qemu", required_argument, NULL, 'q' },
	{ "runs", required_argument, NULL, 'r' },
	{ "seconds", required_argument, NULL, 's' },
	{ "size", required_argument, NULL, 'z' },
	{ "vms", required_argument, NULL, 'v' },
	{ 0 },
};
/* clang-format on */

void bench_options_usage(void)
{
	fputs(
	    "usage: ktstr bench blk|net|batch [options]\n"
	    "  --runs N          rounds, each with every variant once (5)\n"
	    "  --seconds S       of each measurement; batch: of the look at VMs that sleep (1)\n"
	    "  --json FILE       every figure and sample as one JSON document (-: stdout)\n"
	    "  --dir DIR         blk: where the file of the benchmark is made ($TMPDIR, or here)\n"
	    "  --size MIB        blk: its size (1024)\n"
	    "  --file FILE       blk: read this file or block device instead\n"
	    "  --qemu PROGRAM    blk, net: what to compare with (qemu-system-x86_64; '': nothing)\n"
	    "  --fio PROGRAM     blk: what measures the bare host (fio; '': nothing)\n"
	    "  --jobs LIST       batch: VMs at a time (" DEFAULT_JOBS ")\n"
	    "  --vms N           batch: VMs of each batch (1000)\n",
	    stdout);
}

static int parse_jobs(const char *text, struct id_set *ret, struct error *err)
{
	if (id_set_parse(text, ret) < 0 || id_set_is_empty(ret) || id_set_has(ret, 0) ||
	    id_set_next(ret, BATCH_SUITE_JOBS_MAX + 1) != ID_SET_END)
		return error_set_usage(err, -EINVAL,
				       "--jobs: '%s' is no list of numbers from 1 to %d (as "
				       "1,2,4-8)",
				       text, BATCH_SUITE_JOBS_MAX);
	return 0;
}

static int parse_one(struct bench_options *o, int id, const char *arg, struct error *err)
{
	switch (id) {
	case 'd':
		o->dir = arg;
		return 0;
	case 'f':
		o->file = arg;
		return 0;
	case 'o':
		o->fio = arg;
		return 0;
	case 'h':
		o->help = true;
		return 0;
	case 'J':
		return parse_jobs(arg, &o->jobs, err);
	case 'j':
		o->json = arg;
		return 0;
	case 'q':
		o->qemu = arg;
		return 0;
	case 'r':
		return num_parse_u64("--runs", arg, 1, MAX_RUNS, &o->n_runs, err);
	case 's':
		return num_parse_real("--seconds", arg, MIN_SECONDS, MAX_SECONDS, &o->seconds, err);
	case 'v':
		return num_parse_u64("--vms", arg, 1, MAX_VMS, &o->n_vms, err);
	case 'z':
		return num_parse_u64("--size", arg, 1, MAX_SIZE_MIB, &o->size_mib, err);
	default:
		return error_set_usage(err, -EINVAL, "unknown option; see `ktstr bench --help`");
	}
}

static int find_suite(const char *name, struct bench_options *o, struct error *err)
{
	static const struct suite *const suites[] = { &suite_blk, &suite_net };

	if (!name)
		return error_set_usage(err, -EINVAL,
				       "what to measure? `ktstr bench blk`, `ktstr bench net` or "
				       "`ktstr bench batch`; see `ktstr bench --help`");
	o->name = name;
	if (strcmp(name, "batch") == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		if (strcmp(suites[i]->name, name) == 0) {
			o->suite = suites[i];
			return 0;
		}
	}
	return error_set_usage(err, -EINVAL, "'%s' is no suite: there are blk, net and batch",
			       name);
}

/* An option that was given and is for other suites; NULL: none. */
static const char *misplaced_option(const struct bench_options *o, const char **ret_where)
{
	bool is_batch = !o->suite, has_disk = o->suite && o->suite->has_disk;
	const struct {
		const char *option, *where;
		bool is_given, is_right;
	} checks[] = {
		{ "--file", "`ktstr bench blk`", o->file, has_disk },
		{ "--dir", "`ktstr bench blk`", o->dir, has_disk },
		{ "--size", "`ktstr bench blk`", o->size_mib, has_disk },
		{ "--fio", "`ktstr bench blk`", o->fio && *o->fio, has_disk },
		{ "--qemu", "`ktstr bench blk` and `ktstr bench net`", o->qemu && *o->qemu,
		  !is_batch },
		{ "--jobs", "`ktstr bench batch`", !id_set_is_empty(&o->jobs), is_batch },
		{ "--vms", "`ktstr bench batch`", o->n_vms, is_batch },
	};

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		if (checks[i].is_given && !checks[i].is_right) {
			*ret_where = checks[i].where;
			return checks[i].option;
		}
	}
	return NULL;
}

static int check(const struct bench_options *o, struct error *err)
{
	const char *where = NULL;
	const char *option = misplaced_option(o, &where);

	if (option)
		return error_set_usage(err, -EINVAL, "%s is for %s, not for %s", option, where,
				       o->name);
	if (o->file && o->size_mib)
		return error_set_usage(
		    err, -EINVAL, "--size is of a file that is made, and --file one that exists");
	if (o->file && o->dir)
		return error_set_usage(err, -EINVAL,
				       "--dir is where a file is made, and --file one that exists");
	return 0;
}

static void add_defaults(struct bench_options *o)
{
	if (!o->size_mib)
		o->size_mib = DEFAULT_SIZE_MIB;
	if (!o->n_vms)
		o->n_vms = DEFAULT_VMS;
	if (id_set_is_empty(&o->jobs)) {
		int res = id_set_parse(DEFAULT_JOBS, &o->jobs);
		ASSERT(res == 0);
	}
}

int bench_options_parse(int argc, char **argv, struct bench_options *ret, struct error *err)
{
	int id;

	*ret = (struct bench_options){ .n_runs = DEFAULT_RUNS, .seconds = DEFAULT_SECONDS };
	opterr = 0;
	optind = 0;
	while ((id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (id == ':')
			return error_set_usage(err, -EINVAL, "option '%s' needs a value",
					       argv[optind - 1]);
		if (id == '?')
			return error_set_usage(err, -EINVAL,
					       "unknown option '%s'; see `ktstr bench --help`",
					       argv[optind - 1]);
		if (parse_one(ret, id, optarg, err) < 0)
			return err->code;
	}
	if (ret->help)
		return 0;
	if (find_suite(argv[optind], ret, err) < 0)
		return err->code;
	if (argv[optind + 1])
		return error_set_usage(err, -EINVAL, "'%s': one suite at a time", argv[optind + 1]);
	if (check(ret, err) < 0)
		return err->code;
	add_defaults(ret);
	return 0;
}
