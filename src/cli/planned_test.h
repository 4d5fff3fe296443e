/*
 * A test of a batch, ready to run: its declaration as the options of a run, and what it boots. Tests of one program share
 * a base of the initramfs where their devices are the same, and differ by its suffix only.
 */
#pragma once

#include "cli/guest_setup.h"
#include "cli/test_options.h"
#include "harness/admission.h"
#include "harness/reservation.h"
#include "harness/test_list.h"

struct batch_program {
	const char *path; /* as it was given */
	char *command; /* the same for the guest: without a slash it would be a name to look for */
	struct test_list list;
};

struct planned_test {
	const struct batch_program *program;
	const struct test_spec *spec;
	char *id;        /* PROGRAM/NAME */
	char *name;      /* borrowed: the declaration's */
	char *bare_word; /* of the command line of a guest that is no Linux */
	struct run_options options;
	char *command[4];
	size_t base;      /* index of its initramfs */
	uint32_t cpu_cap; /* its own, else the command line's; 0: no budget */
	struct admission_cost cost;
	struct plan_request request; /* of its place on the host */
	/* It cannot run: the outcome that this is, and why. */
	bool is_decided;
	struct error why_not;
};

/* What all tests of a batch boot. */
struct batch_images {
	struct guest_setup setup;
	struct initramfs *bases;
	const struct planned_test **base_tests; /* the first test of each */
	size_t n_bases;
	int vm_program_fd; /* what each VM process executes */
	/* Of this host's KVM; len 0: each VM process asks, and says what is wrong. */
	struct arch_supported supported;
};

/* Options and image of @test, whose program and spec are set. What keeps it from running is in test->why_not. */
void planned_test_prepare(struct planned_test *test, const struct test_options *o,
			  struct batch_images *images);
void planned_test_fini(struct planned_test *test);
void batch_images_fini(struct batch_images *images);
