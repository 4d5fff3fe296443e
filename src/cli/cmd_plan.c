/*
 * `ktstr plan`: where a VM of some topology would run on this host, or on any other, and what would be locked for it. Takes
 * no lock.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/plan_json.h"
#include "cli/topology_option.h"
#include "plan/host_discover.h"
#include "plan/lock_scan.h"
#include "plan/plan_text.h"

struct options {
	const char *topology;
	const char *cpu_cap;
	const char *host;
	bool perf;
	bool spread;
	bool explain;
	bool json;
	bool help;
};

struct answer {
	struct host_source source;
	const struct host *host;
	struct plan_holders held;
	struct plan_request request;
	struct plan plan;
	struct plan_shortage why;
	enum plan_result result;
};

static int usage(FILE *to, int status)
{
	fputs("usage: ktstr plan [--topology n,l,c,t] [--perf | --cpu-cap N [--spread]]\n"
	      "                  [--host FILE.xml | --host 'numa:2 l3:2 core:4 pu:2'] [--explain] "
	      "[--json]\n"
	      "exit status: 0 a place is free, 1 it is busy now, 116 this host has none\n",
	      to);
	return status;
}

static int parse(struct options *o, int argc, char **argv, struct error *err)
{
	static const struct option long_options[] = {
		{ "cpu-cap", required_argument, NULL, 'c' },
		{ "explain", no_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ "host", required_argument, NULL, 'H' },
		{ "json", no_argument, NULL, 'j' },
		{ "perf", no_argument, NULL, 'p' },
		{ "spread", no_argument, NULL, 's' },
		{ "topology", required_argument, NULL, 't' },
		{ 0 },
	};
	int id;

	opterr = 0;
	optind = 1;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	while ((id = getopt_long(argc, argv, "+", long_options, NULL)) != -1)
		switch (id) {
		case 'c':
			o->cpu_cap = optarg;
			break;
		case 'e':
			o->explain = true;
			break;
		case 'h':
			o->help = true;
			break;
		case 'H':
			o->host = optarg;
			break;
		case 'j':
			o->json = true;
			break;
		case 'p':
			o->perf = true;
			break;
		case 's':
			o->spread = true;
			break;
		case 't':
			o->topology = optarg;
			break;
		default:
			return error_set_usage(err, -EINVAL,
					       "ktstr plan: unknown option or missing value: '%s' "
					       "(`ktstr plan --help`)",
					       argv[optind - 1]);
		}
	if (optind < argc)
		return error_set_usage(err, -EINVAL, "ktstr plan: unexpected argument '%s'",
				       argv[optind]);
	if (o->perf && o->cpu_cap)
		return error_set_usage(err, -EINVAL,
				       "--perf has CPUs of its own: it goes without --cpu-cap");
	return 0;
}

static int make_request(const struct options *o, struct answer *a, struct error *err)
{
	struct topology topology;
	uint32_t cap = 0;

	if (topology_option_parse(o->topology ? o->topology : "1,1,1,1", &topology, err) < 0)
		return err->code;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	if (!o->perf && plan_parse_cap(o->cpu_cap, getenv("KTSTR_CPU_CAP"), &cap, err) < 0)
		return err->code;
	if (o->spread && !cap)
		return error_set_usage(err, -EINVAL, "--spread is for --cpu-cap only");
	a->request = (struct plan_request){
		.tier = o->perf ? PLAN_PERFORMANCE
			: cap   ? PLAN_BUDGET
				: PLAN_DEFAULT,
		.budget = cap ? PLAN_BUDGET_OPERATOR : PLAN_BUDGET_AUTO,
		.n_cpus = cap,
		.spread = o->spread,
		.guest = plan_guest_of(&topology),
		.allowed = a->host->allowed,
	};
	return 0;
}

/* Others' locks, where there is a lock folder; only of this host. */
static int read_locks(const struct options *o, struct answer *a, struct error *err)
{
	struct lock_dir dir;

	plan_holders_init(&a->held, a->host);
	if (o->host)
		return 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	int res = lock_dir_open(&dir, getenv("KTSTR_LOCK_DIR"), false, err);
	if (res == -ENOENT)
		return 0; /* nobody ever took a lock here */
	if (res < 0)
		return res;
	struct lock_scan scan = { .dir = &dir };
	res = lock_scan_read(&scan, err);
	if (res == 0)
		lock_scan_count(&scan, &a->held);
	lock_scan_fini(&scan);
	lock_dir_close(&dir);
	return res;
}

static int ask(const struct options *o, struct answer *a, struct error *err)
{
	a->source.spec = o->host;
	if (host_source_get(&a->source, &a->host, err) < 0 || make_request(o, a, err) < 0 ||
	    read_locks(o, a, err) < 0)
		return err->code;
	a->result = plan_make(a->host, &a->held, &a->request, &a->plan, &a->why);
	return a->result == PLAN_OK || a->result == PLAN_BUSY
		   ? 0
		   : plan_result_error(a->result, &a->request, &a->why, err);
}

static void print_text(const struct options *o, const struct answer *a)
{
	const struct plan *plan = a->result == PLAN_OK ? &a->plan : NULL;
	CLEANUP(buf_fini) struct buf text = { 0 };

	plan_draw(a->host, &a->held, plan, &a->request.allowed, &text);
	if (plan)
		plan_describe(a->host, plan, &text);
	else
		buf_append_str(&text, "busy: a run would wait until others (`ktstr locks`) end\n");
	if (o->explain)
		plan_explain(a->host, &a->held, &a->request, plan, &text);
	(void)fwrite(text.data, 1, text.len, stdout); /* errors show at the flush */
}

static void print_json(const struct answer *a)
{
	bool ok = a->result == PLAN_OK;
	json_t *doc = json_pack("{s:i, s:s, s:o, s:o}", "version", 1, "result", ok ? "ok" : "busy",
				"host", plan_json_host(a->host), "plan",
				ok ? plan_json_plan(a->host, &a->plan) : json_null());

	(void)json_dumpf(doc, stdout, JSON_INDENT(2)); /* as above */
	putchar('\n');
	json_decref(doc);
}

static void answer_fini(struct answer *a)
{
	plan_fini(&a->plan);
	plan_holders_fini(&a->held);
	host_source_fini(&a->source);
}

int cmd_plan(const struct command_context *ctx UNUSED, int argc, char **argv)
{
	CLEANUP(answer_fini) struct answer a = { 0 };
	struct options o = { 0 };
	struct error err;

	if (parse(&o, argc, argv, &err) < 0)
		return command_fail(&err);
	if (o.help)
		return usage(stdout, EXIT_CODE_OK);
	if (ask(&o, &a, &err) < 0)
		return command_fail(&err);
	if (o.json)
		print_json(&a);
	else
		print_text(&o, &a);
	if (fflush(stdout)) {
		(void)error_set(&err, errno, "standard output");
		return command_fail(&err);
	}
	return a.result == PLAN_OK ? EXIT_CODE_OK : EXIT_CODE_FAILURE;
}
