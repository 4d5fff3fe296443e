/* RAM around the hole at 3 GiB, and the initrd's place in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/num.h"

static void test_ranges_table_never_cover_3_to_4_gib(void **state)
{
	static const struct {
		uint64_t bytes;
		size_t n;
		uint64_t low, high;
	} cases[] = {
		{ 2 * MIB, 1, 2 * MIB, 0 },   { 3 * GIB - 2 * MIB, 1, 3 * GIB - 2 * MIB, 0 },
		{ 3 * GIB, 1, 3 * GIB, 0 },   { 3 * GIB + 2 * MIB, 2, 3 * GIB, 2 * MIB },
		{ 4 * GIB, 2, 3 * GIB, GIB }, { 512 * GIB, 2, 3 * GIB, 509 * GIB },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct arch_ram_range r[ARCH_MAX_RAM_RANGES];

		assert_int_equal(arch_ram_ranges(cases[i].bytes, r), cases[i].n);
		assert_int_equal(r[0].gpa.addr, 0);
		assert_int_equal(r[0].len, cases[i].low);
		if (cases[i].n == 2) {
			assert_int_equal(r[1].gpa.addr, 4 * GIB);
			assert_int_equal(r[1].len, cases[i].high);
		}
	}
}

static void test_initrd_table_highest_page_below_the_gap(void **state)
{
	static const struct {
		uint64_t ram, kernel_end, len, at;
	} cases[] = {
		{ 128 * MIB, 32 * MIB, 5000, 128 * MIB - 8192 },
		{ 128 * MIB, 32 * MIB, 0, 128 * MIB },
		{ 128 * MIB, 32 * MIB, 96 * MIB, 32 * MIB },    /* to the last byte */
		{ 8 * GIB, 32 * MIB, 4096, 3 * GIB - 4096 },    /* below the gap though there is RAM
								   above */
		{ 8 * GIB, 32 * MIB, 4 * GIB, 5 * GIB },        /* only above is room */
		{ 64 * MIB, 32 * MIB + 1, 31 * MIB, 33 * MIB }, /* a kernel that ends within a page
								 */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err;
		gpa_t at;

		assert_int_equal(
		    arch_initrd_place(cases[i].ram, cases[i].kernel_end, cases[i].len, &at, &err),
		    0);
		assert_int_equal(at.addr, cases[i].at);
	}
}

static void test_initrd_too_large_names_both_sizes_and_the_need(void **state)
{
	struct error err;
	gpa_t at = GPA(1);

	assert_int_equal(arch_initrd_place(64 * MIB, 48 * MIB, 20 * MIB, &at, &err), -ENOMEM);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "64 MiB"));
	assert_non_null(strstr(err.text, "49152 KiB"));
	assert_non_null(strstr(err.text, "20480 KiB"));
	assert_non_null(strstr(err.text, "at least 68 MiB"));
	assert_int_equal(at.addr, 1);
}

static void test_initrd_absurd_sizes_are_refused_without_wrapping(void **state)
{
	static const uint64_t lens[] = { UINT64_MAX, UINT64_MAX - 4095, 1ull << 63 };

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		struct error err;
		gpa_t at;

		assert_int_equal(arch_initrd_place(8 * GIB, MIB, lens[i], &at, &err), -ENOMEM);
	}
}

static void test_initrd_kernel_larger_than_ram_is_refused(void **state)
{
	struct error err;
	gpa_t at;

	assert_int_equal(arch_initrd_place(2 * GIB, UINT64_MAX, 4096, &at, &err), -ENOMEM);
	assert_int_equal(arch_initrd_place(2 * GIB, 2 * GIB + 1, 4096, &at, &err), -ENOMEM);
}

/* e820 and the place of the initrd follow the sizes, slots and SRAT the layout: they must be one. */
static void test_ranges_are_the_layouts_stretches(void **state)
{
	srandom(1);
	for (unsigned i = 0; i < 5000; i++) {
		const uint32_t nodes = 1 + (uint32_t)random() % 8;
		const struct topology t = topology_uniform(nodes, nodes, 1, 1);
		const uint64_t bytes = 2 * MIB * (2 * nodes + (uint64_t)random() % 4000);
		struct arch_ram_range r[ARCH_MAX_RAM_RANGES];
		struct memory_layout l;
		struct error err;
		size_t at = 0;

		assert_int_equal(memory_layout_make(&t, bytes, &arch_memory_space, &l, &err), 0);
		for (size_t n = 0; n < arch_ram_ranges(bytes, r); n++)
			for (uint64_t len = 0; len < r[n].len; len += l.ranges[at++].len)
				assert_int_equal(l.ranges[at].gpa, r[n].gpa.addr + len);
		assert_int_equal(at, l.n_ranges);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges_table_never_cover_3_to_4_gib),
		cmocka_unit_test(test_initrd_table_highest_page_below_the_gap),
		cmocka_unit_test(test_initrd_too_large_names_both_sizes_and_the_need),
		cmocka_unit_test(test_initrd_absurd_sizes_are_refused_without_wrapping),
		cmocka_unit_test(test_initrd_kernel_larger_than_ram_is_refused),
		cmocka_unit_test(test_ranges_are_the_layouts_stretches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
