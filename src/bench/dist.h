/* Distributions of measured values. Single thread. */
#pragma once

#include <jansson.h>

struct dist {
	double *values; /* in the order measured; the n-th of two dists of one run are a pair */
	size_t n;
	size_t cap;
};

void dist_fini(struct dist *d); /* idempotent; {0} is valid */
void dist_add(struct dist *d, double value);

/* @p of 0..100, by nearest rank: always a value that was measured. NAN when empty. */
double dist_percentile(const struct dist *d, double p);
/*
 * a[i] / b[i] for every i that both have. Neighbours in time saw the same machine, so this holds
 * where the absolute values drift. A pair with b[i] <= 0 has no ratio. Appends to @ret.
 */
void dist_ratio(const struct dist *a, const struct dist *b, struct dist *ret);

/* {"p50", "p90", "min", "max", "n", "samples"}; null when empty. The caller owns it. */
json_t *dist_json(const struct dist *d);
/* What the figures were measured on: processors, kernel, load. */
json_t *json_machine(void);
