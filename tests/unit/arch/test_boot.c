/* arch_boot_write as a whole: each part is in its place, and failures say which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/layout.h"
#include "base/num.h"

static const struct topology four_cpus = { .nodes = { { .n_llcs = 1 } },
					   .distances = { { TOPOLOGY_LOCAL_DISTANCE } },
					   .n_nodes = 1,
					   .n_llcs = 1,
					   .cores_per_llc = 4,
					   .threads_per_core = 1 };

static struct arch_boot make_boot(void)
{
	return (struct arch_boot){ .kind = ARCH_ENTRY_LINUX,
				   .entry = GPA(HIMEM_ADDR),
				   .cmdline = "console=ttyS0",
				   .topology = &four_cpus,
				   .ram_bytes = 64 * MIB,
				   .console = true };
}

static void test_write_all_parts_are_in_place(void **state)
{
	struct guest_mem mem = { 0 };
	struct arch_boot boot = make_boot();
	struct error err;
	char text[16];
	uint64_t v;

	assert_int_equal(guest_mem_map_anonymous(&mem, GPA(0), boot.ram_bytes), 0);
	assert_int_equal(arch_boot_write(&mem, &boot, &err), 0);
	assert_int_equal(guest_mem_read(&mem, GPA(CMDLINE_ADDR), text, 14), 0);
	assert_string_equal(text, "console=ttyS0");
	assert_int_equal(guest_mem_read(&mem, GPA(ACPI_ADDR), text, 8), 0);
	assert_memory_equal(text, "RSD PTR ", 8);
	assert_int_equal(guest_mem_read(&mem, GPA(PML4_ADDR), &v, 8), 0);
	assert_int_equal(v, PDPT_ADDR | 3);
	assert_int_equal(guest_mem_read(&mem, GPA(ZERO_PAGE_ADDR + 0x70), &v, 8), 0);
	assert_int_equal(v, ACPI_ADDR);
	guest_mem_fini(&mem);
}

static void test_write_too_little_memory_is_refused(void **state)
{
	struct guest_mem mem = { 0 };
	struct arch_boot boot = make_boot();
	struct error err;

	boot.ram_bytes = MIB;
	assert_int_equal(arch_boot_write(&mem, &boot, &err), -EINVAL);
	assert_int_equal(err.class, ERROR_USAGE);
}

static void test_write_memory_missing_names_what_was_written(void **state)
{
	struct guest_mem mem = { 0 };
	struct arch_boot boot = make_boot();
	struct error err;

	assert_int_equal(arch_boot_write(&mem, &boot, &err), -EFAULT);
	assert_non_null(strstr(err.text, "page tables"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_all_parts_are_in_place),
		cmocka_unit_test(test_write_too_little_memory_is_refused),
		cmocka_unit_test(test_write_memory_missing_names_what_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
