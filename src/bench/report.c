/* See report.h. Medians over the rounds everywhere; the document has every sample. */
#include "bench/report.h"

#include <math.h>

enum { NAME_WIDTH = 26, VALUE_WIDTH = 10, RATIO_WIDTH = 42 };

const char *const suite_variant_names[N_SUITE_VARIANTS] = {
	[SUITE_KTSTR] = "ktstr, io_uring",          [SUITE_KTSTR_EPOLL] = "ktstr, epoll",
	[SUITE_KTSTR_ONE] = "ktstr, one at a time", [SUITE_QEMU] = "QEMU microvm",
	[SUITE_FIO_URING] = "host: fio io_uring",   [SUITE_FIO_PSYNC] = "host: fio psync",
};

const char *const suite_variant_keys[N_SUITE_VARIANTS] = {
	[SUITE_KTSTR] = "ktstr",         [SUITE_KTSTR_EPOLL] = "ktstr_epoll",
	[SUITE_KTSTR_ONE] = "ktstr_one", [SUITE_QEMU] = "qemu",
	[SUITE_FIO_URING] = "fio_uring", [SUITE_FIO_PSYNC] = "fio_psync",
};

static const struct {
	const char *key, *title; /* no title: not in the table */
	int decimals;
} metrics[N_SUITE_METRICS] = {
	[SUITE_RATE] = { "per_s", NULL, 0 }, /* the suite's own title */
	[SUITE_MB_S] = { "mb_per_s", "MB/s", 0 },
	[SUITE_P50] = { "p50_us", "p50 us", 1 },
	[SUITE_P99] = { "p99_us", "p99 us", 1 },
	[SUITE_ADDED] = { "added_us", "added us", 1 },
	[SUITE_VMM_US] = { "vmm_cpu_us", "VMM us", 2 },
	[SUITE_RATE_PER_CPU] = { "per_cpu_s", "per CPU s", 0 },
	[SUITE_VCPU_US] = { "vcpu_cpu_us", "vCPU us", 2 },
	[SUITE_EXITS] = { "exits", "exits", 3 },
	[SUITE_KICKS] = { "kicks", "kicks", 3 },
	[SUITE_KICK_EXITS] = { "kick_exits", "kick exits", 0 },
};

void report_results_fini(struct suite_results *r)
{
	for (size_t v = 0; v < N_SUITE_VARIANTS; v++) {
		for (size_t w = 0; w < SUITE_WORKLOADS_MAX; w++)
			for (size_t m = 0; m < N_SUITE_METRICS; m++)
				dist_fini(&r->d[w][v][m]);
		for (size_t c = 0; c < N_GUEST_COSTS; c++)
			dist_fini(&r->costs[v][c]);
	}
}

double report_median(const struct dist *d)
{
	return dist_percentile(d, 50);
}

void report_put_value(struct buf *text, double value, int width, int decimals)
{
	if (isnan(value))
		buf_printf(text, " %*s", width, "-");
	else
		buf_printf(text, " %*.*f", width, decimals, value);
}

/* The workloads. */

static void put_workload(const struct suite *suite, const struct suite_results *r, size_t w,
			 struct buf *text)
{
	buf_printf(text, "\n%s\n%-*s", suite->workloads[w].title, NAME_WIDTH, "");
	for (size_t m = 0; m < N_SUITE_METRICS; m++)
		buf_printf(text, " %*s", VALUE_WIDTH,
			   metrics[m].title ? metrics[m].title : suite->rate_title);
	buf_append_str(text, "\n");
	for (size_t v = 0; v < N_SUITE_VARIANTS; v++) {
		if (r->d[w][v][SUITE_RATE].n == 0)
			continue;
		buf_printf(text, "  %-*s", NAME_WIDTH - 2, suite_variant_names[v]);
		for (size_t m = 0; m < N_SUITE_METRICS; m++)
			report_put_value(text, report_median(&r->d[w][v][m]), VALUE_WIDTH,
					 metrics[m].decimals);
		buf_append_str(text, "\n");
	}
}

