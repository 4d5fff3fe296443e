/* `ktstr report`: results of batches again: shown, merged from shards, exported, compared. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "cli/commands.h"
#include "cli/document.h"
#include "cli/exit_code.h"
#include "cli/report_files.h"
#include "cli/terminal.h"
#include "harness/batch_compare.h"
#include "harness/batch_json.h"
#include "harness/batch_junit.h"
#include "harness/batch_tap.h"

struct options {
	const char *json, *junit, *tap; /* paths; NULL: none */
	bool compare;
	bool help;
	bool has_gates;
	uint64_t slower_percent;
	uint64_t slower_ms;
	char **paths;
	size_t n_paths;
};

static int usage(FILE *to, int status)
{
	fputs(
	    "usage: ktstr report [--json FILE] [--junit FILE] [--tap FILE] FILE|DIR...\n"
	    "       ktstr report --compare [--slower-percent P] [--slower-ms MS] [--json FILE] A "
	    "B\n"
	    "Shows results of `ktstr test`, merges shards, exports them again ('-': standard "
	    "output).\n"
	    "  exit status: 0 passed, 1 failures, 3 INFRA, 2 inconclusive, 4 nothing ran\n"
	    "With --compare: what failed, was fixed, is missing or got slower from A to B.\n"
	    "  --slower-percent P  slower or worse by more than P % of the median (10)\n"
	    "  --slower-ms MS      and, for durations, by more than MS milliseconds (100)\n"
	    "  exit status: 0 nothing is worse, 1 new failures, 2 missing, unmeasured or slower\n",
	    to);
	return status;
}

enum { OPT_COMPARE = 256, OPT_JSON, OPT_JUNIT, OPT_TAP, OPT_PERCENT, OPT_MS };

static int parse_option(struct options *o, int id, const char *wrong, struct error *err)
{
	switch (id) {
	case 'h':
		o->help = true;
		return 0;
	case OPT_COMPARE:
		o->compare = true;
		return 0;
	case OPT_JSON:
		o->json = optarg;
		return 0;
	case OPT_JUNIT:
		o->junit = optarg;
		return 0;
	case OPT_TAP:
		o->tap = optarg;
		return 0;
	case OPT_PERCENT:
		o->has_gates = true;
		return num_parse_u64("--slower-percent", optarg, 0, 100000, &o->slower_percent,
				     err);
	case OPT_MS:
		o->has_gates = true;
		return num_parse_u64("--slower-ms", optarg, 0, 1000000000, &o->slower_ms, err);
	default:
		return error_set_usage(err, -EINVAL,
				       "report: unknown option, or an option without its value: "
				       "'%s' (`ktstr report --help`)",
				       wrong);
	}
}

/* Two documents on one stream are none. */
static bool shares_stdout(const struct options *o)
{
	const char *const paths[] = { o->json, o->junit, o->tap };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		n += paths[i] && strcmp(paths[i], "-") == 0;
	return n > 1;
}

static int check(const struct options *o, struct error *err)
{
	const char *const paths[] = { o->json, o->junit, o->tap };

	if (o->compare && o->n_paths != 2)
		return error_set_usage(
		    err, -EINVAL, "report --compare: two documents or folders are needed, not %zu",
		    o->n_paths);
	if (o->compare && (o->junit || o->tap))
		return error_set_usage(err, -EINVAL,
				       "report --compare: only --json is for a comparison");
	if (!o->compare && o->has_gates)
		return error_set_usage(err, -EINVAL,
				       "report: --slower-percent and --slower-ms need --compare");
	if (o->n_paths == 0)
		return error_set_usage(err, -EINVAL,
				       "report: which document or folder? (`ktstr report --help`)");
	if (shares_stdout(o))
		return error_set_usage(err, -EINVAL,
				       "report: only one document can go to standard output");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (paths[i] && document_check_path(paths[i], err) < 0)
			return err->code;
	return 0;
}

