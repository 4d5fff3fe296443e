/*
 * The guest's CPUID as pure functions over a table, so that both vendors' tables are tested on any
 * machine. The VM step runs once, the CPU step on a copy per vCPU.
 *
 * Topology in CPUID terms: an LLC is a package. What follows from `struct topology` replaces what
 * the host says; everything else stays as KVM supports it.
 */
#pragma once

#include <linux/kvm.h>

#include "arch/arch.h"

enum {
	CPUID_MAX_ENTRIES = 256,
	CPUID_ROOM = 16, /* entries that the VM step may add */
};

/* Laid out as struct kvm_cpuid2. */
struct cpuid_table {
	uint32_t n;
	uint32_t padding;
	struct kvm_cpuid_entry2 e[CPUID_MAX_ENTRIES];
};

enum cpuid_vendor { CPUID_INTEL, CPUID_AMD, CPUID_OTHER };

enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* What KVM can do beyond its supported table. */
struct cpuid_caps {
	bool tsc_deadline;
	bool msi_ext_dest_id; /* the I/O APIC takes destinations of 15 bits */
};

/* AMD includes Hygon. */
enum cpuid_vendor cpuid_vendor(const struct cpuid_table *t);
/* NULL when there is no such entry; @subleaf counts only for leaves that have some. */
const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *t, uint32_t leaf,
					  uint32_t subleaf);

/* What is the same on every CPU. @t has at most CPUID_MAX_ENTRIES - CPUID_ROOM entries before. */
void cpuid_adapt_vm(struct cpuid_table *t, const struct topology *topology, struct cpuid_caps caps);
/* What is @cpu's own, on a table that cpuid_adapt_vm made. */
void cpuid_adapt_cpu(struct cpuid_table *t, const struct topology *topology, uint32_t cpu);
/* Clears masked bits; the last step of the VM's table. */
void cpuid_apply_mask(struct cpuid_table *t, const struct cpu_mask *mask);