/* Ratios. */

static void find_ratio(const struct suite_ratio *ratio, const struct suite_results *r,
		       struct dist *ret)
{
	dist_ratio(&r->d[ratio->workload][ratio->a][ratio->metric],
		   &r->d[ratio->workload][ratio->b][ratio->metric], ret);
}

static bool is_met(const struct suite_ratio *ratio, double value)
{
	return ratio->at_least ? value >= ratio->aim : value <= ratio->aim;
}

static void put_ratios(const struct suite *suite, const struct suite_results *r, struct buf *text)
{
	buf_printf(text, "\n%-*s %8s %8s %8s\n", RATIO_WIDTH, "ratio, round by round", "p50", "min",
		   "max");
	for (size_t i = 0; i < suite->n_ratios; i++) {
		const struct suite_ratio *ratio = &suite->ratios[i];
		CLEANUP(dist_fini) struct dist d = { 0 };

		find_ratio(ratio, r, &d);
		if (d.n == 0)
			continue;
		buf_printf(text, "  %-*s %8.3f %8.3f %8.3f", RATIO_WIDTH - 2, ratio->name,
			   report_median(&d), dist_percentile(&d, 0), dist_percentile(&d, 100));
		if (ratio->aim > 0)
			buf_printf(text, "   aim %s %.2f: %s",
				   ratio->at_least ? ">=" : "<=", ratio->aim,
				   is_met(ratio, report_median(&d)) ? "met" : "missed");
		buf_append_str(text, "\n");
	}
}

void report_text(const struct suite *suite, const struct suite_results *r, struct buf *text)
{
	for (size_t w = 0; w < suite->n_workloads; w++)
		put_workload(suite, r, w, text);
	put_ratios(suite, r, text);
	if (suite->put_budget)
		suite->put_budget(r, text);
}

/* The document. */

static json_t *metrics_json(const struct dist d[N_SUITE_METRICS])
{
	json_t *values = json_object();

	for (size_t m = 0; m < N_SUITE_METRICS; m++)
		json_object_set_new(values, metrics[m].key, dist_json(&d[m]));
	return values;
}

static json_t *workloads_json(const struct suite *suite, const struct suite_results *r)
{
	json_t *all = json_object();

	for (size_t w = 0; w < suite->n_workloads; w++) {
		json_t *variants = json_object();
		for (size_t v = 0; v < N_SUITE_VARIANTS; v++)
			if (r->d[w][v][SUITE_RATE].n)
				json_object_set_new(variants, suite_variant_keys[v],
						    metrics_json(r->d[w][v]));
		json_object_set_new(all, suite->workloads[w].key, variants);
	}
	return all;
}

static json_t *ratios_json(const struct suite *suite, const struct suite_results *r)
{
	json_t *all = json_array();

	for (size_t i = 0; i < suite->n_ratios; i++) {
		const struct suite_ratio *ratio = &suite->ratios[i];
		json_t *aim = ratio->aim > 0 ? json_real(ratio->aim) : json_null();
		CLEANUP(dist_fini) struct dist d = { 0 };

		find_ratio(ratio, r, &d);
		json_array_append_new(
		    all, json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:o}", "name", ratio->name,
				   "workload", suite->workloads[ratio->workload].key, "metric",
				   metrics[ratio->metric].key, "of", suite_variant_keys[ratio->a],
				   "to", suite_variant_keys[ratio->b], "aim", aim, "at_least",
				   ratio->at_least, "ratio", dist_json(&d)));
	}
	return all;
}

json_t *report_document(const struct suite *suite, const struct suite_results *r)
{
	json_t *budget = suite->budget_json ? suite->budget_json(r) : json_null();

	return json_pack("{s:i, s:s, s:o, s:o, s:o, s:o}", "version", 1, "suite", suite->name,
			 "machine", json_machine(), "workloads", workloads_json(suite, r), "ratios",
			 ratios_json(suite, r), "request_us", budget);
}
