/*
 * Intel SDM volume 2 "CPUID" and AMD APM volume 3, appendix E. What Linux makes of them differs by
 * vendor and version: Intel reads 0x1F or 0xB, AMD 0x80000026 or 0xB from 6.9 on and 0xB before,
 * both fall back to leaf 1 with 4 or 0x80000008; the LLC comes from the caches (0x8000001D, 4). All
 * of them say the same here.
 */
#include "arch/x86_64/cpuid_topology.h"

#include <errno.h>

#include "base/num.h"

enum {
	LEAF1_CLFLUSH_64 = 8 << 8,
	LEAF1_EDX_HTT = 1 << 28,

	LEAF_TOPOLOGY = 0xB,
	LEAF_TOPOLOGY_V2 = 0x1F,
	LEVEL_SMT = 1,
	LEVEL_CORE = 2,

	EXT1_ECX_CMP_LEGACY = 1 << 1,
	EXT1_ECX_TOPOEXT = 1 << 22,

	/* level types of 0x80000026 */
	AMD_LEVEL_CORE = 1,
	AMD_LEVEL_COMPLEX,
	AMD_LEVEL_DIE,
	AMD_LEVEL_SOCKET,

	ZEN_FAMILY = 0x17,
	ZEN1_LAST_FIXED_MODEL = 0x1F,
	HYGON_LLC_BITS = 3,
	MAX_OLD_NODES = 256,
};

/* Above INT_MAX, so no enumerators. */
#define LEAF_EXT1         0x80000001u
#define LEAF_EXT8         0x80000008u
#define LEAF_IDS_AMD      0x8000001Eu
#define LEAF_TOPOLOGY_AMD 0x80000026u

int cpuid_check_topology(const struct cpuid_table *t, const struct topology *topo,
			 struct error *err)
{
	enum cpuid_vendor vendor = cpuid_vendor(t);
	uint32_t bits = topology_core_bits(topo);
	bool fits = topo->n_llcs > 1 ? bits == HYGON_LLC_BITS : bits <= HYGON_LLC_BITS;

	if (vendor == CPUID_HYGON && !fits)
		(void)error_set_text(
		    err, -ENOTSUP,
		    "%u LLCs of %u cores with %u threads: on Hygon processors Linux "
		    "takes each 8 APIC ids for an LLC; give LLCs 5 to 8 CPUs",
		    topo->n_llcs, topo->cores_per_llc, topo->threads_per_core);
	else if (vendor == CPUID_AMD && cpuid_family(t) < ZEN_FAMILY &&
		 topo->n_llcs > MAX_OLD_NODES)
		(void)error_set_text(
		    err, -ENOTSUP,
		    "%u LLCs: this host's processor (AMD before Zen) can tell a guest of %d",
		    topo->n_llcs, MAX_OLD_NODES);
	else
		return 0;
	return error_classify(err, ERROR_SKIP);
}

/* --- steps of the VM --- */

static uint32_t at_most(uint32_t v, uint32_t max)
{
	return v < max ? v : max;
}

static void set_leaf1(struct cpuid_table *t, const struct topology *topo)
{
	struct kvm_cpuid_entry2 *e = cpuid_edit(t, 1, 0);

	if (!e)
		return;
	e->ebx =
	    (e->ebx & 0xFF) | LEAF1_CLFLUSH_64 | at_most(1u << topology_core_bits(topo), 255) << 16;
	if (topology_cpus_per_llc(topo) > 1)
		e->edx |= LEAF1_EDX_HTT;
	else
		e->edx &= ~(uint32_t)LEAF1_EDX_HTT;
}

struct level {
	uint32_t type, shift, count;
};

/*
 * 0xB, 0x1F, 0x80000026: EAX bits of the APIC id below the next level, EBX logical processors of
 * one unit, ECX the level's number and type, EDX the CPU's id. A level without a type ends the
 * list.
 */
static void add_levels(struct cpuid_table *t, uint32_t leaf, const struct level *levels, uint32_t n)
{
	cpuid_remove(t, leaf);
	for (uint32_t i = 0; i <= n; i++) {
		struct level l = i < n ? levels[i] : (struct level){ 0 };
		cpuid_append(t, (struct kvm_cpuid_entry2){ .function = leaf,
							   .index = i,
							   .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
							   .eax = l.shift,
							   .ebx = l.count,
							   .ecx = l.type << 8 | i });
	}
}

static void add_topology_leaf(struct cpuid_table *t, const struct topology *topo, uint32_t leaf)
{
	const struct level levels[] = {
		{ LEVEL_SMT, topology_thread_bits(topo), topo->threads_per_core },
		{ LEVEL_CORE, topology_core_bits(topo), topology_cpus_per_llc(topo) },
	};

	add_levels(t, leaf, levels, ARRAY_SIZE(levels));
}

