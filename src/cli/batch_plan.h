/*
 * What a batch is to run, before any VM: the lists of its programs, the tests that are selected and ready to boot, the
 * order. Set-up thread.
 */
#pragma once

#include "abi/frame.h"
#include "cli/planned_test.h"
#include "harness/cgroup.h"

/* A program that gave no list: a result of its own. */
struct batch_trouble {
	const char *program; /* as it was given */
	enum outcome outcome;
	struct error why;
};

struct batch_plan {
	struct batch_program *programs;
	size_t n_programs;
	struct batch_trouble *troubles;
	size_t n_troubles;
	struct planned_test *tests; /* of all lists */
	size_t n_tests;
	struct selected *jobs; /* in the order in which they start */
	size_t n_jobs;
	struct batch_images images;
	struct reservation_host host;
	bool has_cgroups; /* for the tests that ask for CPUs */
	char
	    no_cgroups[CGROUP_NOTE_MAX]; /* why there are none, if a test would have one; else "" */
	struct admission_cost capacity;  /* what VMs may use together */
	uint32_t n_cpus;                 /* that we may use */
	uint64_t file_limit;             /* of this process */
};
#define BATCH_PLAN_INIT                                                                            \
	((struct batch_plan){ .images = { .setup = GUEST_SETUP_INIT, .vm_program_fd = -1 },        \
			      .host = RESERVATION_HOST_INIT })

/* Runs the programs for their lists and selects. Errors: a program that is not there. */
MUST_CHECK int batch_plan_list(const struct test_options *o, struct batch_plan *ret,
			       struct error *err);
/*
 * Kernel, initramfs, memory of each selected test. A test that cannot run is decided (planned_test), also by what this host
 * lacks. Errors: no kernel.
 */
MUST_CHECK int batch_plan_prepare(const struct test_options *o, struct batch_plan *p,
				  struct error *err);
void batch_plan_fini(struct batch_plan *p);