static int parse(struct options *o, int argc, char **argv, struct error *err)
{
	static const struct option long_options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "compare", no_argument, NULL, OPT_COMPARE },
		{ "json", required_argument, NULL, OPT_JSON },
		{ "junit", required_argument, NULL, OPT_JUNIT },
		{ "tap", required_argument, NULL, OPT_TAP },
		{ "slower-percent", required_argument, NULL, OPT_PERCENT },
		{ "slower-ms", required_argument, NULL, OPT_MS },
		{ 0 },
	};
	int id;

	opterr = 0;
	optind = 1;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		if (parse_option(o, id, argv[optind - 1], err) < 0)
			return err->code;
	o->paths = argv + optind;
	o->n_paths = (size_t)(argc - optind);
	return o->help ? 0 : check(o, err);
}

/* What is for the reader goes to stderr where a document takes standard output. */
static int text_fd(const struct options *o)
{
	const char *const paths[] = { o->json, o->junit, o->tap };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (paths[i] && strcmp(paths[i], "-") == 0)
			return STDERR_FILENO;
	return STDOUT_FILENO;
}

static int show(const struct options *o, struct buf *text, struct error *err)
{
	FILE *to = text_fd(o) == STDERR_FILENO ? stderr : stdout;

	if (text->len && fwrite(text->data, text->len, 1, to) != 1)
		return error_set(err, errno, "cannot write the report");
	return fflush(to) ? error_set(err, errno, "cannot write the report") : 0;
}

static int export(const struct batch_result *b,
		  void (*write)(const struct batch_result *, struct buf *), const char *path,
		  struct error *err)
{
	CLEANUP(buf_fini) struct buf text = { 0 };

	if (!path)
		return 0;
	write(b, &text);
	return document_write_text((const char *)text.data, text.len, path, err);
}

static int read_batch(struct batch_result *b, char *const *paths, size_t n, struct error *err)
{
	CLEANUP(buf_fini) struct buf notes = { 0 };

	batch_result_init(b);
	if (report_files_read(b, paths, n, &notes, err) < 0)
		return err->code;
	for (const char *p = buf_str(&notes); *p;) {
		size_t line = strcspn(p, "\n");
		fprintf(stderr, "ktstr: note: %.*s\n", (int)line, p);
		p += line + (p[line] == '\n');
	}
	return 0;
}

static int report(const struct options *o)
{
	CLEANUP(batch_result_fini) struct batch_result b;
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct batch_summary_style style = terminal_style(text_fd(o));
	struct error err;

	if (read_batch(&b, o->paths, o->n_paths, &err) < 0)
		return command_fail(&err);
	batch_summary_write(&b, &style, &text);
	if (show(o, &text, &err) < 0 || export(&b, batch_json_write, o->json, &err) < 0 ||
	    export(&b, batch_junit_write, o->junit, &err) < 0 ||
	    export(&b, batch_tap_write, o->tap, &err) < 0)
		return command_fail(&err);
	struct batch_counts counts = batch_count(&b);
	return (int)batch_exit_status(&counts);
}

static int compare(const struct options *o)
{
	CLEANUP(batch_result_fini) struct batch_result before = { 0 }, after = { 0 };
	CLEANUP(batch_comparison_fini) struct batch_comparison c = { 0 };
	CLEANUP(buf_fini) struct buf text = { 0 };
	const struct batch_compare_gates gates = { (double)o->slower_percent, o->slower_ms * 1000 };
	struct batch_summary_style style = terminal_style(text_fd(o));
	struct error err;

	if (read_batch(&before, o->paths, 1, &err) < 0 ||
	    read_batch(&after, o->paths + 1, 1, &err) < 0)
		return command_fail(&err);
	batch_compare(&before, &after, &gates, &c);
	batch_comparison_write(&c, &style, &text);
	if (show(o, &text, &err) < 0 ||
	    (o->json && document_write(batch_comparison_json(&c), o->json, &err) < 0))
		return command_fail(&err);
	return batch_comparison_exit_status(&c);
}

int cmd_report(const struct command_context *ctx UNUSED, int argc, char **argv)
{
	struct options o = { .slower_percent = 10, .slower_ms = 100 };
	struct error err;

	if (parse(&o, argc, argv, &err) < 0)
		return command_fail(&err);
	if (o.help)
		return usage(stdout, EXIT_CODE_OK);
	return o.compare ? compare(&o) : report(&o);
}
