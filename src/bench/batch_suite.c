/* See batch_suite.h. Medians over the rounds in the tables; the document has every sample. */
#include "bench/batch_suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/dist.h"
#include "bench/report.h"

enum { FEW = 2, MANY = 10, NAME_WIDTH = 8, VALUE_WIDTH = 10 };

enum metric {
	RATE,         /* VMs a second */
	RATE_PER_CPU, /* of those that the batch may use */
	VM_MS,        /* CPU time of a VM's process */
	RUNNER_MS,    /* CPU time of the runner per VM */
	RUNNER_SHARE, /* of one CPU, in per cent */
	WALL,
	IDEAL, /* CPU time of VMs and runner, spread evenly */
	OVER,  /* how much longer than that it took, in per cent */
	OTHER, /* of the CPUs' time: neither these processes nor idle */
	IDLE,  /* of the CPUs' time */
	MAX_RSS,
	N_METRICS
};

static const struct {
	const char *key, *title;
	int decimals;
} metrics[N_METRICS] = {
	[RATE] = { "vms_per_s", "VMs/s", 1 },
	[RATE_PER_CPU] = { "vms_per_s_per_cpu", "per CPU", 1 },
	[VM_MS] = { "vm_cpu_ms", "VM ms", 2 },
	[RUNNER_MS] = { "runner_cpu_ms", "runner ms", 3 },
	[RUNNER_SHARE] = { "runner_percent", "of a CPU %", 1 },
	[WALL] = { "wall_s", "wall s", 2 },
	[IDEAL] = { "ideal_s", "ideal s", 2 },
	[OVER] = { "over_percent", "over %", 1 },
	[OTHER] = { "other_percent", "other %", 1 },
	[IDLE] = { "idle_percent", "idle %", 1 },
	[MAX_RSS] = { "max_rss_kib", "RSS KiB", 0 },
};

enum idle_metric { PSS, RSS, IO_WAKEUPS, RUNNER_WAKEUPS, IDLE_CPU, N_IDLE_METRICS };

static const struct {
	const char *key, *title;
	int decimals;
} idle_metrics[N_IDLE_METRICS] = {
	[PSS] = { "pss_kib", "memory of one more VM: PSS, KiB", 0 },
	[RSS] = { "rss_kib", "                       RSS, KiB", 0 },
	[IO_WAKEUPS] = { "io_wakeups_per_s", "wake-ups of an I/O thread per second", 2 },
	[RUNNER_WAKEUPS] = { "runner_wakeups_per_s", "wake-ups of the runner per second", 2 },
	[IDLE_CPU] = { "cpu_ms_per_s", "CPU ms per second, runner and 10 VMs", 3 },
};

struct results {
	unsigned jobs;
	struct dist d[N_METRICS];
};

struct suite_state {
	const struct batch_suite_config *config;
	unsigned n_cpus, n_jobs;
	struct results *results; /* by value of jobs, ascending */
	struct dist idle[N_IDLE_METRICS];
	int signal;
};

static void fini(struct suite_state *s)
{
	for (unsigned i = 0; i < s->n_jobs; i++)
		for (unsigned m = 0; m < N_METRICS; m++)
			dist_fini(&s->results[i].d[m]);
	for (unsigned m = 0; m < N_IDLE_METRICS; m++)
		dist_fini(&s->idle[m]);
	freep(&s->results);
}

/* Measuring */

static void add_sample(const struct suite_state *s, const struct batch_sample *x, struct dist *d)
{
	double n = s->config->n_vms;
	double used = x->vms_cpu_s + x->runner_cpu_s;
	double all = x->wall_s * s->n_cpus;
	const double values[N_METRICS] = {
		[RATE] = n / x->wall_s,
		[RATE_PER_CPU] = n / x->wall_s / s->n_cpus,
		[VM_MS] = x->vms_cpu_s / n * 1e3,
		[RUNNER_MS] = x->runner_cpu_s / n * 1e3,
		[RUNNER_SHARE] = x->runner_cpu_s / x->wall_s * 100,
		[WALL] = x->wall_s,
		[IDEAL] = used / s->n_cpus,
		[OVER] = (all / used - 1) * 100,
		/* The kernel counts idle time in ticks. */
		[OTHER] = fmax(0, all - used - x->idle_s) / all * 100,
		[IDLE] = x->idle_s / all * 100,
		[MAX_RSS] = x->max_rss_kib,
	};

	for (unsigned m = 0; m < N_METRICS; m++)
		if (!isnan(values[m]))
			dist_add(&d[m], values[m]);
}

