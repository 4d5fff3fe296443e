/*
 * CPUID tables of both vendors: an Intel one as a KVM host reports it, an AMD one of a Zen host, an
 * AMD one of a software CPU without TOPOEXT and with few leaves. Host topology in them is wrong on
 * purpose and must not come through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/cpuid.h"

static const struct kvm_cpuid_entry2 intel[] = {
	{ 0x0, 0, 0, 0xD, 0x756E6547, 0x6C65746E, 0x49656E69 },
	{ 0x1, 0, 0, 0x000C06F2, 0x1F400800, 0x00202000, 0x0F8BFBFF },
	{ 0x4, 0, 1, 0x7C004121, 0x02C0003F, 0x3F, 0 },
	{ 0x4, 1, 1, 0x7C004122, 0x01C0003F, 0x3F, 0 },
	{ 0x4, 2, 1, 0x7C004143, 0x03C0003F, 0x7FF, 0 },
	{ 0x4, 3, 1, 0x7C1FC163, 0x04C0003F, 0x33FFF, 0 },
	{ 0x4, 4, 1, 0, 0, 0, 0 },
	{ 0x7, 0, 1, 0, 0x00100000, 0, 0 },
	{ 0xB, 0, 1, 5, 77, 0x100, 99 },
	{ 0x80000000, 0, 0, 0x80000008, 0, 0, 0 },
	{ 0x80000001, 0, 0, 0, 0, 0x21, 0x2C100800 },
	{ 0x80000008, 0, 0, 0x3930, 0, 0, 0 },
	{ 0x40000000, 0, 0, 0x40000001, 0x4B4D564B, 0x564B4D56, 0x4D },
	{ 0x40000001, 0, 0, 0x01007EFB, 0, 0, 0 },
};

static const struct kvm_cpuid_entry2 zen[] = {
	{ 0x0, 0, 0, 0x10, 0x68747541, 0x444D4163, 0x69746E65 },
	{ 0x1, 0, 0, 0x00A20F10, 0x1F400800, 0x00002000, 0x178BFBFF },
	{ 0x80000000, 0, 0, 0x80000021, 0x68747541, 0x444D4163, 0x69746E65 },
	{ 0x80000001, 0, 0, 0x00A20F10, 0, 0x00400003, 0x2FD3FBFF },
	{ 0x80000008, 0, 0, 0x3030, 0, 0x701F, 0 },
	{ 0x8000001D, 0, 1, 0x4121, 0x01C0003F, 0x3F, 0 },
	{ 0x8000001D, 1, 1, 0x4122, 0x01C0003F, 0x3F, 0 },
	{ 0x8000001D, 2, 1, 0x4143, 0x01C0003F, 0x3FF, 2 },
	{ 0x8000001D, 3, 1, 0x3C163, 0x03C0003F, 0x7FFF, 1 },
	{ 0x8000001D, 4, 1, 0, 0, 0, 0 },
	{ 0x8000001E, 0, 0, 0x1F, 0x10F, 0x300, 0 },
	{ 0x40000000, 0, 0, 0x40000001, 0x4B4D564B, 0x564B4D56, 0x4D },
	{ 0x40000001, 0, 0, 0x01007EFB, 0, 0, 0 },
};

static const struct kvm_cpuid_entry2 software_amd[] = {
	{ 0x0, 0, 0, 0x1, 0x68747541, 0x444D4163, 0x69746E65 },
	{ 0x1, 0, 0, 0x00000663, 0x00000800, 0x00002001, 0x078BFBFF },
	{ 0x80000000, 0, 0, 0x8000000A, 0x68747541, 0x444D4163, 0x69746E65 },
	{ 0x80000001, 0, 0, 0x00000663, 0, 0x00400005, 0x2191ABFF },
	{ 0x80000008, 0, 0, 0x3028, 0, 0, 0 },
};

#define TABLE(entries) make_table(entries, ARRAY_SIZE(entries))

static struct cpuid_table make_table(const struct kvm_cpuid_entry2 *entries, size_t n)
{
	struct cpuid_table t = { .n = (uint32_t)n };

	memcpy(t.e, entries, n * sizeof(*entries));
	return t;
}

static const struct kvm_cpuid_entry2 *leaf(const struct cpuid_table *t, uint32_t function,
					   uint32_t index)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(t, function, index);

	assert_non_null(e);
	return e;
}

static struct cpuid_table adapted(struct cpuid_table t, const struct topology *topo, uint32_t cpu)
{
	cpuid_adapt_vm(&t, topo, (struct cpuid_caps){ .tsc_deadline = true });
	cpuid_adapt_cpu(&t, topo, cpu);
	return t;
}

static void test_vendor_is_told_from_leaf_0(void **state)
{
	struct cpuid_table t = TABLE(intel);

	assert_int_equal(cpuid_vendor(&t), CPUID_INTEL);
	t = TABLE(zen);
	assert_int_equal(cpuid_vendor(&t), CPUID_AMD);
	t.e[0].ebx = 0;
	assert_int_equal(cpuid_vendor(&t), CPUID_OTHER);
}

static void test_leaf1_has_id_count_and_virtual_features(void **state)
{
	const struct topology t = topology_uniform(1, 3, 3, 2);
	struct cpuid_table c = adapted(TABLE(intel), &t, 9); /* LLC 1, core 1, thread 1 */
	const struct kvm_cpuid_entry2 *e = leaf(&c, 1, 0);

	assert_int_equal(e->ebx >> 24, 1 << 3 | 1 << 1 | 1);
	assert_int_equal(e->ebx >> 16 & 0xFF, 8); /* ids in a package, not CPUs */
	assert_int_equal(e->ebx >> 8 & 0xFF, 8);
	assert_true(e->edx & 1u << 28);
	assert_true(e->ecx & 1u << 31);
	assert_true(e->ecx & 1u << 21);
	assert_true(e->ecx & 1u << 24);
	assert_int_equal(e->eax, 0x000C06F2);
}

