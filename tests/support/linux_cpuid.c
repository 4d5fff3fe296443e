/*
 * Linux 6.12: arch/x86/kernel/cpu/topology_{common,ext,amd}.c, cacheinfo.c. Linux 6.1: topology.c
 * (detect_extended_topology), amd.c (amd_get_topology), intel.c, common.c (detect_ht).
 */
#include "support/linux_cpuid.h"

#include <string.h>

struct regs {
	uint32_t eax, ebx, ecx, edx;
};

/* A leaf that is not there reads as zeros. */
static struct regs cpuid(const struct cpuid_table *t, uint32_t leaf, uint32_t subleaf)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(t, leaf, subleaf);

	return e ? (struct regs){ e->eax, e->ebx, e->ecx, e->edx } : (struct regs){ 0 };
}

static uint32_t order(uint32_t n) /* get_count_order */
{
	uint32_t bits = 0;

	while ((uint64_t)1 << bits < n)
		bits++;
	return bits;
}

static bool has_leaf(const struct cpuid_table *t, uint32_t leaf)
{
	return cpuid(t, leaf & 0xFFFF0000u, 0).eax >= leaf;
}

/* --- leaves 0xB, 0x1F, 0x80000026 --- */

/* cpu_parse_topology_ext: the first level is threads, the last one ends the package. */
static bool read_levels(const struct cpuid_table *t, uint32_t leaf, struct linux_cpu *cpu)
{
	uint32_t n = 0, last_type = 0;

	if (!has_leaf(t, leaf))
		return false;
	for (;; n++) {
		struct regs r = cpuid(t, leaf, n);
		uint32_t type = r.ecx >> 8 & 0xFF, count = r.ebx & 0xFFFF, shift = r.eax & 0x1F;

		if (!type || !count)
			break;
		if ((r.ecx & 0xFF) != n || type <= last_type || (n && r.edx != cpu->apic_id) ||
		    (n && (shift < cpu->pkg_shift || count < cpu->pkg_cpus)))
			return false;
		if (n == 0) {
			cpu->apic_id = r.edx;
			cpu->smt_shift = shift;
			cpu->threads = count;
		}
		cpu->pkg_shift = shift;
		cpu->pkg_cpus = count;
		last_type = type;
	}
	return n > 0;
}

static void derive_ids(struct linux_cpu *cpu)
{
	cpu->pkg_id = cpu->apic_id >> cpu->pkg_shift;
	cpu->core_id = (cpu->apic_id & ((1u << cpu->pkg_shift) - 1)) >> cpu->smt_shift;
}

/* --- caches --- */

static void read_caches(const struct cpuid_table *t, uint32_t leaf, struct linux_cpu *cpu)
{
	for (uint32_t i = 0; i < 8; i++) {
		struct regs r = cpuid(t, leaf, i);

		if (!(r.eax & 0x1F))
			return;
		cpu->caches[cpu->n_caches++] = (struct linux_cache){
			.type = r.eax & 0x1F,
			.level = r.eax >> 5 & 7,
			.shift = order((r.eax >> 14 & 0xFFF) + 1),
			.size = (uint64_t)((r.ebx & 0xFFF) + 1) * ((r.ebx >> 12 & 0x3FF) + 1) *
				((r.ebx >> 22) + 1) * ((uint64_t)r.ecx + 1),
		};
	}
}

/* init_intel_cacheinfo */
static void intel_llc(const struct cpuid_table *t, struct linux_cpu *cpu)
{
	cpu->llc_id = cpu->pkg_id;
	read_caches(t, 4, cpu);
	for (uint32_t i = 0; i < cpu->n_caches; i++)
		if (cpu->caches[i].level == 2 || cpu->caches[i].level == 3)
			cpu->llc_id = cpu->apic_id >> cpu->caches[i].shift;
}

