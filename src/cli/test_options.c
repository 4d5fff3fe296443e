#include "cli/test_options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "cli/memory_size.h"
#include "cli/option_parse.h"
#include "cli/placement_options.h"

enum {
	DEFAULT_TIMEOUT_S = 60,
	MAX_TIMEOUT_S = 30 * 86400,
	DEFAULT_RETRIES = 2,
	DEFAULT_WAIT_MS = 600 * 1000,
	MAX_RETRIES = 100,
	MAX_JOBS = 4096,
	MAX_REPEAT = 1000000,
	MAX_SHARDS = 100000,
};
#define MAX_OVERCOMMIT 1000.0

enum option_id {
	OPT_APPEND = OPTION_ID_FIRST,
	OPT_CPU_CAP,
	OPT_FAIL_FAST,
	OPT_FILTER,
	OPT_FORCE,
	OPT_HELP,
	OPT_INCLUDE,
	OPT_JOBS,
	OPT_JSON,
	OPT_JUNIT,
	OPT_KERNEL,
	OPT_LIST,
	OPT_MEMORY,
	OPT_MODULES,
	OPT_NO_LOCKS,
	OPT_NO_SKIP,
	OPT_OUTPUT,
	OPT_OVERCOMMIT,
	OPT_REPEAT,
	OPT_RETRIES,
	OPT_SEED,
	OPT_SHARD,
	OPT_TAP,
	OPT_TIMEOUT,
	OPT_WAIT,
};

/* One a line: tests/style/check_manual.sh reads them. */
/* clang-format off */
static const struct option long_options[] = {
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "cpu-cap", required_argument, NULL, OPT_CPU_CAP },
	{ "fail-fast", no_argument, NULL, OPT_FAIL_FAST },
	{ "filter", required_argument, NULL, OPT_FILTER },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "include", required_argument, NULL, OPT_INCLUDE },
	{ "jobs", required_argument, NULL, OPT_JOBS },
	{ "json", required_argument, NULL, OPT_JSON },
	{ "junit", required_argument, NULL, OPT_JUNIT },
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "list", no_argument, NULL, OPT_LIST },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "modules", required_argument, NULL, OPT_MODULES },
	{ "no-locks", no_argument, NULL, OPT_NO_LOCKS },
	{ "no-skip", no_argument, NULL, OPT_NO_SKIP },
	{ "output", required_argument, NULL, OPT_OUTPUT },
	{ "overcommit", required_argument, NULL, OPT_OVERCOMMIT },
	{ "repeat", required_argument, NULL, OPT_REPEAT },
	{ "retries", required_argument, NULL, OPT_RETRIES },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "shard", required_argument, NULL, OPT_SHARD },
	{ "tap", required_argument, NULL, OPT_TAP },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "wait", required_argument, NULL, OPT_WAIT },
	{ 0 },
};
/* clang-format on */

void test_options_usage(void)
{
	fputs(
	    "usage: ktstr test [options] PROGRAM...\n"
	    "  --list                print the tests that would run, and run none\n"
	    "  --filter GLOB         only tests whose name matches; repeatable: any of them\n"
	    "  --shard I/N           only the I-th of N parts, by a hash of the name\n"
	    "  --repeat N            run each test N times (1)\n"
	    "  --seed S              run in the random order of seed S\n"
	    "  --jobs N              at most N virtual machines at a time (as many as fit)\n"
	    "  --cpu-cap N           tests that declare no place share N CPUs each "
	    "($KTSTR_CPU_CAP)\n"
	    "  --overcommit F        let virtual machines have F times the host's CPUs (1)\n"
	    "  --memory MIB          of all virtual machines together (what the host has free)\n"
	    "  --wait DUR            wait for CPUs that others hold, as 0, 500ms, 90s, 10m (10m)\n"
	    "  --no-locks            take CPUs without asking who else runs there\n"
	    "  --timeout S           of tests that declare no limit of their own (60)\n"
	    "  --retries N           run a test again, up to N times, when the host failed it (2)\n"
	    "  --fail-fast           start no more tests after one that failed\n"
	    "  --no-skip             a test that is skipped has failed\n"
	    "  --output DIR          keep consoles, logs, result and replay.sh of each test there\n"
	    "  --json FILE           write the results there as one JSON document (-: stdout)\n"
	    "  --junit FILE          the same as JUnit XML\n"
	    "  --tap FILE            the same as TAP version 14\n"
	    "  --kernel K            kernel file, or name of a cached kernel (ktstr kernel list);\n"
	    "                        default: $KTSTR_KERNEL, the newest in the cache, the host's "
	    "own\n"
	    "  --modules DIR         module tree (lib/modules/RELEASE) instead of the one beside "
	    "the kernel\n"
	    "  --append ARGS         more kernel arguments; repeatable\n"
	    "  --include HOST[:GUEST]  take a file or folder along; repeatable\n"
	    "  --force               boot even where `ktstr doctor` says that this KVM cannot\n",
	    stdout);
}

