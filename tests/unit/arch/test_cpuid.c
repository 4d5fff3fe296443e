/* What a guest's CPUID has beyond its topology: features of KVM's, the PMU, what is masked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/cpuid.h"
#include "cpuid_tables.h"

static const struct kvm_cpuid_entry2 *leaf(const struct cpuid_table *t, uint32_t function,
					   uint32_t index)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(t, function, index);

	assert_non_null(e);
	return e;
}

static struct cpuid_table adapted(struct cpuid_table t, struct cpuid_caps caps)
{
	const struct topology topo = topology_uniform(1, 2, 3, 2);

	cpuid_adapt_vm(&t, &topo, caps);
	cpuid_adapt_cpu(&t, &topo, 9);
	return t;
}

static void test_leaf1_has_virtual_features_and_the_cpus_id(void **state)
{
	struct cpuid_table c =
	    adapted(cpuid_of_intel(), (struct cpuid_caps){ .tsc_deadline = true });

	assert_int_equal(leaf(&c, 1, 0)->ebx >> 24, 1 << 3 | 1 << 1 | 1);
	assert_true(leaf(&c, 1, 0)->ecx & 1u << 31);
	assert_true(leaf(&c, 1, 0)->ecx & 1u << 21);
	assert_true(leaf(&c, 1, 0)->ecx & 1u << 24);
	c = adapted(cpuid_of_intel(), (struct cpuid_caps){ 0 });
	assert_false(leaf(&c, 1, 0)->ecx & 1u << 24);
}

static void test_kvm_features_extended_destinations_only_where_the_ioapic_takes_them(void **state)
{
	struct cpuid_table c =
	    adapted(cpuid_of_intel(), (struct cpuid_caps){ .msi_ext_dest_id = true });

	assert_true(leaf(&c, 0x40000001, 0)->eax & 1u << 15);
	c = adapted(cpuid_of_intel(), (struct cpuid_caps){ 0 });
	assert_false(leaf(&c, 0x40000001, 0)->eax & 1u << 15);
}

static void test_pmu_is_hidden_where_kvm_has_none(void **state)
{
	struct cpuid_table c = adapted(cpuid_of_intel(), (struct cpuid_caps){ .pmu = true });

	assert_int_equal(leaf(&c, 0xA, 0)->eax, 0x08300802);
	assert_true(leaf(&c, 1, 0)->ecx & 1u << 15);
	c = adapted(cpuid_of_intel(), (struct cpuid_caps){ .pmu = false });
	assert_int_equal(leaf(&c, 0xA, 0)->eax, 0);
	assert_int_equal(leaf(&c, 0xA, 0)->edx, 0);
	assert_false(leaf(&c, 1, 0)->ecx & 1u << 15);

	c = adapted(cpuid_of_zen3(), (struct cpuid_caps){ .pmu = true });
	assert_true(leaf(&c, 0x80000001, 0)->ecx & 1u << 23);
	assert_int_equal(leaf(&c, 0x80000022, 0)->eax, 1);
	c = adapted(cpuid_of_zen3(), (struct cpuid_caps){ .pmu = false });
	assert_false(leaf(&c, 0x80000001, 0)->ecx & 1u << 23);
	assert_int_equal(leaf(&c, 0x80000022, 0)->eax, 0);
}

static void test_pmu_is_never_invented(void **state)
{
	struct cpuid_table c = adapted(cpuid_of_software_amd(), (struct cpuid_caps){ .pmu = true });

	assert_null(cpuid_find(&c, 0xA, 0));
	assert_null(cpuid_find(&c, 0x80000022, 0));
	assert_false(leaf(&c, 0x80000001, 0)->ecx & 1u << 23);
}

static void test_realtime_hint_only_on_request(void **state)
{
	struct cpuid_table c = adapted(cpuid_of_intel(), (struct cpuid_caps){ 0 });

	assert_int_equal(leaf(&c, 0x40000001, 0)->edx, 0);
	c = adapted(cpuid_of_intel(), (struct cpuid_caps){ .realtime = true });
	assert_int_equal(leaf(&c, 0x40000001, 0)->edx, 1);
}

static void test_wake_up_hypercall_goes_with_the_hlt_exits(void **state)
{
	struct cpuid_table c = adapted(cpuid_of_intel(), (struct cpuid_caps){ 0 });
	uint32_t before = leaf(&c, 0x40000001, 0)->eax;

	assert_true(before & 1u << 7);
	c = adapted(cpuid_of_intel(), (struct cpuid_caps){ .no_hlt_exits = true });
	assert_int_equal(leaf(&c, 0x40000001, 0)->eax, before & ~(1u << 7));
}

static void test_kvm_leaves_are_added_where_missing(void **state)
{
	struct cpuid_table c = adapted(cpuid_of_software_amd(), (struct cpuid_caps){ 0 });
	char name[12];

	memcpy(name, &leaf(&c, 0x40000000, 0)->ebx, 4);
	memcpy(name + 4, &leaf(&c, 0x40000000, 0)->ecx, 4);
	memcpy(name + 8, &leaf(&c, 0x40000000, 0)->edx, 4);
	assert_memory_equal(name, "KVMKVMKVM\0\0\0", 12);
	assert_int_equal(leaf(&c, 0x40000000, 0)->eax, 0x40000001);
	c = adapted(cpuid_of_intel(), (struct cpuid_caps){ 0 });
	assert_int_equal(leaf(&c, 0x40000001, 0)->eax, 0x01007EFB); /* what KVM lists stays */
}

