/* The MP table read as the specification (1.4, chapter 4) has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "arch/x86_64/mptable.h"
#include "base/topology_text.h"
#include "table_bytes.h"

enum { AT = 0xFE000 };

static struct topology parse(const char *text)
{
	struct topology t;
	struct error err;

	assert_int_equal(topology_parse(text, &t, &err), 0);
	return t;
}

static void check_interrupt(const uint8_t *e, uint32_t *n_pins, uint32_t *lints)
{
	assert_int_equal(table_number(e, 2, 2), 0); /* as the bus */
	assert_int_equal(e[4], 0);
	if (e[0] == 3) {
		assert_int_equal(e[1], 0);
		assert_int_equal(e[5], *n_pins); /* IRQ n is pin n */
		assert_int_equal(e[6], 0);
		assert_int_equal(e[7], (*n_pins)++);
		return;
	}
	assert_int_equal(e[0], 4);
	assert_int_equal(e[6], 0xFF);
	assert_in_range(e[7], 0, 1);
	assert_int_equal(e[1], e[7] ? 1 : 3); /* LINT1 NMI, LINT0 ExtINT */
	*lints |= 1u << e[7];
}

static void check_topology(const struct topology *t)
{
	struct buf image;
	uint32_t cpu = 0, n_pins = 0, lints = 0, n_entries = 0, n_others = 0;

	mptable_build(t, AT, &image);
	const uint8_t *pointer = image.data, *table = image.data + 16;
	assert_memory_equal(pointer, "_MP_", 4);
	assert_int_equal(table_number(pointer, 4, 4), AT + 16);
	assert_int_equal(pointer[8], 1);
	assert_int_equal(pointer[9], 4);
	assert_int_equal(table_sum(pointer, 16), 0);
	assert_memory_equal(table, "PCMP", 4);
	assert_int_equal(table_number(table, 4, 2), image.len - 16);
	assert_int_equal(table_sum(table, image.len - 16), 0);
	assert_int_equal(table_number(table, 36, 4), 0xFEE00000);
	for (size_t off = 44; off < image.len - 16; n_entries++) {
		const uint8_t *e = table + off;

		if (e[0] == 0) {
			assert_int_equal(e[1], topology_apic_id(t, cpu));
			assert_int_equal(e[3], cpu ? 1 : 3);
			cpu++;
			off += 20;
			continue;
		}
		if (e[0] >= 3) {
			check_interrupt(e, &n_pins, &lints);
		} else {
			n_others++;
			assert_int_equal(e[0], n_others); /* one bus, one I/O APIC */
			if (e[0] == 1)
				assert_memory_equal(e + 2, "ISA   ", 6);
			else
				assert_int_equal(table_number(e, 4, 4), 0xFEC00000);
		}
		off += 8;
	}
	assert_int_equal(cpu, topology_n_cpus(t));
	assert_int_equal(n_pins, 24);
	assert_int_equal(lints, 3);
	assert_int_equal(n_entries, table_number(table, 34, 2));
	assert_true(image.len <= 0x2000);
	buf_fini(&image);
}

static void test_build_every_preset_with_ids_of_8_bits(void **state)
{
	uint32_t n = 0;

	for (size_t i = 0; i < topology_n_presets; i++) {
		const struct topology t = parse(topology_presets[i].name);
		if (!mptable_fits(&t))
			continue;
		check_topology(&t);
		n++;
	}
	assert_int_equal(n, topology_n_presets - 2); /* max-cpu and max-cpu-nosmt */
}

static void test_fits_ends_at_id_254(void **state)
{
	const struct topology most = parse("1,1,255,1"), more = parse("1,1,256,1");

	assert_true(mptable_fits(&most));
	check_topology(&most);
	assert_false(mptable_fits(&more));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build_every_preset_with_ids_of_8_bits),
		cmocka_unit_test(test_fits_ends_at_id_254),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
