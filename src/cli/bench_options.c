#include "cli/bench_options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

enum { MAX_RUNS = 10000, MAX_SIZE_MIB = 1024 * 1024, DEFAULT_RUNS = 5, DEFAULT_SIZE_MIB = 1024 };
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
	{ "json", required_argument, NULL, 'j' },
	{ "qemu", required_argument, NULL, 'q' },
	{ "runs", required_argument, NULL, 'r' },
	{ "seconds", required_argument, NULL, 's' },
	{ "size", required_argument, NULL, 'z' },
	{ 0 },
};
/* clang-format on */

void bench_options_usage(void)
{
	fputs("usage: ktstr bench blk|net [options]\n"
	      "  --runs N          rounds, each with every variant once (5)\n"
	      "  --seconds S       of each measurement (1)\n"
	      "  --json FILE       every figure and sample as one JSON document (-: stdout)\n"
	      "  --dir DIR         where the file of the benchmark is made ($TMPDIR, or here)\n"
	      "  --size MIB        its size (1024)\n"
	      "  --file FILE       read this file or block device instead\n"
	      "  --qemu PROGRAM    what to compare with (qemu-system-x86_64; '': nothing)\n"
	      "  --fio PROGRAM     what measures the bare host (fio; '': nothing)\n",
	      stdout);
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
	case 'z':
		return num_parse_u64("--size", arg, 1, MAX_SIZE_MIB, &o->size_mib, err);
	default:
		return error_set_usage(err, -EINVAL, "unknown option; see `ktstr bench --help`");
	}
}

static int find_suite(const char *name, const struct suite **ret, struct error *err)
{
	static const struct suite *const suites[] = { &suite_blk, &suite_net };

	if (!name)
		return error_set_usage(err, -EINVAL,
				       "what to measure? `ktstr bench blk` or `ktstr bench net`; "
				       "see `ktstr bench --help`");
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		if (strcmp(suites[i]->name, name) == 0) {
			*ret = suites[i];
			return 0;
		}
	}
	return error_set_usage(err, -EINVAL, "'%s' is no suite: there are blk and net", name);
}

/* What reads files is for blk. */
static const char *disk_option(const struct bench_options *o)
{
	if (o->file)
		return "--file";
	if (o->dir)
		return "--dir";
	if (o->size_mib)
		return "--size";
	return o->fio && *o->fio ? "--fio" : NULL;
}

static int check(const struct bench_options *o, struct error *err)
{
	const char *option = o->suite->has_disk ? NULL : disk_option(o);

	if (option)
		return error_set_usage(err, -EINVAL, "%s is for `ktstr bench blk`: %s has no file",
				       option, o->suite->name);
	if (o->file && o->size_mib)
		return error_set_usage(
		    err, -EINVAL, "--size is of a file that is made, and --file one that exists");
	if (o->file && o->dir)
		return error_set_usage(err, -EINVAL,
				       "--dir is where a file is made, and --file one that exists");
	return 0;
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
	if (find_suite(argv[optind], &ret->suite, err) < 0)
		return err->code;
	if (argv[optind + 1])
		return error_set_usage(err, -EINVAL, "'%s': one suite at a time", argv[optind + 1]);
	if (check(ret, err) < 0)
		return err->code;
	if (!ret->size_mib)
		ret->size_mib = DEFAULT_SIZE_MIB;
	return 0;
}
