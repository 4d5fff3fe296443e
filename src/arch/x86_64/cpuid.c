/*
 * The guest's CPUID: KVM's supported table with this machine's topology (cpuid_topology.c), the
 * features that KVM has but does not list, and what `--cpu` takes away. KVM:
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "arch/x86_64/cpuid.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch/x86_64/cpuid_topology.h"
#include "arch/x86_64/host_error.h"
#include "arch/x86_64/split_irqchip.h"
#include "base/assert.h"
#include "base/buf.h"

enum {
	LEAF1_ECX_PDCM = 1 << 15,
	LEAF1_ECX_X2APIC = 1 << 21,
	LEAF1_ECX_TSC_DEADLINE = 1 << 24,
	LEAF_PMU = 0xA,
	EXT1_ECX_PERFCTR_CORE = 1 << 23,
	KVM_FEATURE_PV_UNHALT_BIT = 1 << 7,
	KVM_FEATURE_MSI_EXT_DEST = 1 << 15,
	KVM_HINTS_REALTIME_BIT = 1 << 0,
};

/* Above INT_MAX, so no enumerators. */
#define LEAF1_ECX_HYPERVISOR (1u << 31)
#define LEAF_KVM             0x40000000u
#define LEAF_KVM_FEATURES    0x40000001u
#define LEAF_EXT1            0x80000001u
#define LEAF_PMU_AMD         0x80000022u

/* --- steps of the VM --- */

static void set_features(struct cpuid_table *t, struct cpuid_caps caps)
{
	struct kvm_cpuid_entry2 *e = cpuid_edit(t, 1, 0);

	if (!e)
		return;
	e->ecx |= LEAF1_ECX_HYPERVISOR | LEAF1_ECX_X2APIC;
	/* KVM emulates the timer but leaves the bit to user space. Without it Linux has to
	 * calibrate the APIC timer. */
	if (caps.tsc_deadline)
		e->ecx |= LEAF1_ECX_TSC_DEADLINE;
}

static void clear_entry(struct kvm_cpuid_entry2 *e)
{
	if (e)
		e->eax = e->ebx = e->ecx = e->edx = 0;
}

/* Counters that do not count make a guest's perf report zeros as if they were measured. */
static void hide_pmu(struct cpuid_table *t)
{
	struct kvm_cpuid_entry2 *leaf1 = cpuid_edit(t, 1, 0), *ext1 = cpuid_edit(t, LEAF_EXT1, 0);

	clear_entry(cpuid_edit(t, LEAF_PMU, 0));
	clear_entry(cpuid_edit(t, LEAF_PMU_AMD, 0));
	if (leaf1)
		leaf1->ecx &= ~(uint32_t)LEAF1_ECX_PDCM;
	if (ext1 && cpuid_vendor(t) != CPUID_INTEL)
		ext1->ecx &= ~(uint32_t)EXT1_ECX_PERFCTR_CORE;
}

/* The leaves by which a guest finds out that it runs on KVM; an old KVM did not list them. */
static void add_kvm_leaves(struct cpuid_table *t, struct cpuid_caps caps)
{
	if (!cpuid_find(t, LEAF_KVM, 0))
		cpuid_append(t,
			     (struct kvm_cpuid_entry2){ .function = LEAF_KVM,
							.eax = LEAF_KVM_FEATURES,
							.ebx = 0x4B4D564B, /* "KVMK" "VMKV" "M" */
							.ecx = 0x564B4D56,
							.edx = 0x0000004D });
	struct kvm_cpuid_entry2 *features = cpuid_ensure(t, LEAF_KVM_FEATURES);
	features->edx = caps.realtime ? KVM_HINTS_REALTIME_BIT : 0;
	if (caps.no_hlt_exits)
		features->eax &= ~(uint32_t)KVM_FEATURE_PV_UNHALT_BIT;
	/*
	 * KVM never lists it: it is a promise of the I/O APIC. Without it Linux leaves CPUs with
	 * ids above 255 offline.
	 */
	if (caps.msi_ext_dest_id)
		features->eax |= KVM_FEATURE_MSI_EXT_DEST;
}

