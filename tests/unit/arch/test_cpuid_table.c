/* Entries of a table: finding, making, taking away, and the maxima that go with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpuid_tables.h"

static void test_vendor_family_and_model_are_told_from_leaves_0_and_1(void **state)
{
	static const struct {
		struct cpuid_table (*table)(void);
		enum cpuid_vendor vendor;
		uint32_t family, model;
	} cases[] = {
		{ cpuid_of_intel, CPUID_INTEL, 6, 0xCF },
		{ cpuid_of_zen3, CPUID_AMD, 0x19, 0x21 },
		{ cpuid_of_zen1, CPUID_AMD, 0x17, 1 },
		{ cpuid_of_bulldozer, CPUID_AMD, 0x15, 2 },
		{ cpuid_of_hygon, CPUID_HYGON, 0x18, 1 },
		{ cpuid_of_unknown, CPUID_OTHER, 7, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpuid_table t = cases[i].table();
		assert_int_equal(cpuid_vendor(&t), cases[i].vendor);
		assert_int_equal(cpuid_family(&t), cases[i].family);
		assert_int_equal(cpuid_model(&t), cases[i].model);
	}
}

static void test_find_minds_subleaves_only_where_there_are_some(void **state)
{
	struct cpuid_table t = cpuid_of_intel();

	assert_int_equal(cpuid_find(&t, 4, 3)->edx, 4);
	assert_null(cpuid_find(&t, 4, 5));
	assert_ptr_equal(cpuid_find(&t, 1, 7), cpuid_find(&t, 1, 0));
	assert_null(cpuid_find(&t, 2, 0));
}

static void test_append_and_ensure_raise_the_maximum_of_their_range(void **state)
{
	struct cpuid_table t = cpuid_of_software_amd();
	uint32_t n = t.n;

	cpuid_append(&t, (struct kvm_cpuid_entry2){ .function = 0xB });
	assert_int_equal(cpuid_ensure(&t, 0x8000001E)->eax, 0);
	assert_int_equal(t.n, n + 2);
	assert_int_equal(cpuid_find(&t, 0, 0)->eax, 0xB);
	assert_int_equal(cpuid_find(&t, 0x80000000, 0)->eax, 0x8000001E);
	cpuid_ensure(&t, 0x80000008)->ecx = 7;
	assert_int_equal(t.n, n + 2);
	assert_int_equal(cpuid_find(&t, 0x80000008, 0)->ecx, 7);
	assert_int_equal(cpuid_find(&t, 0x80000000, 0)->eax, 0x8000001E);
}

static void test_remove_takes_all_subleaves(void **state)
{
	struct cpuid_table t = cpuid_of_intel();
	uint32_t n = t.n;

	cpuid_remove(&t, 4);
	assert_int_equal(t.n, n - 5);
	assert_null(cpuid_find(&t, 4, 0));
	assert_non_null(cpuid_find(&t, 0x40000001, 0));
	cpuid_remove(&t, 4);
	assert_int_equal(t.n, n - 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vendor_family_and_model_are_told_from_leaves_0_and_1),
		cmocka_unit_test(test_find_minds_subleaves_only_where_there_are_some),
		cmocka_unit_test(test_append_and_ensure_raise_the_maximum_of_their_range),
		cmocka_unit_test(test_remove_takes_all_subleaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
