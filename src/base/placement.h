/*
 * Where one VM runs on its host, as plain data: what src/plan found is put into these words, src/vmm applies them, and neither
 * has to know the other. {0}: anywhere, nothing promised.
 */
#pragma once

#include "base/id_set.h"

struct placement {
	/* Where every thread of the VM process may run, the service CPU included; empty: wherever it may already. */
	struct id_set cpus;
	struct id_set mems; /* the host's NUMA nodes of these CPUs, by the kernel's numbers */
	uint32_t n_vcpus;
	uint32_t n_vcpu_cpus; /* CPUs for the vCPU threads; fewer than n_vcpus: overcommitted */
	bool is_performance;
	/* Performance mode only. */
	uint32_t *vcpu_cpus;      /* owned; the CPU of each vCPU thread */
	uint32_t service_cpu;     /* of the I/O thread */
	struct id_set *node_mems; /* owned; by guest node, whose host nodes its memory comes from */
	uint32_t n_nodes;
};

void placement_fini(struct placement *p); /* idempotent, safe for {0} */

static inline bool placement_is_overcommitted(const struct placement *p)
{
	return p->n_vcpu_cpus && p->n_vcpus > p->n_vcpu_cpus;
}
