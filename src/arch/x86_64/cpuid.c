/*
 * CPUID leaf by leaf. Intel SDM volume 2 "CPUID"; AMD APM volume 3, appendix E; KVM:
 * Documentation/virt/kvm/x86/cpuid.rst.
 *
 * KVM's supported table describes the host's features and nothing reliable about topology: on the
 * leaves below, all topology fields are set from scratch.
 */
#include "arch/x86_64/cpuid.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch/x86_64/host_error.h"
#include "arch/x86_64/split_irqchip.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/num.h"

static_assert(offsetof(struct cpuid_table, e) == sizeof(struct kvm_cpuid2),
	      "passed to KVM as it is");
static_assert(offsetof(struct cpuid_table, n) == offsetof(struct kvm_cpuid2, nent),
	      "passed to KVM as it is");

enum {
	LEAF1_ECX_X2APIC = 1 << 21,
	LEAF1_ECX_TSC_DEADLINE = 1 << 24,
	LEAF1_EDX_HTT = 1 << 28,
	CLFLUSH_64_BYTES = 8,

	LEAF_CACHES_INTEL = 4,
	LEAF_TOPOLOGY = 0xB,
	LEAF_TOPOLOGY_V2 = 0x1F,
	KVM_FEATURE_MSI_EXT_DEST = 1 << 15,
	LEVEL_SMT = 1,
	LEVEL_CORE = 2,

	EXT1_ECX_CMP_LEGACY = 1 << 1,
	EXT1_ECX_TOPOEXT = 1 << 22,
};

/* Above INT_MAX, so no enumerators. */
#define LEAF1_ECX_HYPERVISOR (1u << 31)
#define LEAF_KVM             0x40000000u
#define LEAF_KVM_FEATURES    0x40000001u
#define LEAF_EXT1            0x80000001u
#define LEAF_EXT8            0x80000008u
#define LEAF_CACHES_AMD      0x8000001Du
#define LEAF_TOPOLOGY_AMD    0x8000001Eu

/* --- the table --- */

static struct kvm_cpuid_entry2 *find(struct cpuid_table *t, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < t->n; i++) {
		struct kvm_cpuid_entry2 *e = &t->e[i];
		bool indexed = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

		if (e->function == leaf && (!indexed || e->index == subleaf))
			return e;
	}
	return NULL;
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *t, uint32_t leaf,
					  uint32_t subleaf)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const struct kvm_cpuid_entry2 *e = &t->e[i];
		bool indexed = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

		if (e->function == leaf && (!indexed || e->index == subleaf))
			return e;
	}
	return NULL;
}

static struct kvm_cpuid_entry2 *append(struct cpuid_table *t, struct kvm_cpuid_entry2 entry)
{
	ASSERT(t->n < CPUID_MAX_ENTRIES);
	t->e[t->n] = entry;
	return &t->e[t->n++];
}

static void remove_leaf(struct cpuid_table *t, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->n; i++)
		if (t->e[i].function != leaf)
			t->e[kept++] = t->e[i];
	t->n = kept;
}

/* Leaf @base (0, 0x80000000) names the highest leaf of its range. */
static void raise_maximum(struct cpuid_table *t, uint32_t base, uint32_t leaf)
{
	struct kvm_cpuid_entry2 *e = find(t, base, 0);

	if (e && e->eax < leaf)
		e->eax = leaf;
}

enum cpuid_vendor cpuid_vendor(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(t, 0, 0);
	char name[12];

	if (!e)
		return CPUID_OTHER;
	memcpy(name, &e->ebx, 4);
	memcpy(name + 4, &e->edx, 4);
	memcpy(name + 8, &e->ecx, 4);
	if (!memcmp(name, "GenuineIntel", 12))
		return CPUID_INTEL;
	if (!memcmp(name, "AuthenticAMD", 12) || !memcmp(name, "HygonGenuine", 12))
		return CPUID_AMD;
	return CPUID_OTHER;
}

/* --- topology in numbers --- */

static uint32_t threads_per_package(const struct topology *topo)
{
	return topo->cores_per_llc * topo->threads_per_core;
}

/* APIC ids that a cache or package spans: ids have gaps, so these are powers of two, not counts. */
static uint32_t ids_per_core(const struct topology *topo)
{
	return 1u << topology_thread_bits(topo);
}

static uint32_t ids_per_package(const struct topology *topo)
{
	return 1u << topology_core_bits(topo);
}

static uint32_t at_most(uint32_t v, uint32_t max)
{
	return v < max ? v : max;
}

/* --- steps of the VM --- */

