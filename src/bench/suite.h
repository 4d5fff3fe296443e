/*
 * A suite of `ktstr bench`: workloads as data, each run by every variant, one of each in turn, as many rounds as asked
 * for.
 *
 *	round: workload 1: ktstr, ktstr epoll, ktstr one at a time, QEMU, fio io_uring, fio psync
 *	       workload 2: ...
 *	       costs of a request's parts: ktstr, QEMU
 *
 * The variants of a round are neighbours in time; ratios are taken within a round, and the median over the rounds counts.
 */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "bench/dist.h"
#include "bench/guest_text.h"
#include "bench/machine.h"

struct suite_workload {
	const char *key, *title;
	const char *op, *wait; /* the guest's words (guest/bench/main.c) */
	unsigned block;        /* bytes of a request or frame; 0: no disk is read */
	unsigned depth;
	bool is_random;
};

enum suite_variant {
	SUITE_KTSTR = MACHINE_KTSTR_URING,
	SUITE_KTSTR_EPOLL = MACHINE_KTSTR_EPOLL,
	SUITE_KTSTR_ONE = MACHINE_KTSTR_ONE,
	SUITE_QEMU = MACHINE_QEMU,
	SUITE_FIO_URING,
	SUITE_FIO_PSYNC,
	N_SUITE_VARIANTS,
};
extern const char *const suite_variant_names[N_SUITE_VARIANTS];
extern const char *const suite_variant_keys[N_SUITE_VARIANTS]; /* in documents */

enum suite_metric {
	SUITE_RATE, /* requests a second */
	SUITE_MB_S,
	SUITE_P50,
	SUITE_P99,
	SUITE_ADDED,        /* p50 above that of fio with io_uring in the same round */
	SUITE_VMM_US,       /* CPU of the VMM's threads but vCPUs per request; of fio: all of it */
	SUITE_RATE_PER_CPU, /* requests per CPU second of these */
	SUITE_VCPU_US,
	SUITE_EXITS, /* to user space per request, without kicks */
	SUITE_KICKS, /* writes of QueueNotify per request */
	SUITE_KICK_EXITS,
	N_SUITE_METRICS,
};

struct suite_ratio {
	const char *name;
	unsigned workload;
	enum suite_metric metric;
	enum suite_variant a, b;
	double aim; /* 0: none */
	bool at_least;
};

enum { SUITE_WORKLOADS_MAX = 12 };

struct suite_results {
	struct dist d[SUITE_WORKLOADS_MAX][N_SUITE_VARIANTS][N_SUITE_METRICS];
	struct dist costs[N_SUITE_VARIANTS][N_GUEST_COSTS]; /* us, without the clock's own */
};

struct suite {
	const char *name;
	const char *rate_title; /* of SUITE_RATE */
	const struct suite_workload *workloads;
	size_t n_workloads;
	const struct suite_ratio *ratios;
	size_t n_ratios;
	bool has_disk, has_net; /* the machine's devices */
	/* Where the time of one request goes; NULL: not measured. */
	void (*put_budget)(const struct suite_results *r, struct buf *text);
	json_t *(*budget_json)(const struct suite_results *r);
};
extern const struct suite suite_blk, suite_net;

struct suite_config {
	struct machine_setup machine; /* qemu NULL: without; qemu_aio is found out */
	const char *fio;              /* NULL: without */
	unsigned n_runs;
	double seconds; /* of each measurement */
	/* Optional: what is being measured, now and then. */
	void (*progress)(const char *text);
};

/*
 * Measures; appends the tables to @text and makes the document. A variant that cannot run is left
 * out with a line in @text. -EINTR: *@ret_signal came.
 */
MUST_CHECK int suite_run(const struct suite *suite, const struct suite_config *config,
			 struct buf *text, json_t **ret_doc, int *ret_signal, struct error *err);