static void test_mask_clears_its_bits_and_ignores_absent_leaves(void **state)
{
	struct cpuid_table c = adapted(cpuid_of_intel(), (struct cpuid_caps){ 0 }), before = c;
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
	struct cpuid_table c = cpuid_of_software_amd();

	while (c.n < CPUID_MAX_ENTRIES - CPUID_ROOM) {
		c.e[c.n] = (struct kvm_cpuid_entry2){ .function = 0x20000000 + c.n };
		c.n++;
	}
	cpuid_adapt_vm(&c, &t, (struct cpuid_caps){ 0 });
	assert_true(c.n <= CPUID_MAX_ENTRIES);
	assert_non_null(cpuid_find(&c, 0x40000001, 0));
}

static void test_supported_no_kvm_names_the_call(void **state)
{
	struct arch_supported s;
	struct error err;

	assert_int_equal(arch_supported_read(-1, &s, &err), -EBADF);
	assert_non_null(strstr(err.text, "KVM_GET_SUPPORTED_CPUID"));
}

static void test_new_from_no_table_is_refused(void **state)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	const uint32_t lengths[] = { 0, 1, sizeof(struct kvm_cpuid_entry2) + 1,
				     CPUID_MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2) };

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		const struct arch_supported s = { .len = lengths[i] };
		const struct arch_cpuid_config config = { .supported = &s, .topology = &t };
		struct arch_cpuid *c = NULL;
		struct error err;
		assert_int_equal(arch_cpuid_new(-1, &config, &c, &err), -EINVAL);
		assert_null(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leaf1_has_virtual_features_and_the_cpus_id),
		cmocka_unit_test(
		    test_kvm_features_extended_destinations_only_where_the_ioapic_takes_them),
		cmocka_unit_test(test_pmu_is_hidden_where_kvm_has_none),
		cmocka_unit_test(test_pmu_is_never_invented),
		cmocka_unit_test(test_realtime_hint_only_on_request),
		cmocka_unit_test(test_wake_up_hypercall_goes_with_the_hlt_exits),
		cmocka_unit_test(test_kvm_leaves_are_added_where_missing),
		cmocka_unit_test(test_mask_clears_its_bits_and_ignores_absent_leaves),
		cmocka_unit_test(test_adapt_full_table_has_room),
		cmocka_unit_test(test_supported_no_kvm_names_the_call),
		cmocka_unit_test(test_new_from_no_table_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
