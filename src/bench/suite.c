/* See suite.h. */
#include "bench/suite.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "bench/fio.h"
#include "bench/report.h"
#include "bench/tsc.h"

enum { TIMEOUT_EXTRA_S = 60 };
#define WARM_UP_SHARE 0.2

struct runner {
	const struct suite *suite;
	const struct suite_config *config;
	struct machine_setup machine;
	double ticks_per_us;
	struct suite_results *results;
	int signal;
};

static void add(struct runner *s, unsigned w, enum suite_variant v, enum suite_metric m,
		double value)
{
	if (!isnan(value))
		dist_add(&s->results->d[w][v][m], value);
}

/* One variant of one workload. */

static char *guest_words(const struct runner *s, const struct suite_workload *w)
{
	double ticks = s->config->seconds * 1e6 * s->ticks_per_us;

	return xasprintf("op=%s wait=%s cpl=3 rw=%s bs=%u qd=%u warm=%.0f ticks=%.0f", w->op,
			 w->wait, w->is_random ? "randread" : "read", w->block ? w->block : 1,
			 w->depth, ticks * WARM_UP_SHARE, ticks);
}

static void add_machine(struct runner *s, unsigned w, enum suite_variant v,
			const struct machine_result *r)
{
	double us = (double)r->text.ticks / s->ticks_per_us;
	double n = (double)r->text.n_requests;

	add(s, w, v, SUITE_RATE, n / us * 1e6);
	add(s, w, v, SUITE_MB_S, (double)r->text.n_bytes / us);
	add(s, w, v, SUITE_P50, hist_percentile(&r->text.latency, 50) / s->ticks_per_us);
	add(s, w, v, SUITE_P99, hist_percentile(&r->text.latency, 99) / s->ticks_per_us);
	add(s, w, v, SUITE_VMM_US, r->vmm_ms * 1e3 / n);
	add(s, w, v, SUITE_VCPU_US, r->vcpus_ms * 1e3 / n);
	/* Each interrupt is a read of InterruptStatus and a write of InterruptACK. */
	add(s, w, v, SUITE_EXITS, 2 * (double)r->text.n_interrupts / n);
	add(s, w, v, SUITE_KICKS, (double)r->text.n_kicks / n);
	add(s, w, v, SUITE_KICK_EXITS, r->kick_exits);
}

static int run_machine(struct runner *s, unsigned w, enum suite_variant v, struct error *err)
{
	CLEANUP(freep) struct machine_result *r = xmalloc(sizeof(*r));
	CLEANUP(freep) char *words = guest_words(s, &s->suite->workloads[w]);

	int res = machine_run(&s->machine, (enum machine_kind)v, words, r, err);
	s->signal = r->signal;
	if (res < 0)
		return error_prefix(err, "%s, %s", s->suite->workloads[w].key,
				    suite_variant_names[v]);
	add_machine(s, w, v, r);
	return 0;
}

static int run_fio(struct runner *s, unsigned w, enum suite_variant v, struct error *err)
{
	const struct suite_workload *workload = &s->suite->workloads[w];
	const struct fio_job job = { .program = s->config->fio,
				     .file = s->machine.disk,
				     .engine = v == SUITE_FIO_URING ? "io_uring" : "psync",
				     .is_random = workload->is_random,
				     .block = workload->block,
				     .depth = workload->depth,
				     .seconds = s->config->seconds,
				     .warm_up_seconds = s->config->seconds * WARM_UP_SHARE };
	CLEANUP(capture_fini) struct capture capture = { 0 };
	struct fio_result r = { 0 };
	struct fio_argv a;

	fio_make_argv(&job, &a);
	const struct capture_config config = { .spawn = { .argv = a.argv, .mark_fd = -1 },
					       .timeout_ns = s->machine.timeout_ns,
					       .signal_fd = s->machine.signal_fd };
	int res = capture_run(&config, &capture, err);
	s->signal = capture.signal;
	if (res == 0)
		res = fio_parse(buf_str(&capture.out), &r, err);
	if (res < 0)
		return error_prefix(err, "%s, %s", workload->key, suite_variant_names[v]);
	add(s, w, v, SUITE_RATE, r.iops);
	add(s, w, v, SUITE_MB_S, r.bytes_per_s / 1e6);
	add(s, w, v, SUITE_P50, r.p50_us);
	add(s, w, v, SUITE_P99, r.p99_us);
	add(s, w, v, SUITE_VMM_US, r.cpu_us_per_io);
	return 0;
}

/* What makes sense: fio reads files; one at a time is no other mode where only one is asked for. */
static bool is_wanted(const struct runner *s, unsigned id, enum suite_variant v)
{
	const struct suite_workload *w = &s->suite->workloads[id];
	bool has_floor = s->config->fio && s->suite->has_disk && w->block;

	switch (v) {
	case SUITE_KTSTR:
	case SUITE_KTSTR_EPOLL:
		return true;
	case SUITE_KTSTR_ONE:
		return s->suite->has_disk && w->depth > 1;
	case SUITE_QEMU:
		return s->machine.qemu;
	case SUITE_FIO_URING:
		return has_floor;
	case SUITE_FIO_PSYNC:
		return has_floor && w->depth == 1;
	case N_SUITE_VARIANTS:
		break;
	}
	return false;
}