static void set_leaf1(struct cpuid_table *t, const struct topology *topo, struct cpuid_caps caps)
{
	struct kvm_cpuid_entry2 *e = find(t, 1, 0);

	if (!e)
		return;
	uint32_t brand = e->ebx & 0xFF;
	e->ebx = brand | CLFLUSH_64_BYTES << 8 | at_most(ids_per_package(topo), 255) << 16;
	e->ecx |= LEAF1_ECX_HYPERVISOR | LEAF1_ECX_X2APIC;
	/* KVM emulates the timer but leaves the bit to user space. Without it Linux has to
	 * calibrate the APIC timer. */
	if (caps.tsc_deadline)
		e->ecx |= LEAF1_ECX_TSC_DEADLINE;
	if (threads_per_package(topo) > 1)
		e->edx |= LEAF1_EDX_HTT;
	else
		e->edx &= ~(uint32_t)LEAF1_EDX_HTT;
}

/* One layout for Intel's leaf 4 and AMD's 0x8000001D: type in bits 4:0, level in 7:5, ids sharing -
 * 1 in 25:14. */
static void set_cache_sharing(struct cpuid_table *t, const struct topology *topo, uint32_t leaf)
{
	for (uint32_t i = 0; i < t->n; i++) {
		struct kvm_cpuid_entry2 *e = &t->e[i];

		if (e->function != leaf || (e->eax & 0x1F) == 0)
			continue;
		uint32_t level = e->eax >> 5 & 7;
		uint32_t sharing = level >= 3 ? ids_per_package(topo) : ids_per_core(topo);
		e->eax = (e->eax & 0x3FFF) | at_most(sharing - 1, 0xFFF) << 14;
	}
}

/* Leaf 4 counts the core ids of a package as well. */
static void set_intel_caches(struct cpuid_table *t, const struct topology *topo)
{
	uint32_t cores = ids_per_package(topo) / ids_per_core(topo);

	set_cache_sharing(t, topo, LEAF_CACHES_INTEL);
	for (uint32_t i = 0; i < t->n; i++)
		if (t->e[i].function == LEAF_CACHES_INTEL && (t->e[i].eax & 0x1F) != 0)
			t->e[i].eax |= at_most(cores - 1, 63) << 26;
}

/* 0xB and 0x1F: shift to the next level, logical processors at this level, level type and number.
 */
static void add_topology_leaf(struct cpuid_table *t, const struct topology *topo, uint32_t leaf)
{
	const struct {
		uint32_t shift, count, type;
	} levels[] = {
		{ topology_thread_bits(topo), topo->threads_per_core, LEVEL_SMT },
		{ topology_core_bits(topo), threads_per_package(topo), LEVEL_CORE },
		{ 0, 0, 0 }, /* an invalid level ends the list */
	};

	remove_leaf(t, leaf);
	for (uint32_t i = 0; i < ARRAY_SIZE(levels); i++)
		append(t, (struct kvm_cpuid_entry2){ .function = leaf,
						     .index = i,
						     .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
						     .eax = levels[i].shift,
						     .ebx = levels[i].count,
						     .ecx = levels[i].type << 8 | i });
	raise_maximum(t, 0, leaf);
}

static void set_amd_core_count(struct cpuid_table *t, const struct topology *topo)
{
	struct kvm_cpuid_entry2 *e = find(t, LEAF_EXT8, 0);

	if (e)
		e->ecx = at_most(threads_per_package(topo) - 1, 255) | topology_core_bits(topo)
									   << 12;
}

/* TOPOEXT promises 0x8000001D and 0x8000001E: only where the first really describes caches. */
static void set_amd_features(struct cpuid_table *t, const struct topology *topo)
{
	struct kvm_cpuid_entry2 *e = find(t, LEAF_EXT1, 0);
	const struct kvm_cpuid_entry2 *caches = find(t, LEAF_CACHES_AMD, 0);

	if (!e)
		return;
	e->ecx &= ~(uint32_t)(EXT1_ECX_CMP_LEGACY | EXT1_ECX_TOPOEXT);
	if (threads_per_package(topo) > 1)
		e->ecx |= EXT1_ECX_CMP_LEGACY;
	if (caches && (caches->eax & 0x1F) != 0)
		e->ecx |= EXT1_ECX_TOPOEXT;
}

/* Its ids are filled in per CPU; one node per package. */
static void add_amd_topology_leaf(struct cpuid_table *t, const struct topology *topo)
{
	remove_leaf(t, LEAF_TOPOLOGY_AMD);
	append(t,
	       (struct kvm_cpuid_entry2){ .function = LEAF_TOPOLOGY_AMD,
					  .ebx = at_most(topo->threads_per_core - 1, 255) << 8 });
	raise_maximum(t, 0x80000000u, LEAF_TOPOLOGY_AMD);
}

