/*
 * `ktstr locks`: who holds which LLCs and CPUs of this host, and who waits. `ktstr cleanup`: removes lock files that nobody holds,
 * tickets of the dead, and the cgroups they left. Neither disturbs a run.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/plan_json.h"
#include "harness/cgroup.h"
#include "plan/lock_cleanup.h"
#include "plan/lock_scan.h"
#include "plan/plan_text.h"
#include "plan/tickets.h"

enum { MAX_WATCH_MS = 3600 * 1000 };

struct options {
	bool json;
	bool help;
	uint64_t watch_ms; /* 0: once */
};

static int usage(FILE *to, int status)
{
	fputs("usage: ktstr locks [--json] [--watch 1s]    who holds what, and who waits\n"
	      "       ktstr cleanup                       remove lock files that nobody "
	      "holds,\n"
	      "                                           and cgroups whose owners are "
	      "gone\n",
	      to);
	return status;
}

static int parse(struct options *o, int argc, char **argv, struct error *err)
{
	static const struct option long_options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, 'j' },
		{ "watch", required_argument, NULL, 'w' },
		{ 0 },
	};
	int id;

	opterr = 0;
	optind = 1;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	while ((id = getopt_long(argc, argv, "+", long_options, NULL)) != -1)
		if (id == 'h')
			o->help = true;
		else if (id == 'j')
			o->json = true;
		else if (id != 'w')
			return error_set_usage(err, -EINVAL,
					       "ktstr locks: unknown option or missing value: "
					       "'%s' (`ktstr locks --help`)",
					       argv[optind - 1]);
		else if (num_parse_duration_ms("--watch", optarg, MAX_WATCH_MS, &o->watch_ms, err) <
			 0)
			return err->code;
	if (optind < argc)
		return error_set_usage(err, -EINVAL, "ktstr locks: unexpected argument '%s'",
				       argv[optind]);
	return 0;
}

static void print_holders(const struct lock_scan *scan)
{
	for (size_t i = 0; i < scan->n_holders; i++) {
		const struct lock_holder *h = &scan->holders[i];
		CLEANUP(buf_fini) struct buf who = { 0 };
		lock_holder_describe(h->pid, &who);
		printf("%s %-5u %-10s %s\n", h->lock.kind == PLAN_LOCK_LLC ? "LLC" : "CPU",
		       h->lock.id, h->lock.exclusive ? "exclusive" : "shared", buf_str(&who));
	}
	if (scan->n_holders == 0)
		puts("no locks are held");
}

static void print_waiters(const struct tickets *t)
{
	uint64_t now_ns = clock_now_ns();

	for (size_t i = 0; i < t->n_earlier; i++) {
		const struct queue_entry *e = t->earlier[i];
		uint64_t age_ns = now_ns > e->arrived_ns ? now_ns - e->arrived_ns : 0;
		printf("waiting %" PRIu64 " s: %s, %u vCPUs\n", age_ns / NS_PER_S,
		       plan_tier_name(e->request.tier), plan_guest_cpus(&e->request.guest));
	}
}

static json_t *waiters_json(const struct tickets *t)
{
	uint64_t now_ns = clock_now_ns();
	json_t *list = json_array();

	for (size_t i = 0; i < t->n_earlier; i++) {
		const struct queue_entry *e = t->earlier[i];
		uint64_t age_ns = now_ns > e->arrived_ns ? now_ns - e->arrived_ns : 0;
		json_array_append_new(list, json_pack("{s:s, s:i, s:f}", "tier",
						      plan_tier_name(e->request.tier), "n_vcpus",
						      (int)plan_guest_cpus(&e->request.guest),
						      "waiting_s", (double)age_ns / 1e9));
	}
	return list;
}

/* Without a folder nobody ever took a lock here: nothing is held. */
struct view {
	struct lock_dir dir;
	struct lock_scan scan;
	struct tickets tickets;
	bool has_dir;
};

