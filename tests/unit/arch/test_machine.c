/* The machine's fixed places: no two overlap, and all of them are outside RAM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/layout.h"

static void test_layout_low_memory_areas_do_not_overlap(void **state)
{
	static const struct {
		uint64_t start, end;
	} areas[] = {
		{ GDT_ADDR, GDT_ADDR + N_GDT * 8 },
		{ ZERO_PAGE_ADDR, ZERO_PAGE_ADDR + 4096 },
		{ BOOT_STACK_ADDR - 256, BOOT_STACK_ADDR },
		{ PML4_ADDR, PML4_ADDR + 4096 },
		{ PDPT_ADDR, PDPT_ADDR + 4096 },
		{ PD_ADDR, PD_ADDR + N_PD * 4096 },
		{ CMDLINE_ADDR, CMDLINE_ADDR + CMDLINE_MAX },
		{ EBDA_ADDR, EBDA_ADDR },
		{ ACPI_ADDR, ACPI_END },
		{ HIMEM_ADDR, HIMEM_ADDR },
	};

	for (size_t i = 1; i < ARRAY_SIZE(areas); i++)
		assert_true(areas[i - 1].end <= areas[i].start);
}

static void test_layout_high_windows_are_in_the_gap_in_order(void **state)
{
	static const uint64_t places[] = { MMIO_GAP_ADDR, MMIO_GAP_ADDR + 3 * VIRTIO_MMIO_LEN,
					   IOAPIC_ADDR,   LAPIC_ADDR,
					   TSS_ADDR,      IDENTITY_MAP_ADDR,
					   MMIO_GAP_END };

	for (size_t i = 1; i < ARRAY_SIZE(places); i++)
		assert_true(places[i - 1] < places[i]);
	assert_int_equal(TSS_ADDR + 3 * 4096, IDENTITY_MAP_ADDR);
}

static void test_machine_devices_are_where_the_design_says(void **state)
{
	assert_int_equal(arch_machine.console.base, 0xC0000000);
	assert_int_equal(arch_machine.blk.base, 0xC0001000);
	assert_int_equal(arch_machine.net.base, 0xC0002000);
	assert_int_equal(arch_machine.com1.base, 0x3F8);
	assert_int_equal(arch_machine.com2.base, 0x2F8);
	assert_false(arch_machine.uart_is_mmio);
}

static void test_machine_interrupts_are_distinct_ioapic_pins(void **state)
{
	const uint32_t gsis[] = { arch_machine.console.gsi, arch_machine.blk.gsi,
				  arch_machine.net.gsi, arch_machine.com1.gsi,
				  arch_machine.com2.gsi };
	uint32_t seen = 0;

	for (size_t i = 0; i < ARRAY_SIZE(gsis); i++) {
		assert_true(gsis[i] < 24);
		assert_int_equal(seen & 1u << gsis[i], 0);
		seen |= 1u << gsis[i];
	}
}

static void test_default_cmdline_has_the_arguments_that_end_a_vm(void **state)
{
	const char *cmdline = arch_default_cmdline();

	assert_non_null(strstr(cmdline, "console=ttyS0"));
	assert_non_null(strstr(cmdline, "panic=-1"));
	assert_non_null(strstr(cmdline, "reboot=k"));
	assert_true(strlen(cmdline) < 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout_low_memory_areas_do_not_overlap),
		cmocka_unit_test(test_layout_high_windows_are_in_the_gap_in_order),
		cmocka_unit_test(test_machine_devices_are_where_the_design_says),
		cmocka_unit_test(test_machine_interrupts_are_distinct_ioapic_pins),
		cmocka_unit_test(test_default_cmdline_has_the_arguments_that_end_a_vm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
