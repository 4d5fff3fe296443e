/* See dist.h. */
#include "bench/dist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"

void dist_fini(struct dist *d)
{
	free(d->values);
	*d = (struct dist){ 0 };
}

void dist_add(struct dist *d, double value)
{
	if (d->n == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 128;
		d->values = xreallocarray(d->values, d->cap, sizeof(*d->values));
	}
	d->values[d->n++] = value;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

double dist_percentile(const struct dist *d, double p)
{
	if (!d->n)
		return NAN;
	CLEANUP(freep) double *sorted = xmalloc(d->n * sizeof(*sorted));
	memcpy(sorted, d->values, d->n * sizeof(*sorted));
	qsort(sorted, d->n, sizeof(*sorted), by_value);
	double rank = ceil(p / 100 * (double)d->n);
	return sorted[rank < 1 ? 0 : (size_t)rank - 1];
}

void dist_ratio(const struct dist *a, const struct dist *b, struct dist *ret)
{
	for (size_t i = 0; i < a->n && i < b->n; i++)
		if (b->values[i] > 0)
			dist_add(ret, a->values[i] / b->values[i]);
}

json_t *dist_json(const struct dist *d)
{
	if (!d->n)
		return json_null();
	json_t *samples = json_array();
	for (size_t i = 0; i < d->n; i++)
		json_array_append_new(samples, json_real(d->values[i]));
	return json_pack("{s:f, s:f, s:f, s:f, s:I, s:o}", "p50", dist_percentile(d, 50), "p90",
			 dist_percentile(d, 90), "min", dist_percentile(d, 0), "max",
			 dist_percentile(d, 100), "n", (json_int_t)d->n, "samples", samples);
}

json_t *json_machine(void)
{
	struct utsname name;
	double load[1] = { 0 };

	if (uname(&name) < 0)
		return json_null();
	(void)getloadavg(load, 1); /* 0 where it is unknown */
	return json_pack("{s:I, s:s, s:s, s:f}", "cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN),
			 "kernel", name.release, "machine", name.machine, "load", load[0]);
}