void cpuid_adapt_vm(struct cpuid_table *t, const struct topology *topology, struct cpuid_caps caps)
{
	ASSERT(t->n <= CPUID_MAX_ENTRIES - CPUID_ROOM);
	set_features(t, caps);
	cpuid_set_topology(t, topology);
	if (!caps.pmu)
		hide_pmu(t);
	add_kvm_leaves(t, caps);
}

void cpuid_adapt_cpu(struct cpuid_table *t, const struct topology *topology, uint32_t cpu)
{
	cpuid_set_cpu(t, topology, cpu);
}

/* --- what --cpu takes away --- */

static uint32_t *reg_of(struct kvm_cpuid_entry2 *e, enum cpuid_reg reg)
{
	switch (reg) {
	case CPUID_EAX:
		return &e->eax;
	case CPUID_EBX:
		return &e->ebx;
	case CPUID_ECX:
		return &e->ecx;
	case CPUID_EDX:
		return &e->edx;
	}
	return NULL;
}

void cpuid_apply_mask(struct cpuid_table *t, const struct cpu_mask *mask)
{
	for (size_t i = 0; i < mask->n; i++) {
		struct kvm_cpuid_entry2 *e = cpuid_edit(t, mask->leaf[i], mask->subleaf[i]);

		if (e)
			*reg_of(e, mask->reg[i]) &= ~mask->clear[i];
	}
}

/* --- arch.h --- */

int arch_supported_read(int kvm_fd, struct arch_supported *ret, struct error *err)
{
	struct cpuid_table t = { .n = CPUID_MAX_ENTRIES - CPUID_ROOM };

	static_assert(ARCH_SUPPORTED_MAX >= (CPUID_MAX_ENTRIES - CPUID_ROOM) * sizeof(t.e[0]),
		      "what KVM gives fits");
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &t) < 0)
		return host_error_set(err, errno, "KVM_GET_SUPPORTED_CPUID");
	ret->len = (uint32_t)(t.n * sizeof(t.e[0]));
	memcpy(ret->bytes, t.e, ret->len);
	return 0;
}

struct arch_cpuid {
	struct topology topology;
	struct cpuid_table table;
};

static bool kvm_has(int kvm_fd, int capability)
{
	return ioctl(kvm_fd, KVM_CHECK_EXTENSION, capability) > 0;
}

int arch_cpuid_new(int kvm_fd, const struct arch_cpuid_config *config, struct arch_cpuid **ret,
		   struct error *err)
{
	CLEANUP(freep) struct arch_cpuid *c = xcalloc(1, sizeof(*c));

	c->topology = *config->topology;
	if (!cpuid_table_of(config->supported, &c->table))
		return error_set_text(err, -EINVAL, "what KVM supports of CPUID is no such table");
	if (cpuid_check_topology(&c->table, &c->topology, err) < 0)
		return err->code;
	struct cpuid_caps caps = {
		.tsc_deadline = kvm_has(kvm_fd, KVM_CAP_TSC_DEADLINE_TIMER),
		.pmu = kvm_has(kvm_fd, KVM_CAP_PMU_CAPABILITY),
		.msi_ext_dest_id = split_irqchip_is_needed(&c->topology),
		.realtime = config->realtime,
		.no_hlt_exits = config->no_hlt_exits,
	};
	cpuid_adapt_vm(&c->table, &c->topology, caps);
	if (config->mask)
		cpuid_apply_mask(&c->table, config->mask);
	*ret = TAKE_PTR(c);
	return 0;
}

struct arch_cpuid *arch_cpuid_free(struct arch_cpuid *c)
{
	free(c);
	return NULL;
}

int arch_vcpu_set_cpuid(int vcpu_fd, const struct arch_cpuid *c, uint32_t cpu, struct error *err)
{
	struct cpuid_table table = c->table;

	cpuid_adapt_cpu(&table, &c->topology, cpu);
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, &table) == 0)
		return 0;
	(void)host_error_set(err, errno, "KVM_SET_CPUID2");
	return error_prefix(err, "CPU %u", cpu);
}
