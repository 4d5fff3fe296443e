/*
 * What Linux makes of CPUID, written from its source and apart from what generates the tables: each
 * function is the path of one vendor and one generation of kernels.
 */
#pragma once

#include "arch/x86_64/cpuid_table.h"

/* Where Linux got it from is what the paths differ in. */
struct linux_cpu {
	uint32_t apic_id;
	uint32_t smt_shift, pkg_shift; /* of the APIC id */
	uint32_t threads, pkg_cpus;    /* per core, per package, as CPUID counts them */
	uint32_t core_id, pkg_id;
	uint32_t llc_id;
	uint32_t n_caches;
	struct linux_cache {
		uint32_t level, type, shift; /* CPUs with equal apic_id >> shift share it */
		uint64_t size;
	} caches[8];
};

/* A path as a table entry for tests; false: the leaves it needs are missing. */
struct linux_path {
	const char *name;
	bool amd;
	bool (*read)(const struct cpuid_table *t, struct linux_cpu *ret);
};
extern const struct linux_path linux_paths[];
extern const size_t linux_n_paths;
