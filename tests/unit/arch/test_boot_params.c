/* The zero page's bytes, at the offsets that Documentation/arch/x86 gives, not through the structs
 * that wrote them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <asm/bootparam.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/boot_params.h"
#include "base/num.h"

static const struct topology one_cpu = { .nodes = { { .n_llcs = 1 } },
					 .distances = { { TOPOLOGY_LOCAL_DISTANCE } },
					 .n_nodes = 1,
					 .n_llcs = 1,
					 .cores_per_llc = 1,
					 .threads_per_core = 1 };
static const gpa_t rsdp = { 0xE0000 };

static uint64_t number(const struct boot_params *bp, size_t off, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, (const uint8_t *)bp + off, n);
	return v;
}

static struct arch_boot elf_boot(void)
{
	return (struct arch_boot){ .kind = ARCH_ENTRY_LINUX,
				   .cmdline = "a b",
				   .topology = &one_cpu,
				   .ram_bytes = 128 * MIB };
}

/* The file's bytes from 0x1f1 of an imaginary bzImage, and what follows its header. */
static void make_header(uint8_t header[static 256])
{
	memset(header, 0xEE, 256);
	const uint16_t flag = 0xAA55, version = 0x020F;
	const uint32_t cmdline_size = 2047;
	memcpy(header + (0x1FE - 0x1F1), &flag, 2);
	header[0x200 - 0x1F1] = 0xEB;
	header[0x201 - 0x1F1] = 0x6A; /* the header ends at 0x26c */
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): a field, no string */
	memcpy(header + (0x202 - 0x1F1), "HdrS", 4);
	memcpy(header + (0x206 - 0x1F1), &version, 2);
	header[0x211 - 0x1F1] = 0x80;
	memcpy(header + (0x238 - 0x1F1), &cmdline_size, 4);
}

static void test_fill_elf_kernel_has_what_linux_checks(void **state)
{
	struct arch_boot boot = elf_boot();
	struct boot_params bp;
	struct error err;

	assert_int_equal(boot_params_fill(&boot, rsdp, &bp, &err), 0);
	assert_int_equal(number(&bp, 0x1FE, 2), 0xAA55);
	assert_int_equal(number(&bp, 0x202, 4), 0x53726448);
	assert_int_equal(number(&bp, 0x210, 1), 0xFF);
	assert_int_equal(number(&bp, 0x211, 1) & 1, 1);
	assert_int_equal(number(&bp, 0x228, 4), 0x20000);
	assert_int_equal(number(&bp, 0x070, 8), 0xE0000);
	assert_int_equal(number(&bp, 0x1EF, 1), 0); /* sentinel: the loader cleared the page */
	assert_int_equal(number(&bp, 0x218, 4), 0);
	assert_int_equal(number(&bp, 0x21C, 4), 0);
}

static void test_fill_bzimage_header_is_kept_but_for_the_loaders_fields(void **state)
{
	uint8_t header[256];
	struct arch_boot boot = elf_boot();
	struct boot_params bp;
	struct error err;

	make_header(header);
	boot.setup_header = header;
	boot.setup_header_len = sizeof(header);
	assert_int_equal(boot_params_fill(&boot, rsdp, &bp, &err), 0);
	assert_int_equal(number(&bp, 0x206, 2), 0x020F);
	assert_int_equal(number(&bp, 0x1F1, 1), 0xEE);
	assert_int_equal(number(&bp, 0x210, 1), 0xFF);
	assert_int_equal(number(&bp, 0x211, 1), 0x01); /* LOADED_HIGH set, CAN_USE_HEAP cleared */
	assert_int_equal(number(&bp, 0x26B, 1), 0xEE); /* the header's last byte */
	assert_int_equal(number(&bp, 0x26C, 1), 0);    /* what follows it in the file is code */
}

static void test_fill_header_table_of_bad_ones_is_refused(void **state)
{
	static const struct {
		size_t off;
		uint8_t byte;
	} damage[] = { { 0x1FE, 0 }, { 0x202, 'X' }, { 0x206, 0x0B } };

	for (size_t i = 0; i < ARRAY_SIZE(damage); i++) {
		uint8_t header[256];
		struct arch_boot boot = elf_boot();
		struct boot_params bp;
		struct error err;

		make_header(header);
		header[damage[i].off - 0x1F1] = damage[i].byte;
		boot.setup_header = header;
		boot.setup_header_len = sizeof(header);
		assert_int_equal(boot_params_fill(&boot, rsdp, &bp, &err), -ENOEXEC);
		assert_int_equal(err.class, ERROR_USAGE);
	}
}