static void test_leaf1_single_thread_has_no_htt(void **state)
{
	const struct topology t = topology_uniform(1, 2, 1, 1);
	struct cpuid_table c = adapted(TABLE(zen), &t, 1);

	assert_false(leaf(&c, 1, 0)->edx & 1u << 28);
	assert_int_equal(leaf(&c, 1, 0)->ebx >> 16, 1 << 8 | 1);
	assert_false(leaf(&c, 0x80000001, 0)->ecx & 1u << 1);
}

static void test_leaf1_tsc_deadline_only_where_kvm_has_it(void **state)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	struct cpuid_table c = TABLE(intel);

	cpuid_adapt_vm(&c, &t, (struct cpuid_caps){ .tsc_deadline = false });
	assert_false(leaf(&c, 1, 0)->ecx & 1u << 24);
}

static void test_kvm_features_extended_destinations_only_where_the_ioapic_takes_them(void **state)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	struct cpuid_table c = TABLE(intel);

	cpuid_adapt_vm(&c, &t, (struct cpuid_caps){ .msi_ext_dest_id = true });
	assert_true(leaf(&c, 0x40000001, 0)->eax & 1u << 15);
	c = TABLE(intel);
	cpuid_adapt_vm(&c, &t, (struct cpuid_caps){ 0 });
	assert_false(leaf(&c, 0x40000001, 0)->eax & 1u << 15);
}

static void check_cache(const struct cpuid_table *c, uint32_t function, uint32_t index,
			uint32_t sharing)
{
	assert_int_equal(leaf(c, function, index)->eax >> 14 & 0xFFF, sharing - 1);
}

static void test_intel_caches_are_shared_as_the_topology_says(void **state)
{
	const struct topology t = topology_uniform(1, 2, 3, 2);
	struct cpuid_table c = adapted(TABLE(intel), &t, 0);

	for (uint32_t i = 0; i < 3; i++)
		check_cache(&c, 4, i, 2);
	check_cache(&c, 4, 3, 8);
	assert_int_equal(leaf(&c, 4, 3)->eax >> 26, 3); /* core ids 0..3 */
	assert_int_equal(leaf(&c, 4, 3)->eax & 0x3FFF, 0x163);
	assert_int_equal(leaf(&c, 4, 4)->eax, 0);
}

static void test_amd_caches_are_shared_as_the_topology_says(void **state)
{
	const struct topology t = topology_uniform(1, 2, 3, 2);
	struct cpuid_table c = adapted(TABLE(zen), &t, 0);

	for (uint32_t i = 0; i < 3; i++)
		check_cache(&c, 0x8000001D, i, 2);
	check_cache(&c, 0x8000001D, 3, 8);
}

