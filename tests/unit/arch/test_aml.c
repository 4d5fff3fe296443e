/* Byte code against the encodings of ACPI 6.5, chapter 20. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "arch/x86_64/aml.h"
#include "base/num.h"

#define assert_bytes(a, ...)                                                                       \
	do {                                                                                       \
		const uint8_t expected[] = { __VA_ARGS__ };                                        \
		assert_int_equal((a)->out.len, sizeof(expected));                                  \
		assert_memory_equal((a)->out.data, expected, sizeof(expected));                    \
	} while (0)

static void test_name_int_takes_the_shortest_form(void **state)
{
	static const struct {
		uint64_t value;
		uint8_t code[9];
		size_t n;
	} cases[] = {
		{ 0, { 0x00 }, 1 },
		{ 1, { 0x01 }, 1 },
		{ 2, { 0x0A, 2 }, 2 },
		{ 0xFF, { 0x0A, 0xFF }, 2 },
		{ 0x100, { 0x0B, 0x00, 0x01 }, 3 },
		{ 0x10000, { 0x0C, 0, 0, 1, 0 }, 5 },
		{ 0x100000000, { 0x0E, 0, 0, 0, 0, 1, 0, 0, 0 }, 9 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct aml a = { 0 };

		aml_name_int(&a, "_UID", cases[i].value);
		assert_int_equal(a.out.len, 5 + cases[i].n);
		assert_memory_equal(a.out.data, "\x08_UID", 5);
		assert_memory_equal(a.out.data + 5, cases[i].code, cases[i].n);
		aml_fini(&a);
	}
}

static void test_name_eisaid_is_compressed(void **state)
{
	struct aml a = { 0 };

	aml_name_eisaid(&a, "_HID", "PNP0501");
	assert_bytes(&a, 0x08, '_', 'H', 'I', 'D', 0x0C, 0x41, 0xD0, 0x05, 0x01);
	aml_fini(&a);
}

static void test_name_string_ends_with_nul(void **state)
{
	struct aml a = { 0 };

	aml_name_string(&a, "_HID", "AB");
	assert_bytes(&a, 0x08, '_', 'H', 'I', 'D', 0x0D, 'A', 'B', 0);
	aml_fini(&a);
}

static void test_package_counts_its_elements(void **state)
{
	static const uint64_t values[] = { 5, 0, 1 };
	struct aml a = { 0 };

	aml_name_package(&a, "_S5_", values, 3);
	assert_bytes(&a, 0x08, '_', 'S', '5', '_', 0x12, 6, 3, 0x0A, 5, 0, 1);
	aml_fini(&a);
}

static void test_blocks_nest_with_their_lengths(void **state)
{
	struct aml a = { 0 };

	aml_begin_scope(&a, "_SB_");
	aml_begin_device(&a, "DEV0");
	aml_end(&a);
	aml_end(&a);
	assert_bytes(&a, 0x10, 12, '_', 'S', 'B', '_', 0x5B, 0x82, 5, 'D', 'E', 'V', '0');
	aml_fini(&a);
}

/* PkgLength of 1, 2 and 3 bytes, on both sides of each limit. */
static void test_block_length_grows_with_the_body(void **state)
{
	static const struct {
		size_t body; /* with the name */
		uint8_t code[3];
		size_t n;
	} cases[] = {
		{ 62, { 63 }, 1 },
		{ 63, { 0x40 | 1, 4 }, 2 },         /* 65 */
		{ 4093, { 0x40 | 15, 0xFF }, 2 },   /* 4095 */
		{ 4094, { 0x80 | 1, 0x00, 1 }, 3 }, /* 4097 */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct aml a = { 0 };

		aml_begin_scope(&a, "_SB_");
		buf_append_zeros(&a.out, cases[i].body - 4);
		aml_end(&a);
		assert_int_equal(a.out.len, 1 + cases[i].n + cases[i].body);
		assert_memory_equal(a.out.data + 1, cases[i].code, cases[i].n);
		assert_memory_equal(a.out.data + 1 + cases[i].n, "_SB_", 4);
		aml_fini(&a);
	}
}

static void test_crs_is_a_buffer_with_an_end_tag(void **state)
{
	struct aml a = { 0 };
	struct aml_crs crs = { 0 };

	aml_crs_io(&crs, 0x3F8, 8);
	aml_crs_interrupt(&crs, 4);
	aml_name_crs(&a, &crs);
	assert_bytes(&a, 0x08, '_', 'C', 'R', 'S', 0x11, 22, 0x0A, 19, /* 8 + 9 + 2 */
		     0x47, 1, 0xF8, 0x03, 0xF8, 0x03, 1, 8,            /* */
		     0x89, 6, 0, 0x03, 1, 4, 0, 0, 0, /* consumer, edge, active high, exclusive */
		     0x79, 0);
	aml_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name_int_takes_the_shortest_form),
		cmocka_unit_test(test_name_eisaid_is_compressed),
		cmocka_unit_test(test_name_string_ends_with_nul),
		cmocka_unit_test(test_package_counts_its_elements),
		cmocka_unit_test(test_blocks_nest_with_their_lengths),
		cmocka_unit_test(test_block_length_grows_with_the_body),
		cmocka_unit_test(test_crs_is_a_buffer_with_an_end_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