static int parse_shard(const char *arg, struct selection *s, struct error *err)
{
	const char *slash = strchr(arg, '/');
	CLEANUP(freep)
	char *left = xasprintf("%.*s", slash ? (int)(slash - arg) : 0, arg);
	struct error unused;
	uint64_t n, i;

	if (!slash || num_parse_u64("", slash + 1, 1, MAX_SHARDS, &n, &unused) < 0 ||
	    num_parse_u64("", left, 1, n, &i, &unused) < 0)
		return error_set_usage(err, -EINVAL,
				       "--shard: '%s' is not I/N, such as 1/4: I from 1 to N, N at "
				       "most %d",
				       arg, MAX_SHARDS);
	s->shard = (uint32_t)i;
	s->n_shards = (uint32_t)n;
	return 0;
}

static int parse_u32(const char *what, const char *arg, uint64_t max, uint32_t *ret,
		     struct error *err)
{
	uint64_t value;

	if (num_parse_u64(what, arg, 1, max, &value, err) < 0)
		return err->code;
	*ret = (uint32_t)value;
	return 0;
}

static int parse_one(struct test_options *o, int id, char *arg, struct error *err)
{
	switch ((enum option_id)id) {
	case OPT_APPEND:
		option_list_add(&o->append, &o->n_append, arg);
		return 0;
	case OPT_CPU_CAP:
		o->cpu_cap = arg;
		return 0;
	case OPT_FAIL_FAST:
		o->fail_fast = true;
		return 0;
	case OPT_FILTER:
		option_list_add(&o->filters, &o->selection.n_filters, arg);
		return 0;
	case OPT_FORCE:
		o->force = true;
		return 0;
	case OPT_HELP:
		o->help = true;
		return 0;
	case OPT_INCLUDE:
		option_list_add(&o->includes, &o->n_includes, arg);
		return 0;
	case OPT_JOBS:
		return num_parse_u64("--jobs", arg, 1, MAX_JOBS, &o->jobs, err);
	case OPT_JSON:
		o->json = arg;
		return 0;
	case OPT_JUNIT:
		o->junit = arg;
		return 0;
	case OPT_KERNEL:
		o->kernel = arg;
		return 0;
	case OPT_LIST:
		o->list = true;
		return 0;
	case OPT_MEMORY:
		return num_parse_u64("--memory", arg, 2, MEMORY_SIZE_MAX_MIB, &o->memory_mib, err);
	case OPT_MODULES:
		o->modules_dir = arg;
		return 0;
	case OPT_NO_LOCKS:
		o->no_locks = true;
		return 0;
	case OPT_NO_SKIP:
		o->no_skip = true;
		return 0;
	case OPT_OUTPUT:
		o->output = arg;
		return 0;
	case OPT_OVERCOMMIT:
		return num_parse_real("--overcommit", arg, 1, MAX_OVERCOMMIT, &o->overcommit, err);
	case OPT_REPEAT:
		return parse_u32("--repeat", arg, MAX_REPEAT, &o->selection.repeat, err);
	case OPT_RETRIES:
		return num_parse_u64("--retries", arg, 0, MAX_RETRIES, &o->n_retries, err);
	case OPT_SEED:
		o->selection.shuffle = true;
		return num_parse_u64("--seed", arg, 0, UINT64_MAX, &o->selection.seed, err);
	case OPT_SHARD:
		return parse_shard(arg, &o->selection, err);
	case OPT_TAP:
		o->tap = arg;
		return 0;
	case OPT_TIMEOUT:
		return num_parse_u64("--timeout", arg, 1, MAX_TIMEOUT_S, &o->timeout_s, err);
	case OPT_WAIT:
		return placement_options_parse_wait(arg, &o->wait_ms, err);
	}
	return error_set_usage(err, -EINVAL, "unknown option; see `ktstr test --help`");
}

int test_options_parse(int argc, char **argv, struct test_options *ret, struct error *err)
{
	int id;

	*ret = (struct test_options){ .selection = { .repeat = 1 },
				      .overcommit = 1,
				      .timeout_s = DEFAULT_TIMEOUT_S,
				      .n_retries = DEFAULT_RETRIES,
				      .wait_ms = DEFAULT_WAIT_MS };
	opterr = 0;
	optind = 0; /* GNU: forget all of an earlier parse */
	/* Options may stand behind the programs, too: there is nothing of theirs on this line. */
	while ((id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (id == ':' || id == '?')
			return option_refuse(id, argv, err);
		if (parse_one(ret, id, optarg, err) < 0)
			return err->code;
	}
	ret->selection.filters = ret->filters;
	ret->programs = argv + optind;
	if (!ret->help && !ret->programs[0])
		return error_set_usage(
		    err, -EINVAL,
		    "no test program given: ktstr test [options] PROGRAM...; see "
		    "`ktstr test --help`");
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	return ret->help ? 0
			 : plan_parse_cap(ret->cpu_cap, getenv("KTSTR_CPU_CAP"), &ret->n_cpus, err);
}

void test_options_fini(struct test_options *o)
{
	freep(&o->append);
	freep(&o->includes);
	freep(&o->filters);
}