/* What Linux does with 0xB: package = id >> shift of the last level. */
static void test_topology_leaves_every_cpu_of_odd_shapes(void **state)
{
	const struct topology shapes[] = {
		topology_uniform(1, 1, 1, 1),
		topology_uniform(1, 3, 3, 1),
		topology_uniform(2, 4, 5, 3),
		topology_uniform(1, 2, 1, 2),
	};

	for (size_t s = 0; s < ARRAY_SIZE(shapes); s++) {
		const struct topology *t = &shapes[s];
		uint32_t per_llc = t->cores_per_llc * t->threads_per_core;

		for (uint32_t cpu = 0; cpu < topology_n_cpus(t); cpu++) {
			struct cpuid_table c = adapted(TABLE(intel), t, cpu);
			const struct kvm_cpuid_entry2 *smt = leaf(&c, 0xB, 0),
						      *core = leaf(&c, 0xB, 1);

			assert_int_equal(smt->edx, topology_apic_id(t, cpu));
			assert_int_equal(core->edx, smt->edx);
			assert_int_equal(smt->edx >> core->eax, cpu / per_llc);
			assert_int_equal(smt->edx & ((1u << smt->eax) - 1),
					 cpu % t->threads_per_core);
			assert_int_equal(smt->ebx, t->threads_per_core);
			assert_int_equal(core->ebx, per_llc);
			assert_int_equal(smt->ecx, 1 << 8);
			assert_int_equal(core->ecx, 2 << 8 | 1);
			assert_int_equal(leaf(&c, 0xB, 2)->ecx, 2);
			assert_memory_equal(&leaf(&c, 0x1F, 1)->eax, &core->eax, 16);
		}
	}
}

static void test_maxima_are_raised_to_added_leaves(void **state)
{
	const struct topology t = topology_uniform(1, 1, 2, 1);
	struct cpuid_table c = adapted(TABLE(intel), &t, 0);

	assert_int_equal(leaf(&c, 0, 0)->eax, 0x1F);
	c = adapted(TABLE(software_amd), &t, 0);
	assert_int_equal(leaf(&c, 0, 0)->eax, 0xB);
	assert_int_equal(leaf(&c, 0x80000000, 0)->eax, 0x8000001E);
	c = adapted(TABLE(zen), &t, 0);
	assert_int_equal(leaf(&c, 0, 0)->eax, 0x10);
	assert_null(cpuid_find(&c, 0x1F, 0));
}

static void test_amd_ids_and_counts_come_from_the_topology(void **state)
{
	const struct topology t = topology_uniform(1, 3, 3, 2);
	struct cpuid_table c = adapted(TABLE(zen), &t, 15); /* LLC 2, core 1, thread 1 */

	assert_int_equal(leaf(&c, 0x80000008, 0)->ecx, 3 << 12 | 5);
	assert_int_equal(leaf(&c, 0x8000001E, 0)->eax, 2 << 3 | 1 << 1 | 1);
	assert_int_equal(leaf(&c, 0x8000001E, 0)->ebx, 1 << 8 | 1);
	assert_int_equal(leaf(&c, 0x8000001E, 0)->ecx, 2);
	assert_true(leaf(&c, 0x80000001, 0)->ecx & 1u << 22);
	assert_true(leaf(&c, 0x80000001, 0)->ecx & 1u << 1);
}

static void test_amd_without_cache_leaf_promises_no_topoext(void **state)
{
	const struct topology t = topology_uniform(1, 1, 4, 1);
	struct cpuid_table c = adapted(TABLE(software_amd), &t, 3);

	assert_false(leaf(&c, 0x80000001, 0)->ecx & 1u << 22);
	assert_int_equal(leaf(&c, 0x80000008, 0)->ecx, 2 << 12 | 3);
	assert_int_equal(leaf(&c, 0xB, 1)->ebx, 4);
}

static void test_intel_reserved_amd_fields_stay_clear(void **state)
{
	const struct topology t = topology_uniform(1, 1, 4, 1);
	struct cpuid_table c = adapted(TABLE(intel), &t, 3);

	assert_int_equal(leaf(&c, 0x80000008, 0)->ecx, 0);
	assert_null(cpuid_find(&c, 0x8000001E, 0));
	assert_int_equal(leaf(&c, 0x80000001, 0)->ecx, 0x21);
}