static int run_batches(struct suite_state *s, struct error *err)
{
	const struct batch_suite_config *c = s->config;

	for (unsigned i = 0; i < s->n_jobs; i++) {
		struct batch_sample sample;
		if (batch_vms_run(&c->vms, c->n_vms, s->results[i].jobs, &sample, &s->signal, err) <
		    0)
			return err->code;
		add_sample(s, &sample, s->results[i].d);
	}
	return 0;
}

static int run_idle(struct suite_state *s, struct error *err)
{
	const struct batch_suite_config *c = s->config;
	double seconds = c->seconds;
	struct batch_idle few, many;

	if (batch_vms_idle(&c->vms, FEW, seconds, &few, &s->signal, err) < 0 ||
	    batch_vms_idle(&c->vms, MANY, seconds, &many, &s->signal, err) < 0)
		return err->code;
	dist_add(&s->idle[PSS], (many.pss_kib - few.pss_kib) / (MANY - FEW));
	dist_add(&s->idle[RSS], (many.rss_kib - few.rss_kib) / (MANY - FEW));
	dist_add(&s->idle[IO_WAKEUPS], many.io_wakeups / MANY / seconds);
	dist_add(&s->idle[RUNNER_WAKEUPS], many.runner_wakeups / seconds);
	dist_add(&s->idle[IDLE_CPU], many.cpu_ms / seconds);
	return 0;
}

/* Aims, of medians */

struct aim {
	const char *key, *title;
	double value, aim;
	bool at_least;
};
enum { N_AIMS = 4 };

static bool is_met(const struct aim *a)
{
	return a->at_least ? a->value >= a->aim : a->value <= a->aim;
}

/* The value of --jobs with the most VMs per second, at which runner and makespan are judged. */
static const struct results *best(const struct suite_state *s)
{
	const struct results *ret = &s->results[0];

	for (unsigned i = 1; i < s->n_jobs; i++)
		if (report_median(&s->results[i].d[RATE]) > report_median(&ret->d[RATE]))
			ret = &s->results[i];
	return ret;
}

static void find_aims(const struct suite_state *s, struct aim ret[N_AIMS])
{
	const struct results *r = best(s);
	const struct aim aims[N_AIMS] = {
		{ "vms_per_s_per_cpu", "VMs per second and CPU", report_median(&r->d[RATE_PER_CPU]),
		  100, true },
		{ "runner_percent", "runner, per cent of one CPU",
		  report_median(&r->d[RUNNER_SHARE]), 2, false },
		{ "over_percent", "makespan over the ideal, per cent", report_median(&r->d[OVER]),
		  5, false },
		{ "io_wakeups_per_s", "wake-ups of an idle VM's I/O thread per second",
		  report_median(&s->idle[IO_WAKEUPS]), 0, false },
	};

	memcpy(ret, aims, sizeof(aims));
}

/* Text */

static void put_tables(const struct suite_state *s, struct buf *text)
{
	buf_printf(text, "\n%u VMs of micro-guests, %u CPU%s\n%*s", s->config->n_vms, s->n_cpus,
		   s->n_cpus == 1 ? "" : "s", NAME_WIDTH, "jobs");
	for (unsigned m = 0; m < N_METRICS; m++)
		buf_printf(text, " %*s", VALUE_WIDTH, metrics[m].title);
	buf_append_str(text, "\n");
	for (unsigned i = 0; i < s->n_jobs; i++) {
		buf_printf(text, "%*u", NAME_WIDTH, s->results[i].jobs);
		for (unsigned m = 0; m < N_METRICS; m++)
			report_put_value(text, report_median(&s->results[i].d[m]), VALUE_WIDTH,
					 metrics[m].decimals);
		buf_append_str(text, "\n");
	}
	buf_append_str(text, "\nVMs whose guests sleep\n");
	for (unsigned m = 0; m < N_IDLE_METRICS; m++) {
		buf_printf(text, "  %-50s", idle_metrics[m].title);
		report_put_value(text, report_median(&s->idle[m]), VALUE_WIDTH,
				 idle_metrics[m].decimals);
		buf_append_str(text, "\n");
	}
}

