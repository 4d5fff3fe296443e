/* A CPUID table as KVM gives and takes it, and what one does with its entries. */
#pragma once

#include <linux/kvm.h>

enum {
	CPUID_MAX_ENTRIES = 256,
	CPUID_ROOM = 32, /* entries that the VM step may add */
};

/* Laid out as struct kvm_cpuid2. */
struct cpuid_table {
	uint32_t n;
	uint32_t padding;
	struct kvm_cpuid_entry2 e[CPUID_MAX_ENTRIES];
};

struct arch_supported;
/* False: that is no table of a KVM. */
MUST_CHECK bool cpuid_table_of(const struct arch_supported *s, struct cpuid_table *ret);

enum cpuid_vendor { CPUID_INTEL, CPUID_AMD, CPUID_HYGON, CPUID_OTHER };

enum cpuid_vendor cpuid_vendor(const struct cpuid_table *t);
/* Family and model of leaf 1, with their extensions; 0 if there is no leaf 1. */
uint32_t cpuid_family(const struct cpuid_table *t);
uint32_t cpuid_model(const struct cpuid_table *t);

/* NULL when there is no such entry; @subleaf counts only for leaves that have some. */
const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *t, uint32_t leaf,
					  uint32_t subleaf);
struct kvm_cpuid_entry2 *cpuid_edit(struct cpuid_table *t, uint32_t leaf, uint32_t subleaf);
/* The same, with an entry of zeros made where there is none. Not for leaves with subleaves. */
struct kvm_cpuid_entry2 *cpuid_ensure(struct cpuid_table *t, uint32_t leaf);

/* Adds an entry, which the table has room for, and raises its range's highest leaf to it. */
void cpuid_append(struct cpuid_table *t, struct kvm_cpuid_entry2 entry);
/* All its subleaves; no error if there is none. */
void cpuid_remove(struct cpuid_table *t, uint32_t leaf);
