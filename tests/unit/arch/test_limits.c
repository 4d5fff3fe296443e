/* Which machines a host can hold: both numbers are in what it says. */
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "arch/arch.h"
#include "base/num.h"

#define TIB ((uint64_t)1 << 40)

static const struct arch_limits roomy = { .max_cpus = 1024,
					  .end_of_ids = 4096,
					  .address_bits = 52,
					  .five_levels = true,
					  .split_irqchip = true };

static void test_check_machine_that_just_fits_is_accepted(void **state)
{
	const struct topology t = topology_uniform(1, 8, 128, 1),
			      sparse = topology_uniform(1, 5, 5, 5);
	struct arch_limits l = roomy;
	struct error err;

	assert_int_equal(arch_limits_check(&l, &t, UINT64_C(1) << 52, &err), 0);
	l.end_of_ids = 293; /* the highest id is 292 */
	l.max_cpus = 125;
	assert_int_equal(arch_limits_check(&l, &sparse, 4 * GIB, &err), 0);
	l = (struct arch_limits){ .split_irqchip = true }; /* nothing known */
	assert_int_equal(arch_limits_check(&l, &t, 64 * TIB, &err), 0);
}

static void test_check_too_large_is_a_skip_with_both_numbers(void **state)
{
	static const struct {
		uint32_t llcs, cores, threads;
		uint64_t ram_end;
		struct arch_limits limits;
		const char *numbers[2];
	} cases[] = {
		{ 8, 129, 1, GIB, { 1024, 4096, 52, true, true }, { "1032 CPUs", "at most 1024" } },
		{ 5, 5, 5, GIB, { 1024, 292, 52, true, true }, { "up to 292", "ends at 291" } },
		{ 5, 5, 5, GIB, { 1024, 4096, 52, true, false }, { "up to 292", "above 254" } },
		{ 1,
		  256,
		  1,
		  GIB,
		  { 1024, 4096, 52, true, false },
		  { "up to 255", "SPLIT_IRQCHIP" } },
		{ 1,
		  1,
		  1,
		  TIB + 2 * MIB,
		  { 0, 0, 40, true, true },
		  { "1048578 MiB", "40 address bits, which end at 1048576 MiB" } },
		{ 1,
		  1,
		  1,
		  64 * TIB + 2 * MIB,
		  { 0, 0, 52, false, true },
		  { "67108866 MiB", "beyond 67108864 MiB" } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct topology t =
		    topology_uniform(1, cases[i].llcs, cases[i].cores, cases[i].threads);
		struct error err;

		assert_int_equal(arch_limits_check(&cases[i].limits, &t, cases[i].ram_end, &err),
				 -ENOTSUP);
		assert_int_equal(err.class, ERROR_SKIP);
		assert_non_null(strstr(err.text, cases[i].numbers[0]));
		assert_non_null(strstr(err.text, cases[i].numbers[1]));
	}
}

static void test_read_without_kvm_tells_the_processors_own(void **state)
{
	struct arch_limits l;

	arch_limits_read(-1, NULL, &l);
	assert_in_range(l.address_bits, 36, 52);
	assert_int_equal(l.max_cpus, 0);
	assert_int_equal(l.end_of_ids, 0);
}

/* A VM's limits are its KVM's: the processor is not asked. */
static void test_read_with_a_table_tells_what_is_in_it(void **state)
{
	const struct kvm_cpuid_entry2 entries[] = { { .function = 7, .ecx = 1 << 16 },
						    { .function = 0x80000008, .eax = 41 } };
	struct arch_supported s = { .len = sizeof(entries) };
	struct arch_limits l;

	memcpy(s.bytes, entries, sizeof(entries));
	arch_limits_read(-1, &s, &l);
	assert_int_equal(l.address_bits, 41);
	assert_true(l.five_levels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check_machine_that_just_fits_is_accepted),
		cmocka_unit_test(test_check_too_large_is_a_skip_with_both_numbers),
		cmocka_unit_test(test_read_without_kvm_tells_the_processors_own),
		cmocka_unit_test(test_read_with_a_table_tells_what_is_in_it),
	};

	return cmocka_run_group_tests_name("arch/limits", tests, NULL, NULL);
}