static int view_open(struct view *v, struct error *err)
{
	*v = (struct view){ .dir = LOCK_DIR_INIT, .tickets = TICKETS_INIT };
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	int res = lock_dir_open(&v->dir, getenv("KTSTR_LOCK_DIR"), false, err);
	v->has_dir = res == 0;
	v->scan.dir = &v->dir;
	return res == -ENOENT ? 0 : res;
}

static void view_close(struct view *v)
{
	tickets_fini(&v->tickets);
	lock_scan_fini(&v->scan);
	lock_dir_close(&v->dir);
}

static int view_show(struct view *v, bool json, struct error *err)
{
	if (v->has_dir &&
	    (lock_scan_read(&v->scan, err) < 0 || tickets_read(&v->tickets, &v->dir, err) < 0))
		return err->code;
	if (json) {
		json_t *doc = json_pack(
		    "{s:i, s:s, s:o, s:o}", "version", 1, "dir", v->has_dir ? v->dir.path : "",
		    "locks", plan_json_locks(&v->scan), "waiters", waiters_json(&v->tickets));
		(void)json_dumpf(doc, stdout, JSON_COMPACT); /* errors show at the flush */
		putchar('\n');
		json_decref(doc);
	} else {
		print_holders(&v->scan);
		print_waiters(&v->tickets);
	}
	return fflush(stdout) ? error_set(err, errno, "standard output") : 0;
}

int cmd_locks(const struct command_context *ctx UNUSED, int argc, char **argv)
{
	CLEANUP(view_close) struct view v = { .dir = LOCK_DIR_INIT, .tickets = TICKETS_INIT };
	struct options o = { 0 };
	struct error err;

	if (parse(&o, argc, argv, &err) < 0)
		return command_fail(&err);
	if (o.help)
		return usage(stdout, EXIT_CODE_OK);
	for (;;) {
		if (!v.has_dir) { /* it may come while we watch */
			view_close(&v);
			if (view_open(&v, &err) < 0)
				return command_fail(&err);
		}
		if (view_show(&v, o.json, &err) < 0)
			return command_fail(&err);
		if (!o.watch_ms)
			return EXIT_CODE_OK;
		(void)poll(NULL, 0, (int)o.watch_ms); /* a signal ends the process */
		if (!o.json)
			putchar('\n');
	}
}

/* Cgroups are named one by one: what ran in them was killed. */
static void clean_cgroups(void)
{
	CLEANUP(cgroup_sweep_fini) struct cgroup_sweep swept;

	cgroup_sweep(NULL, &swept);
	if (!swept.n_removed && !swept.n_in_use && !swept.n_refused)
		return;
	const char *names = buf_str(&swept.removed);
	for (size_t n; *names; names += n + 1) {
		n = strcspn(names, "\n");
		printf("removed cgroup %.*s\n", (int)n, names);
	}
	printf("cgroups: removed %u, kept %u in use%s\n", swept.n_removed, swept.n_in_use,
	       swept.n_refused ? ", others cannot be judged or removed from here" : "");
}

int cmd_cleanup(const struct command_context *ctx UNUSED, int argc, char **argv)
{
	CLEANUP(lock_dir_close) struct lock_dir dir = LOCK_DIR_INIT;
	struct lock_cleanup result = { 0 };
	struct error err;

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(stdout, EXIT_CODE_OK);
	if (argc > 1)
		return usage(stderr, EXIT_CODE_USAGE);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	int res = lock_dir_open(&dir, getenv("KTSTR_LOCK_DIR"), false, &err);
	if (res == 0)
		res = lock_cleanup(&dir, &result, &err);
	if (res < 0 && res != -ENOENT)
		return command_fail(&err);
	printf("lock files: removed %u, kept %u in use%s\n", result.n_removed, result.n_in_use,
	       result.n_refused ? ", others belong to other users" : "");
	clean_cgroups();
	return EXIT_CODE_OK;
}
