/* The command line of `ktstr test`, parsed and checked, nothing opened yet. */
#pragma once

#include "base/error.h"
#include "harness/selection.h"

struct test_options {
	const char *kernel; /* NULL: kernel_find's order */
	const char *modules_dir;
	const char **includes;
	size_t n_includes;
	const char **append;
	size_t n_append;
	bool force;
	const char **filters;
	struct selection selection; /* its filters are the above */
	uint64_t jobs;              /* 0: as many as the CPUs allow */
	double overcommit;
	const char *cpu_cap; /* as given */
	uint32_t n_cpus;     /* its budget of each test that declares no place; 0: none */
	uint64_t memory_mib; /* of all VMs that run; 0: what the host has */
	uint64_t timeout_s;  /* of tests that declare none */
	uint64_t n_retries;
	uint64_t wait_ms; /* for CPUs that other processes hold */
	bool no_locks;
	bool fail_fast;
	bool no_skip;
	bool list;
	bool help;
	const char *output;             /* folder */
	const char *json, *junit, *tap; /* files; "-" for standard output */
	char **programs;                /* NULL-terminated, at least one */
};

/* @argv[0] is the subcommand. Errors are class usage. */
MUST_CHECK int test_options_parse(int argc, char **argv, struct test_options *ret,
				  struct error *err);
void test_options_fini(struct test_options *o);
void test_options_usage(void);