static void test_fill_short_header_is_refused(void **state)
{
	uint8_t header[256];
	struct arch_boot boot = elf_boot();
	struct boot_params bp;
	struct error err;

	make_header(header);
	boot.setup_header = header;
	for (boot.setup_header_len = 0; boot.setup_header_len < 0x206 - 0x1F1;
	     boot.setup_header_len++)
		assert_int_equal(boot_params_fill(&boot, rsdp, &bp, &err), -ENOEXEC);
}

static void test_fill_initrd_above_4_gib_uses_the_extended_fields(void **state)
{
	struct arch_boot boot = elf_boot();
	struct boot_params bp;
	struct error err;

	boot.initrd = GPA(0x123456000);
	boot.initrd_len = 0x2ABCDEF01;
	assert_int_equal(boot_params_fill(&boot, rsdp, &bp, &err), 0);
	assert_int_equal(number(&bp, 0x218, 4), 0x23456000);
	assert_int_equal(number(&bp, 0x21C, 4), 0xABCDEF01);
	assert_int_equal(number(&bp, 0x0C0, 4), 0x1);
	assert_int_equal(number(&bp, 0x0C4, 4), 0x2);
}

struct e820 {
	uint64_t addr, size;
};

static void check_e820(uint64_t ram, const struct e820 *expected, size_t n)
{
	struct arch_boot boot = elf_boot();
	struct boot_params bp;
	struct error err;

	boot.ram_bytes = ram;
	assert_int_equal(boot_params_fill(&boot, rsdp, &bp, &err), 0);
	assert_int_equal(number(&bp, 0x1E8, 1), n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(number(&bp, 0x2D0 + i * 20, 8), expected[i].addr);
		assert_int_equal(number(&bp, 0x2D0 + i * 20 + 8, 8), expected[i].size);
		assert_int_equal(number(&bp, 0x2D0 + i * 20 + 16, 4), 1);
	}
}

static void test_e820_table_by_ram_size(void **state)
{
	check_e820(128 * MIB, (const struct e820[]){ { 0, 0x9FC00 }, { MIB, 127 * MIB } }, 2);
	check_e820(3 * GIB, (const struct e820[]){ { 0, 0x9FC00 }, { MIB, 3 * GIB - MIB } }, 2);
	check_e820(
	    4 * GIB,
	    (const struct e820[]){ { 0, 0x9FC00 }, { MIB, 3 * GIB - MIB }, { 4 * GIB, GIB } }, 3);
}

static int write_with_cmdline(struct guest_mem *mem, struct arch_boot *boot, size_t len,
			      struct error *err)
{
	static char text[5000];

	memset(text, 'x', len);
	text[len] = 0;
	boot->cmdline = text;
	return boot_params_write(mem, boot, rsdp, err);
}

static void test_write_cmdline_limit_is_the_kernels(void **state)
{
	struct guest_mem mem = { 0 };
	struct arch_boot boot = elf_boot();
	struct error err;
	char last[2];

	assert_int_equal(guest_mem_map_anonymous(&mem, GPA(0), 2 * MIB), 0);
	assert_int_equal(write_with_cmdline(&mem, &boot, 2047, &err), 0);
	assert_int_equal(guest_mem_read(&mem, GPA(0x20000 + 2046), last, 2), 0);
	assert_int_equal(last[0], 'x');
	assert_int_equal(last[1], 0);
	assert_int_equal(write_with_cmdline(&mem, &boot, 2048, &err), -E2BIG);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, "2048 bytes"));
	boot.kind = ARCH_ENTRY_BARE;
	assert_int_equal(write_with_cmdline(&mem, &boot, 4095, &err), 0);
	assert_int_equal(write_with_cmdline(&mem, &boot, 4096, &err), -E2BIG);
	guest_mem_fini(&mem);
}

static void test_write_without_memory_is_an_error(void **state)
{
	struct guest_mem mem = { 0 };
	struct arch_boot boot = elf_boot();
	struct error err;

	assert_int_equal(boot_params_write(&mem, &boot, rsdp, &err), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill_elf_kernel_has_what_linux_checks),
		cmocka_unit_test(test_fill_bzimage_header_is_kept_but_for_the_loaders_fields),
		cmocka_unit_test(test_fill_header_table_of_bad_ones_is_refused),
		cmocka_unit_test(test_fill_short_header_is_refused),
		cmocka_unit_test(test_fill_initrd_above_4_gib_uses_the_extended_fields),
		cmocka_unit_test(test_e820_table_by_ram_size),
		cmocka_unit_test(test_write_cmdline_limit_is_the_kernels),
		cmocka_unit_test(test_write_without_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