/* The complex is what shares an L3; here it is alone on its die and in its socket. */
static void add_amd_topology_leaf(struct cpuid_table *t, const struct topology *topo)
{
	uint32_t bits = topology_core_bits(topo), cpus = topology_cpus_per_llc(topo);
	const struct level levels[] = {
		{ AMD_LEVEL_CORE, topology_thread_bits(topo), topo->threads_per_core },
		{ AMD_LEVEL_COMPLEX, bits, cpus },
		{ AMD_LEVEL_DIE, bits, cpus },
		{ AMD_LEVEL_SOCKET, bits, cpus },
	};

	add_levels(t, LEAF_TOPOLOGY_AMD, levels, ARRAY_SIZE(levels));
}

/* TOPOEXT promises 0x8000001D and 0x8000001E. */
static void set_amd_counts(struct cpuid_table *t, const struct topology *topo)
{
	uint32_t cpus = topology_cpus_per_llc(topo);
	struct kvm_cpuid_entry2 *features = cpuid_ensure(t, LEAF_EXT1);

	features->ecx |= EXT1_ECX_TOPOEXT | EXT1_ECX_CMP_LEGACY;
	if (cpus == 1)
		features->ecx &= ~(uint32_t)EXT1_ECX_CMP_LEGACY;
	cpuid_ensure(t, LEAF_EXT8)->ecx = at_most(cpus - 1, 255) | topology_core_bits(topo) << 12;
}

/* The ids are filled in per CPU; one node per package. */
static void add_amd_ids(struct cpuid_table *t, const struct topology *topo)
{
	cpuid_remove(t, LEAF_IDS_AMD);
	cpuid_append(
	    t, (struct kvm_cpuid_entry2){ .function = LEAF_IDS_AMD,
					  .ebx = at_most(topo->threads_per_core - 1, 255) << 8 });
}

/*
 * On the first models of Zen Linux takes each 8 APIC ids for an LLC, whatever 0x8000001D says. The
 * next ones up (0x20 to 0x2F) are the same core to it, without that rule.
 */
static void leave_first_zen_models(struct cpuid_table *t)
{
	static const uint32_t leaves[] = { 1, LEAF_EXT1 };

	if (cpuid_family(t) != ZEN_FAMILY || cpuid_model(t) > ZEN1_LAST_FIXED_MODEL)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		struct kvm_cpuid_entry2 *e = cpuid_edit(t, leaves[i], 0);
		if (e)
			e->eax = (e->eax & ~(0xFu << 16)) | 2 << 16;
	}
}

static void set_amd(struct cpuid_table *t, const struct topology *topo)
{
	leave_first_zen_models(t);
	cpuid_set_caches(t, topo, CPUID_LEAF_CACHES_AMD);
	cpuid_set_old_amd_caches(t);
	set_amd_counts(t, topo);
	add_amd_ids(t, topo);
	add_topology_leaf(t, topo, LEAF_TOPOLOGY);
	cpuid_remove(t, LEAF_TOPOLOGY_V2); /* Intel's, and read first where it is */
	add_amd_topology_leaf(t, topo);
}

static void set_intel(struct cpuid_table *t, const struct topology *topo)
{
	cpuid_set_caches(t, topo, CPUID_LEAF_CACHES_INTEL);
	add_topology_leaf(t, topo, LEAF_TOPOLOGY);
	add_topology_leaf(t, topo, LEAF_TOPOLOGY_V2);
}

void cpuid_set_topology(struct cpuid_table *t, const struct topology *topo)
{
	set_leaf1(t, topo);
	switch (cpuid_vendor(t)) {
	case CPUID_AMD:
	case CPUID_HYGON:
		set_amd(t, topo);
		break;
	case CPUID_INTEL:
	case CPUID_OTHER: /* Zhaoxin, Centaur: read as Intel's */
		set_intel(t, topo);
		break;
	}
}

/* --- steps of one CPU --- */

void cpuid_set_cpu(struct cpuid_table *t, const struct topology *topo, uint32_t cpu)
{
	uint32_t id = topology_apic_id(topo, cpu);

	for (uint32_t i = 0; i < t->n; i++) {
		struct kvm_cpuid_entry2 *e = &t->e[i];

		switch (e->function) {
		case 1:
			e->ebx = (e->ebx & 0x00FFFFFF) | id << 24;
			break;
		case LEAF_TOPOLOGY:
		case LEAF_TOPOLOGY_V2:
		case LEAF_TOPOLOGY_AMD:
			e->edx = id;
			break;
		case LEAF_IDS_AMD:
			e->eax = id;
			e->ebx = (e->ebx & ~0xFFu) | (topology_cpu_core(topo, cpu) & 0xFF);
			e->ecx = topology_cpu_llc(topo, cpu) & 0xFF;
			break;
		default:
			break;
		}
	}
}
