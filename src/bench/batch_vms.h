/*
 * Batches of the benchmark's guest through `ktstr test`, run as its users run it: in a process of its own, with nothing but
 * its command line.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/id_set.h"

struct batch_vms_setup {
	const char *ktstr, *guest; /* this program; the guest's file */
	int signal_fd;             /* a signalfd: what comes there ends the batch and is -EINTR */
};

/* A test program for its list only, n tests with short names: the guest plays them. */
struct batch_program {
	int fd;
	char path[64];
};
#define BATCH_PROGRAM_INIT ((struct batch_program){ .fd = -1 })
MUST_CHECK int batch_program_make(unsigned n, struct batch_program *ret, struct error *err);
void batch_program_fini(struct batch_program *p);

/* The CPUs that this process may use, as may what it starts. */
void batch_vms_cpus(struct id_set *ret);

/* What one batch took. Its makespan is the command's, from its start to its end: wall_s. */
struct batch_sample {
	double wall_s;
	double vms_cpu_s;    /* of all VM processes */
	double runner_cpu_s; /* of the command itself, and of the listing program */
	double idle_s;       /* of all CPUs in this time; NAN: not known */
	double max_rss_kib;  /* of the largest VM process */
};
/* Runs @n_vms VMs, each of which must pass, @jobs at a time. After -EINTR *@ret_signal is what came. */
MUST_CHECK int batch_vms_run(const struct batch_vms_setup *setup, unsigned n_vms, unsigned jobs,
			     struct batch_sample *ret, int *ret_signal, struct error *err);

/* VMs whose guests sleep, and the runner, while nothing happens. */
struct batch_idle {
	double pss_kib, rss_kib; /* of all these processes */
	double io_wakeups;       /* of the I/O threads in the time watched */
	double runner_wakeups;
	double cpu_ms; /* of all these processes in that time */
};
enum { BATCH_IDLE_MAX = 16 };
/* Starts @n_vms, at most BATCH_IDLE_MAX, waits until all sleep, and watches them for @seconds. */
MUST_CHECK int batch_vms_idle(const struct batch_vms_setup *setup, unsigned n_vms, double seconds,
			      struct batch_idle *ret, int *ret_signal, struct error *err);
