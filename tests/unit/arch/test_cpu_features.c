/* --cpu -feature. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "arch/arch.h"

static void test_parse_table_of_names_gives_leaf_register_and_bit(void **state)
{
	static const struct {
		const char *text;
		uint32_t leaf, subleaf;
		uint8_t reg;
		uint32_t clear;
	} cases[] = {
		{ "-cx16", 1, 0, 2, 1u << 13 },
		{ "-popcnt", 1, 0, 2, 1u << 23 },
		{ "-tsc_deadline_timer", 1, 0, 2, 1u << 24 },
		{ "-hypervisor", 1, 0, 2, 1u << 31 },
		{ "-fpu", 1, 0, 3, 1u << 0 },
		{ "-SSE2", 1, 0, 3, 1u << 26 },
		{ "-smap", 7, 0, 1, 1u << 20 },
		{ "-avx512vl", 7, 0, 1, 1u << 31 },
		{ "-la57", 7, 0, 2, 1u << 16 },
		{ "-fsrm", 7, 0, 3, 1u << 4 },
		{ "-avx-vnni", 7, 1, 0, 1u << 4 },
		{ "-xsaves", 0xD, 1, 0, 1u << 3 },
		{ "-pdpe1gb", 0x80000001, 0, 3, 1u << 26 },
		{ "-topoext", 0x80000001, 0, 2, 1u << 22 },
		{ "-pv-send-ipi", 0x40000001, 0, 0, 1u << 11 },
		{ "-steal_time", 0x40000001, 0, 0, 1u << 5 },
		{ "-pv_unhalt", 0x40000001, 0, 0, 1u << 7 },
		{ "-popcnt,-cx16", 1, 0, 2, 1u << 23 | 1u << 13 }, /* one entry per register */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpu_mask mask;
		struct error err;

		assert_int_equal(arch_cpu_mask_parse(cases[i].text, &mask, &err), 0);
		assert_int_equal(mask.n, 1);
		assert_int_equal(mask.leaf[0], cases[i].leaf);
		assert_int_equal(mask.subleaf[0], cases[i].subleaf);
		assert_int_equal(mask.reg[0], cases[i].reg);
		assert_int_equal(mask.clear[0], cases[i].clear);
	}
}

static void test_parse_several_registers_keeps_them_apart(void **state)
{
	struct cpu_mask mask;
	struct error err;

	assert_int_equal(arch_cpu_mask_parse("-cx16,-smap,-pv_send_ipi", &mask, &err), 0);
	assert_int_equal(mask.n, 3);
}

static void test_parse_table_of_mistakes_is_named(void **state)
{
	static const struct {
		const char *text, *named;
	} cases[] = {
		{ "-frobnicate", "'frobnicate'" },
		{ "cx16", "'cx16'" },
		{ "+cx16", "'+cx16'" },
		{ "", "''" },
		{ "-", "'-'" },
		{ "-cx16,", "''" },
		{ ",-cx16", "''" },
		{ "-cx16,,-sse", "''" },
		{ "-cx16,-nope", "'nope'" },
		{ "-cx", "'cx'" },
		{ "-cx166", "'cx166'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpu_mask mask = { .n = 7 };
		struct error err;

		assert_int_equal(arch_cpu_mask_parse(cases[i].text, &mask, &err), -EINVAL);
		assert_int_equal(err.class, ERROR_USAGE);
		assert_non_null(strstr(err.text, cases[i].named));
		assert_int_equal(mask.n, 7);
	}
}

static void test_check_wide_ids_need_two_features(void **state)
{
	static const struct {
		const char *mask, *says; /* NULL: fine */
		uint32_t cores;
	} cases[] = {
		{ "-x2apic,-msi_ext_dest_id", NULL, 255 },
		{ "-x2apic", "-x2apic: a machine with APIC ids above 254", 256 },
		{ "-avx,-MSI-EXT-DEST-ID", "-msi_ext_dest_id: a machine", 256 },
		{ "-avx,-pv_send_ipi,-tsc_deadline_timer", NULL, 256 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct topology t = topology_uniform(1, 1, cases[i].cores, 1);
		struct cpu_mask mask;
		struct error err;

		assert_int_equal(arch_cpu_mask_parse(cases[i].mask, &mask, &err), 0);
		assert_int_equal(arch_cpu_mask_check(&mask, &t, &err), cases[i].says ? -EINVAL : 0);
		if (!cases[i].says)
			continue;
		assert_int_equal(err.class, ERROR_USAGE);
		assert_non_null(strstr(err.text, cases[i].says));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_table_of_names_gives_leaf_register_and_bit),
		cmocka_unit_test(test_parse_several_registers_keeps_them_apart),
		cmocka_unit_test(test_parse_table_of_mistakes_is_named),
		cmocka_unit_test(test_check_wide_ids_need_two_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