static void test_pmu_leaf_is_never_invented(void **state)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	struct cpuid_table c = adapted(TABLE(intel), &t, 0);

	assert_null(cpuid_find(&c, 0xA, 0));
}

static void test_kvm_leaves_are_added_where_missing(void **state)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	struct cpuid_table c = adapted(TABLE(software_amd), &t, 0);
	char name[12];

	memcpy(name, &leaf(&c, 0x40000000, 0)->ebx, 4);
	memcpy(name + 4, &leaf(&c, 0x40000000, 0)->ecx, 4);
	memcpy(name + 8, &leaf(&c, 0x40000000, 0)->edx, 4);
	assert_memory_equal(name, "KVMKVMKVM\0\0\0", 12);
	assert_int_equal(leaf(&c, 0x40000000, 0)->eax, 0x40000001);
	c = adapted(TABLE(intel), &t, 0);
	assert_int_equal(leaf(&c, 0x40000001, 0)->eax, 0x01007EFB); /* what KVM lists stays */
}

static void test_mask_clears_its_bits_and_ignores_absent_leaves(void **state)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	struct cpuid_table c = adapted(TABLE(intel), &t, 0), before = c;
	struct cpu_mask mask;
	struct error err;

	assert_int_equal(
	    arch_cpu_mask_parse("-cx16,-smap,-pv_send_ipi,-clzero,-avx_vnni", &mask, &err), 0);
	cpuid_apply_mask(&c, &mask);
	assert_int_equal(leaf(&c, 1, 0)->ecx, leaf(&before, 1, 0)->ecx & ~(1u << 13));
	assert_int_equal(leaf(&c, 7, 0)->ebx, 0);
	assert_int_equal(leaf(&c, 0x40000001, 0)->eax, 0x01007EFB & ~(1u << 11));
	assert_null(cpuid_find(&c, 7, 1));
	assert_int_equal(c.n, before.n);
}

/* A table as full as KVM may give still has room for what is added. */
static void test_adapt_full_table_has_room(void **state)
{
	const struct topology t = topology_uniform(1, 1, 2, 1);
	struct cpuid_table c = TABLE(software_amd);

	while (c.n < CPUID_MAX_ENTRIES - CPUID_ROOM) {
		c.e[c.n] = (struct kvm_cpuid_entry2){ .function = 0x20000000 + c.n };
		c.n++;
	}
	cpuid_adapt_vm(&c, &t, (struct cpuid_caps){ 0 });
	assert_true(c.n <= CPUID_MAX_ENTRIES);
	assert_non_null(cpuid_find(&c, 0x40000001, 0));
}

static void test_new_no_kvm_names_the_call(void **state)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	struct arch_cpuid *c = NULL;
	struct error err;

	assert_int_equal(arch_cpuid_new(-1, &t, NULL, &c, &err), -EBADF);
	assert_non_null(strstr(err.text, "KVM_GET_SUPPORTED_CPUID"));
	assert_null(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vendor_is_told_from_leaf_0),
		cmocka_unit_test(test_leaf1_has_id_count_and_virtual_features),
		cmocka_unit_test(test_leaf1_single_thread_has_no_htt),
		cmocka_unit_test(test_leaf1_tsc_deadline_only_where_kvm_has_it),
		cmocka_unit_test(
		    test_kvm_features_extended_destinations_only_where_the_ioapic_takes_them),
		cmocka_unit_test(test_intel_caches_are_shared_as_the_topology_says),
		cmocka_unit_test(test_amd_caches_are_shared_as_the_topology_says),
		cmocka_unit_test(test_topology_leaves_every_cpu_of_odd_shapes),
		cmocka_unit_test(test_maxima_are_raised_to_added_leaves),
		cmocka_unit_test(test_amd_ids_and_counts_come_from_the_topology),
		cmocka_unit_test(test_amd_without_cache_leaf_promises_no_topoext),
		cmocka_unit_test(test_intel_reserved_amd_fields_stay_clear),
		cmocka_unit_test(test_pmu_leaf_is_never_invented),
		cmocka_unit_test(test_kvm_leaves_are_added_where_missing),
		cmocka_unit_test(test_mask_clears_its_bits_and_ignores_absent_leaves),
		cmocka_unit_test(test_adapt_full_table_has_room),
		cmocka_unit_test(test_new_no_kvm_names_the_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
