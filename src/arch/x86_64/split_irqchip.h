/*
 * Which machines have their I/O APIC in this process: those with an APIC id that 8 bits cannot name.
 * The kernel then keeps the local APICs only (KVM_CAP_SPLIT_IRQCHIP); there is no PIC and no PIT.
 */
#pragma once

#include "arch/arch.h"
#include "arch/x86_64/layout.h"

static inline bool split_irqchip_is_needed(const struct topology *t)
{
	return topology_apic_id(t, topology_n_cpus(t) - 1) > MAX_XAPIC_ID;
}

/* Instead of KVM_CREATE_IRQCHIP; before the vCPUs. */
MUST_CHECK int split_irqchip_enable(int vm_fd, struct error *err);
