/*
 * Caches: one layout for Intel's leaf 4 and AMD's 0x8000001D (Intel SDM volume 2, "CPUID", leaf
 * 04H; AMD APM volume 3, E.4.15): EAX type in bits 4:0, level in 7:5, flags up to 13, APIC ids that
 * share it - 1 in 25:14; EBX line, partitions, ways; ECX sets.
 */
#include "arch/x86_64/cpuid_topology.h"

#include "base/num.h"

enum { TYPE_DATA = 1, TYPE_INSTRUCTION, TYPE_UNIFIED };
enum {
	TYPE_AND_LEVEL = 0xFF,
	SHAPE = 0x3FFF, /* of EAX: what does not depend on the topology */
	SHARING_BIT = 14,
	MAX_SHARING = 0xFFF,
	CORE_IDS_BIT = 26, /* Intel */
	MAX_CORE_IDS = 0x3F,
	L2 = 2,
	L3 = 3,
	N_CACHES = 4, /* Linux takes the fourth for the L3 on AMD */
};

#define LEAF_OLD_AMD_CACHES 0x80000006u

struct cache {
	uint32_t eax, ebx, ecx, edx;
};

#define CACHE(type, level, ways, sets)                                                             \
	{                                                                                          \
		(type) | (level) << 5 | 1 << 8, ((ways)-1) << 22 | 63, (sets)-1, 0                 \
	}

/* What a small server has: 32 KiB each, 512 KiB, 16 MiB. */
static const struct cache usual_caches[N_CACHES] = {
	CACHE(TYPE_DATA, 1, 8, 64),
	CACHE(TYPE_INSTRUCTION, 1, 8, 64),
	CACHE(TYPE_UNIFIED, 2, 8, 1024),
	CACHE(TYPE_UNIFIED, 3, 16, 16384),
};

/* By level and type the host's own description, else what is there. */
static struct cache host_cache(const struct cpuid_table *t, uint32_t leaf, struct cache usual)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const struct kvm_cpuid_entry2 *e = &t->e[i];
		if (e->function == leaf && ((e->eax ^ usual.eax) & TYPE_AND_LEVEL) == 0)
			return (struct cache){ e->eax & SHAPE, e->ebx, e->ecx, e->edx };
	}
	return usual;
}

void cpuid_set_caches(struct cpuid_table *t, const struct topology *topo, uint32_t leaf)
{
	struct cache caches[N_CACHES];
	uint32_t core_ids = 1u << (topology_core_bits(topo) - topology_thread_bits(topo));

	for (uint32_t i = 0; i < N_CACHES; i++)
		caches[i] = host_cache(t, leaf, usual_caches[i]);
	cpuid_remove(t, leaf);
	for (uint32_t i = 0; i <= N_CACHES; i++) {
		struct kvm_cpuid_entry2 e = { .function = leaf,
					      .index = i,
					      .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX };
		if (i < N_CACHES) { /* the last entry has no type: the end */
			/* Ids have gaps, so these are powers of two and not counts. */
			uint32_t bits =
			    i == L3 ? topology_core_bits(topo) : topology_thread_bits(topo);
			e.eax = caches[i].eax | (uint32_t)num_min((1u << bits) - 1, MAX_SHARING)
						    << SHARING_BIT;
			if (leaf == CPUID_LEAF_CACHES_INTEL)
				e.eax |= (uint32_t)num_min(core_ids - 1, MAX_CORE_IDS)
					 << CORE_IDS_BIT;
			e.ebx = caches[i].ebx;
			e.ecx = caches[i].ecx;
			e.edx = caches[i].edx;
		}
		cpuid_append(t, e);
	}
}

/* --- AMD's older leaf, APM volume 3, E.4.5 --- */

static uint64_t cache_bytes(const struct kvm_cpuid_entry2 *e)
{
	uint64_t line = (e->ebx & 0xFFF) + 1, partitions = (e->ebx >> 12 & 0x3FF) + 1;
	uint64_t ways = (e->ebx >> 22) + 1;

	return line * partitions * ways * ((uint64_t)e->ecx + 1);
}

static uint32_t old_associativity(const struct kvm_cpuid_entry2 *e)
{
	static const uint8_t ways_of[] = {
		[1] = 1,  [2] = 2,    [3] = 3,    [4] = 4,    [5] = 6,    [6] = 8,
		[8] = 16, [0xA] = 32, [0xB] = 48, [0xC] = 64, [0xD] = 96, [0xE] = 128,
	};
	enum { SEE_NEW_LEAF = 9 };

	for (uint32_t code = 1; code < ARRAY_SIZE(ways_of); code++)
		if (ways_of[code] == (e->ebx >> 22) + 1)
			return code;
	return SEE_NEW_LEAF;
}

/* @unit_bits: where the size begins, in @unit bytes. */
static uint32_t old_cache(const struct kvm_cpuid_entry2 *e, uint64_t unit, unsigned size_bit)
{
	uint64_t size = num_max(cache_bytes(e) / unit, 1);
	uint64_t max = (1u << (32 - size_bit)) - 1;

	return (uint32_t)num_min(size, max) << size_bit | old_associativity(e) << 12 |
	       ((e->ebx >> 12 & 0xF) + 1) << 8 | ((e->ebx & 0xFF) + 1);
}

void cpuid_set_old_amd_caches(struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *l2 = cpuid_find(t, CPUID_LEAF_CACHES_AMD, L2);
	const struct kvm_cpuid_entry2 *l3 = cpuid_find(t, CPUID_LEAF_CACHES_AMD, L3);
	uint32_t ecx = old_cache(l2, KIB, 16), edx = old_cache(l3, 512 * KIB, 18);
	struct kvm_cpuid_entry2 *e = cpuid_ensure(t, LEAF_OLD_AMD_CACHES);

	e->ecx = ecx;
	e->edx = edx;
}