static void put_aims(const struct suite_state *s, struct buf *text)
{
	struct aim aims[N_AIMS];

	find_aims(s, aims);
	buf_printf(text, "\naims, at --jobs %u\n", best(s)->jobs);
	for (unsigned i = 0; i < N_AIMS; i++)
		buf_printf(text, "  %-50s %*.1f   aim %s %g: %s\n", aims[i].title, VALUE_WIDTH,
			   aims[i].value, aims[i].at_least ? ">=" : "<=", aims[i].aim,
			   is_met(&aims[i]) ? "met" : "missed");
}

/* The document */

static json_t *workloads_json(const struct suite_state *s)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < s->n_jobs; i++) {
		CLEANUP(freep) char *key = xasprintf("jobs-%u", s->results[i].jobs);
		json_t *values = json_object();
		for (unsigned m = 0; m < N_METRICS; m++)
			json_object_set_new(values, metrics[m].key, dist_json(&s->results[i].d[m]));
		json_object_set_new(all, key, json_pack("{s:o}", "ktstr", values));
	}
	return all;
}

static json_t *idle_json(const struct suite_state *s)
{
	json_t *values = json_object();

	for (unsigned m = 0; m < N_IDLE_METRICS; m++)
		json_object_set_new(values, idle_metrics[m].key, dist_json(&s->idle[m]));
	return values;
}

static json_t *aims_json(const struct suite_state *s)
{
	json_t *all = json_array();
	struct aim aims[N_AIMS];

	find_aims(s, aims);
	for (unsigned i = 0; i < N_AIMS; i++)
		json_array_append_new(all, json_pack("{s:s, s:f, s:f, s:b}", "metric", aims[i].key,
						     "value", aims[i].value, "aim", aims[i].aim,
						     "at_least", aims[i].at_least));
	return all;
}

static json_t *document(const struct suite_state *s)
{
	return json_pack("{s:i, s:s, s:i, s:i, s:f, s:i, s:o, s:o, s:o, s:i, s:o}", "version", 1,
			 "suite", "batch", "runs", s->config->n_runs, "vms", s->config->n_vms,
			 "seconds", s->config->seconds, "cpus", s->n_cpus, "machine",
			 json_machine(), "workloads", workloads_json(s), "idle", idle_json(s),
			 "best_jobs", best(s)->jobs, "aims", aims_json(s));
}

int batch_suite_run(const struct batch_suite_config *config, struct buf *text, json_t **ret_doc,
		    int *ret_signal, struct error *err)
{
	struct suite_state s = { .config = config, .n_jobs = id_set_count(&config->jobs) };
	struct id_set cpus;
	int res = 0;

	batch_vms_cpus(&cpus);
	s.n_cpus = id_set_count(&cpus);
	s.results = xcalloc(s.n_jobs, sizeof(*s.results));
	unsigned n = 0;
	id_set_for_each(jobs, &config->jobs) s.results[n++].jobs = jobs;
	for (unsigned i = 0; res == 0 && i < config->n_runs; i++) {
		CLEANUP(freep) char *line = xasprintf("round %u of %u", i + 1, config->n_runs);
		if (config->progress)
			config->progress(line);
		res = run_batches(&s, err);
		if (res == 0)
			res = run_idle(&s, err);
	}
	if (res == 0) {
		put_tables(&s, text);
		put_aims(&s, text);
		*ret_doc = document(&s);
	}
	*ret_signal = s.signal;
	fini(&s);
	return res;
}
