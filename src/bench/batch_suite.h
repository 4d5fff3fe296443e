/*
 * `ktstr bench batch`: what the batch runner costs and gives, with VMs of micro-guests.
 *
 *	round:	jobs 1: N VMs, jobs 2: N VMs, ...	rate, CPU time of VMs and runner, makespan
 *		2 VMs that sleep, 10 VMs that sleep	memory of one more, wake-ups
 */
#pragma once

#include <jansson.h>

#include "bench/batch_vms.h"

enum { BATCH_SUITE_JOBS_MAX = 4096 };

struct batch_suite_config {
	struct batch_vms_setup vms;
	struct id_set jobs; /* each is measured; at most BATCH_SUITE_JOBS_MAX */
	unsigned n_runs, n_vms;
	double seconds; /* VMs that sleep are watched for so long */
	/* Optional: what is being measured, now and then. */
	void (*progress)(const char *text);
};

/* As suite_run. */
MUST_CHECK int batch_suite_run(const struct batch_suite_config *config, struct buf *text,
			       json_t **ret_doc, int *ret_signal, struct error *err);