/* What is derived from several variants of a round. */
static void add_derived(struct runner *s, unsigned w)
{
	struct suite_results *r = s->results;
	const struct dist *floor = &r->d[w][SUITE_FIO_URING][SUITE_P50];

	for (enum suite_variant v = SUITE_KTSTR; v <= SUITE_QEMU; v++) {
		const struct dist *p50 = &r->d[w][v][SUITE_P50];
		if (p50->n && floor->n)
			dist_add(&r->d[w][v][SUITE_ADDED],
				 p50->values[p50->n - 1] - floor->values[floor->n - 1]);
	}
	for (enum suite_variant v = SUITE_KTSTR; v < N_SUITE_VARIANTS; v++) {
		const struct dist *us = &r->d[w][v][SUITE_VMM_US];
		if (us->n)
			dist_add(&r->d[w][v][SUITE_RATE_PER_CPU], 1e6 / us->values[us->n - 1]);
	}
}

static int run_workload(struct runner *s, unsigned w, struct error *err)
{
	for (enum suite_variant v = SUITE_KTSTR; v < N_SUITE_VARIANTS; v++) {
		if (!is_wanted(s, w, v))
			continue;
		int res = v < SUITE_FIO_URING ? run_machine(s, w, v, err) : run_fio(s, w, v, err);
		if (res < 0)
			return res;
	}
	add_derived(s, w);
	return 0;
}

/* The parts of a request that the guest can time by itself. */
static int run_costs(struct runner *s, enum suite_variant v, struct error *err)
{
	CLEANUP(freep) struct machine_result *r = xmalloc(sizeof(*r));
	double us[N_GUEST_COSTS];

	int res = machine_run(&s->machine, (enum machine_kind)v, "op=costs cpl=3", r, err);
	s->signal = r->signal;
	if (res < 0)
		return error_prefix(err, "costs, %s", suite_variant_names[v]);
	for (size_t i = 0; i < N_GUEST_COSTS; i++)
		us[i] = hist_percentile(&r->text.costs[i], 50) / s->ticks_per_us;
	/* Kernel mode's contain reading the clock, which some KVMs interpret. */
	for (size_t i = GUEST_COST_STATUS; i < N_GUEST_COSTS; i++)
		us[i] = fmax(0, us[i] - us[GUEST_COST_CLOCK]);
	for (size_t i = 0; i < N_GUEST_COSTS; i++)
		if (!isnan(us[i]))
			dist_add(&s->results->costs[v][i], us[i]);
	return 0;
}

static int run_round(struct runner *s, struct error *err)
{
	for (unsigned w = 0; w < s->suite->n_workloads; w++)
		if (run_workload(s, w, err) < 0)
			return err->code;
	if (s->suite->put_budget && (run_costs(s, SUITE_KTSTR, err) < 0 ||
				     (s->machine.qemu && run_costs(s, SUITE_QEMU, err) < 0)))
		return err->code;
	return 0;
}

/* Whether QEMU runs here, and how it does its disk I/O: builds of it differ. */
static int choose_qemu(struct runner *s, struct buf *text, struct error *err)
{
	static const char *const ways[] = { "io_uring", "native", "threads" };
	size_t n = s->suite->has_disk ? ARRAY_SIZE(ways) : 1;
	CLEANUP(freep) struct machine_result *r = xmalloc(sizeof(*r));

	for (size_t i = 0; s->machine.qemu && i < n; i++) {
		const char *way = s->suite->has_disk ? ways[i] : "";
		s->machine.qemu_aio = ways[i];
		int res = machine_run(&s->machine, MACHINE_QEMU, "op=none", r, err);
		s->signal = r->signal;
		if (res == -EINTR)
			return res;
		if (res == 0) {
			buf_printf(text, "QEMU: %s, microvm%s%s\n", s->machine.qemu,
				   *way ? ", iothread, aio=" : ", two NICs on a hub", way);
			return 0;
		}
		buf_printf(text, "QEMU%s%s does not run: %s\n", *way ? " with aio=" : "", way,
			   err->text);
	}
	s->machine.qemu = NULL;
	buf_append_str(text, "Without QEMU: nothing to compare with\n");
	return 0;
}

static json_t *document(const struct runner *s)
{
	json_t *doc = report_document(s->suite, s->results);
	bool has_aio = s->machine.qemu && s->suite->has_disk;

	json_object_set_new(doc, "qemu",
			    s->machine.qemu ? json_string(s->machine.qemu) : json_null());
	json_object_set_new(doc, "qemu_aio",
			    has_aio ? json_string(s->machine.qemu_aio) : json_null());
	json_object_set_new(doc, "runs", json_integer(s->config->n_runs));
	json_object_set_new(doc, "seconds", json_real(s->config->seconds));
	return doc;
}

int suite_run(const struct suite *suite, const struct suite_config *config, struct buf *text,
	      json_t **ret_doc, int *ret_signal, struct error *err)
{
	struct runner s = { .suite = suite,
			    .config = config,
			    .machine = config->machine,
			    .ticks_per_us = tsc_hz() / 1e6,
			    .results = xcalloc(1, sizeof(*s.results)) };

	ASSERT(suite->n_workloads <= SUITE_WORKLOADS_MAX);
	s.machine.timeout_ns = (TIMEOUT_EXTRA_S + 2 * (uint64_t)config->seconds) * NS_PER_S;
	int res = choose_qemu(&s, text, err);
	if (!config->fio && suite->has_disk)
		buf_append_str(text, "Without fio: no floor of the host\n");
	for (unsigned i = 0; res == 0 && i < config->n_runs; i++) {
		CLEANUP(freep) char *line = xasprintf("round %u of %u", i + 1, config->n_runs);
		if (config->progress)
			config->progress(line);
		res = run_round(&s, err);
	}
	if (res == 0) {
		report_text(suite, s.results, text);
		*ret_doc = document(&s);
	}
	*ret_signal = s.signal;
	report_results_fini(s.results);
	free(s.results);
	return res;
}