static void set_amd(struct cpuid_table *t, const struct topology *topo)
{
	set_cache_sharing(t, topo, LEAF_CACHES_AMD);
	set_amd_features(t, topo);
	set_amd_core_count(t, topo);
	add_amd_topology_leaf(t, topo);
	add_topology_leaf(t, topo, LEAF_TOPOLOGY);
}

static void set_intel(struct cpuid_table *t, const struct topology *topo)
{
	set_intel_caches(t, topo);
	add_topology_leaf(t, topo, LEAF_TOPOLOGY);
	add_topology_leaf(t, topo, LEAF_TOPOLOGY_V2);
}

/* The leaves by which a guest finds out that it runs on KVM; an old KVM did not list them. */
static void add_kvm_leaves(struct cpuid_table *t, struct cpuid_caps caps)
{
	if (!find(t, LEAF_KVM, 0))
		append(t, (struct kvm_cpuid_entry2){ .function = LEAF_KVM,
						     .eax = LEAF_KVM_FEATURES,
						     .ebx = 0x4B4D564B, /* "KVMK" "VMKV" "M" */
						     .ecx = 0x564B4D56,
						     .edx = 0x0000004D });
	if (!find(t, LEAF_KVM_FEATURES, 0))
		append(t, (struct kvm_cpuid_entry2){ .function = LEAF_KVM_FEATURES });
	/* KVM never lists it: it is a promise of the I/O APIC. Without it Linux leaves CPUs with
	 * ids above 255 offline. */
	if (caps.msi_ext_dest_id)
		find(t, LEAF_KVM_FEATURES, 0)->eax |= KVM_FEATURE_MSI_EXT_DEST;
}

void cpuid_adapt_vm(struct cpuid_table *t, const struct topology *topology, struct cpuid_caps caps)
{
	ASSERT(t->n <= CPUID_MAX_ENTRIES - CPUID_ROOM);
	set_leaf1(t, topology, caps);
	switch (cpuid_vendor(t)) {
	case CPUID_INTEL:
		set_intel(t, topology);
		break;
	case CPUID_AMD:
		set_amd(t, topology);
		break;
	case CPUID_OTHER:
		add_topology_leaf(t, topology, LEAF_TOPOLOGY);
		break;
	}
	add_kvm_leaves(t, caps);
}

/* --- steps of one CPU --- */

void cpuid_adapt_cpu(struct cpuid_table *t, const struct topology *topology, uint32_t cpu)
{
	uint32_t id = topology_apic_id(topology, cpu);
	uint32_t core = cpu / topology->threads_per_core % topology->cores_per_llc;
	uint32_t llc = cpu / threads_per_package(topology);

	for (uint32_t i = 0; i < t->n; i++) {
		struct kvm_cpuid_entry2 *e = &t->e[i];

		if (e->function == 1) {
			e->ebx = (e->ebx & 0x00FFFFFF) | at_most(id, 255) << 24;
		} else if (e->function == LEAF_TOPOLOGY || e->function == LEAF_TOPOLOGY_V2) {
			e->edx = id;
		} else if (e->function == LEAF_TOPOLOGY_AMD) {
			e->eax = id;
			e->ebx = (e->ebx & ~0xFFu) | (core & 0xFF);
			e->ecx = llc & 0xFF;
		}
	}
}

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
		struct kvm_cpuid_entry2 *e = find(t, mask->leaf[i], mask->subleaf[i]);

		if (e)
			*reg_of(e, mask->reg[i]) &= ~mask->clear[i];
	}
}

/* --- arch.h --- */

struct arch_cpuid {
	struct topology topology;
	struct cpuid_table table;
};

int arch_cpuid_new(int kvm_fd, const struct topology *t, const struct cpu_mask *mask,
		   struct arch_cpuid **ret, struct error *err)
{
	CLEANUP(freep) struct arch_cpuid *c = xcalloc(1, sizeof(*c));

	c->topology = *t;
	c->table.n = CPUID_MAX_ENTRIES - CPUID_ROOM;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &c->table) < 0)
		return host_error_set(err, errno, "KVM_GET_SUPPORTED_CPUID");
	struct cpuid_caps caps = {
		.tsc_deadline = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
		.msi_ext_dest_id = split_irqchip_is_needed(t),
	};
	cpuid_adapt_vm(&c->table, t, caps);
	if (mask)
		cpuid_apply_mask(&c->table, mask);
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
