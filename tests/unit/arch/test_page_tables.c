/* Walks the tables as a processor would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "arch/x86_64/layout.h"
#include "arch/x86_64/page_tables.h"
#include "base/num.h"

enum { PRESENT = 1, WRITE = 2, LARGE = 0x80 };

static uint64_t entry(const struct guest_mem *mem, uint64_t table, uint64_t index)
{
	uint64_t v = 0;

	assert_int_equal(guest_mem_read(mem, GPA((table & ~0xFFFull) + index * 8), &v, 8), 0);
	return v;
}

/* Physical address of @va, UINT64_MAX where nothing is mapped. */
static uint64_t walk(const struct guest_mem *mem, uint64_t va)
{
	uint64_t e = PML4_ADDR | PRESENT;

	for (unsigned shift = 39; shift >= 21; shift -= 9) {
		e = entry(mem, e, va >> shift & 511);
		if ((e & (PRESENT | WRITE)) != (PRESENT | WRITE))
			return UINT64_MAX;
	}
	assert_true(e & LARGE);
	return (e & ~0x1FFFFFull) | (va & 0x1FFFFF);
}

static void test_write_first_4_gib_are_mapped_to_themselves(void **state)
{
	static const uint64_t mapped[] = { 0,   0x7000,     0x100000,   2 * MIB,    GIB - 1,
					   GIB, 0xC0000000, 0xFEE00000, 4 * GIB - 1 };
	static const uint64_t unmapped[] = { 4 * GIB, 512 * GIB, 1ull << 47 };
	struct guest_mem mem = { 0 };

	assert_int_equal(guest_mem_map_anonymous(&mem, GPA(0), MIB), 0);
	assert_int_equal(page_tables_write(&mem), 0);
	for (size_t i = 0; i < ARRAY_SIZE(mapped); i++)
		assert_int_equal(walk(&mem, mapped[i]), mapped[i]);
	for (size_t i = 0; i < ARRAY_SIZE(unmapped); i++)
		assert_int_equal(walk(&mem, unmapped[i]), UINT64_MAX);
	guest_mem_fini(&mem);
}

static void test_write_gdt_has_a_64_bit_code_and_a_data_segment(void **state)
{
	struct guest_mem mem = { 0 };
	uint64_t gdt[N_GDT];

	assert_int_equal(guest_mem_map_anonymous(&mem, GPA(0), MIB), 0);
	assert_int_equal(page_tables_write(&mem), 0);
	assert_int_equal(guest_mem_read(&mem, GPA(GDT_ADDR), gdt, sizeof(gdt)), 0);
	assert_int_equal(gdt[0], 0);
	assert_int_equal(gdt[2] >> 40 & 0xFF, 0x9B); /* present, code, readable, accessed */
	assert_int_equal(gdt[2] >> 53 & 3, 1);       /* L set, D clear */
	assert_int_equal(gdt[3] >> 40 & 0xFF, 0x93); /* present, data, writable, accessed */
	guest_mem_fini(&mem);
}

static void test_write_without_memory_is_an_error(void **state)
{
	struct guest_mem mem = { 0 };

	assert_int_equal(page_tables_write(&mem), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_first_4_gib_are_mapped_to_themselves),
		cmocka_unit_test(test_write_gdt_has_a_64_bit_code_and_a_data_segment),
		cmocka_unit_test(test_write_without_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
