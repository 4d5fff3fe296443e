/*
 * The guest's CPUID as pure functions over a table, so that both vendors' tables are tested on any
 * machine. The VM step runs once, the CPU step on a copy per vCPU. What follows from `struct
 * topology` replaces what the host says; everything else stays as KVM supports it.
 */
#pragma once

#include "arch/arch.h"
#include "arch/x86_64/cpuid_table.h"

enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* What KVM can do beyond its supported table, and what the VM promises. */
struct cpuid_caps {
	bool tsc_deadline;
	bool pmu;             /* KVM has one; else the guest is not told of any */
	bool realtime;        /* vCPUs are never preempted: KVM_HINTS_REALTIME */
	bool no_hlt_exits;    /* KVM_FEATURE_PV_UNHALT goes with the exits */
	bool msi_ext_dest_id; /* the I/O APIC takes destinations of 15 bits */
};

/* What is the same on every CPU. @t has at most CPUID_MAX_ENTRIES - CPUID_ROOM entries before. */
void cpuid_adapt_vm(struct cpuid_table *t, const struct topology *topology, struct cpuid_caps caps);
/* What is @cpu's own, on a table that cpuid_adapt_vm made. */
void cpuid_adapt_cpu(struct cpuid_table *t, const struct topology *topology, uint32_t cpu);
/* Clears masked bits; the last step of the VM's table. */
void cpuid_apply_mask(struct cpuid_table *t, const struct cpu_mask *mask);