/* cacheinfo_amd_init_llc_id and cacheinfo_hygon_init_llc_id */
static bool amd_llc(const struct cpuid_table *t, struct linux_cpu *cpu)
{
	uint32_t family = cpuid_family(t);

	read_caches(t, 0x8000001D, cpu);
	if (!cpuid(t, 0x80000006, 0).edx || cpu->n_caches != 4)
		return false;
	if (cpuid_vendor(t) == CPUID_HYGON || (family == 0x17 && cpuid_model(t) <= 0x1F))
		cpu->llc_id = cpu->apic_id >> 3;
	else if (family < 0x17)
		cpu->llc_id = cpuid(t, 0x8000001E, 0).ecx & 0xFF;
	else
		cpu->llc_id = cpu->apic_id >> cpu->caches[cpu->n_caches - 1].shift;
	return true;
}

/* --- paths --- */

static bool intel_v2(const struct cpuid_table *t, struct linux_cpu *ret)
{
	if (!read_levels(t, 0x1F, ret))
		return false;
	derive_ids(ret);
	intel_llc(t, ret);
	return true;
}

static bool intel_v1(const struct cpuid_table *t, struct linux_cpu *ret)
{
	if (!read_levels(t, 0xB, ret))
		return false;
	derive_ids(ret);
	intel_llc(t, ret);
	return true;
}

/* parse_legacy: an APIC id of 8 bits, counts of ids */
static bool intel_legacy(const struct cpuid_table *t, struct linux_cpu *ret)
{
	struct regs one = cpuid(t, 1, 0), four = cpuid(t, 4, 0);
	uint32_t cores = four.eax & 0x1F ? (four.eax >> 26) + 1 : 1;

	ret->apic_id = one.ebx >> 24;
	ret->pkg_shift = order(cores);
	if (one.edx & 1u << 28) {
		uint32_t all = order(one.ebx >> 16 & 0xFF);
		if (all < ret->pkg_shift)
			return false;
		ret->smt_shift = all - ret->pkg_shift;
		ret->pkg_shift = all;
	}
	ret->threads = 1u << ret->smt_shift; /* room, not a count */
	ret->pkg_cpus = 1u << ret->pkg_shift;
	derive_ids(ret);
	intel_llc(t, ret);
	return true;
}

static bool has_topoext(const struct cpuid_table *t)
{
	return cpuid(t, 0x80000001, 0).ecx & 1u << 22;
}

/* 6.9 and later: 0x1F would be read first, were it there. */
static bool amd_new(const struct cpuid_table *t, struct linux_cpu *ret)
{
	struct linux_cpu intel = { 0 };

	if (!has_topoext(t) || read_levels(t, 0x1F, &intel) || !read_levels(t, 0x80000026, ret))
		return false;
	derive_ids(ret);
	return amd_llc(t, ret);
}

/* Up to 6.8: 0xB, with 0x8000001E checked against it. */
static bool amd_b(const struct cpuid_table *t, struct linux_cpu *ret)
{
	struct regs ids = cpuid(t, 0x8000001E, 0);

	if (!has_topoext(t) || !read_levels(t, 0xB, ret))
		return false;
	derive_ids(ret);
	return ids.eax == ret->apic_id && amd_llc(t, ret);
}

/* Neither: 0x80000008 and 0x8000001E. */
static bool amd_legacy(const struct cpuid_table *t, struct linux_cpu *ret)
{
	struct regs eight = cpuid(t, 0x80000008, 0), ids = cpuid(t, 0x8000001E, 0);

	if (!has_topoext(t))
		return false;
	ret->apic_id = ids.eax;
	ret->pkg_cpus = (eight.ecx & 0xFF) + 1;
	ret->pkg_shift = eight.ecx >> 12 & 0xF ? eight.ecx >> 12 & 0xF : order(ret->pkg_cpus);
	ret->threads = (ids.ebx >> 8 & 0xFF) + 1;
	ret->smt_shift = order(ret->threads);
	derive_ids(ret);
	if (ret->core_id % 256 != (ids.ebx & 0xFF))
		return false;
	return amd_llc(t, ret);
}

const struct linux_path linux_paths[] = {
	{ "Intel, 0x1F", false, intel_v2 },
	{ "Intel, 0xB", false, intel_v1 },
	{ "Intel, 1 and 4", false, intel_legacy },
	{ "AMD, 0x80000026", true, amd_new },
	{ "AMD, 0xB", true, amd_b },
	{ "AMD, 0x80000008", true, amd_legacy },
};
const size_t linux_n_paths = ARRAY_SIZE(linux_paths);
