/*
 * The zero page, filled step by step. Linux trusts every field of it, so what the kernel file says
 * about itself is copied field for field and only the boot loader's own fields are changed.
 */
#include "arch/x86_64/boot_params.h"

#include <asm/bootparam.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/layout.h"
#include "base/num.h"

enum {
	BOOT_FLAG = 0xAA55,
	SETUP_HEADER_MAGIC = 0x53726448, /* "HdrS" */
	PROTOCOL_MIN = 0x020C,           /* first with ext_ramdisk_image and the 64-bit entry */
	LOADER_UNREGISTERED = 0xFF,
	KERNEL_ALIGNMENT = 16 * 1024 * 1024, /* an ELF kernel cannot tell; x86_64's default */
	LINUX_CMDLINE_MAX = 2047, /* COMMAND_LINE_SIZE of every x86 kernel, without NUL */
};

static_assert(sizeof(struct boot_params) == 4096, "zero page is a page");
static_assert(offsetof(struct boot_params, hdr) == 0x1F1,
	      "boot.rst: the setup header starts at 0x1f1");
static_assert(offsetof(struct boot_params, acpi_rsdp_addr) == 0x070, "zero-page.rst");
static_assert(offsetof(struct boot_params, e820_table) == 0x2D0, "zero-page.rst");

/* Bytes of the header that this kernel has: byte 0x201 is the offset of a jump over it, counted
 * from 0x202. */
static size_t setup_header_size(const uint8_t *bytes, size_t len)
{
	size_t n = len;

	if (len > 0x201 - 0x1F1)
		n = num_min(n, 0x202 - 0x1F1 + bytes[0x201 - 0x1F1]);
	return num_min(n, sizeof(struct setup_header));
}

static int add_kernel_header(const struct arch_boot *boot, struct boot_params *bp,
			     struct error *err)
{
	if (!boot->setup_header)
		return 0;
	memcpy(&bp->hdr, boot->setup_header,
	       setup_header_size(boot->setup_header, boot->setup_header_len));
	if (bp->hdr.boot_flag != BOOT_FLAG || bp->hdr.header != SETUP_HEADER_MAGIC)
		return error_set_usage(err, -ENOEXEC, "kernel: no Linux setup header");
	if (bp->hdr.version < PROTOCOL_MIN)
		return error_set_usage(
		    err, -ENOEXEC,
		    "kernel: boot protocol %d.%02d is too old, 2.12 (Linux 3.8) is needed",
		    bp->hdr.version >> 8, bp->hdr.version & 0xFF);
	return 0;
}

/* An ELF kernel comes without one: enough of it that Linux believes its loader. */
static void add_default_header(const struct arch_boot *boot, struct boot_params *bp)
{
	if (boot->setup_header)
		return;
	bp->hdr.boot_flag = BOOT_FLAG;
	bp->hdr.header = SETUP_HEADER_MAGIC;
	bp->hdr.version = PROTOCOL_MIN;
	bp->hdr.kernel_alignment = KERNEL_ALIGNMENT;
	bp->hdr.cmdline_size = boot->kind == ARCH_ENTRY_LINUX ? LINUX_CMDLINE_MAX : CMDLINE_MAX - 1;
}

static void add_loader(struct boot_params *bp)
{
	bp->hdr.type_of_loader = LOADER_UNREGISTERED;
	bp->hdr.loadflags |= LOADED_HIGH;
	bp->hdr.loadflags &=
	    (uint8_t)~CAN_USE_HEAP; /* no real-mode code runs, so there is no heap */
	bp->hdr.code32_start = HIMEM_ADDR;
}

static void add_cmdline(struct boot_params *bp)
{
	bp->hdr.cmd_line_ptr = CMDLINE_ADDR;
}

static void add_initrd(const struct arch_boot *boot, struct boot_params *bp)
{
	if (!boot->initrd_len)
		return;
	bp->hdr.ramdisk_image = (uint32_t)boot->initrd.addr;
	bp->hdr.ramdisk_size = (uint32_t)boot->initrd_len;
	bp->ext_ramdisk_image = (uint32_t)(boot->initrd.addr >> 32);
	bp->ext_ramdisk_size = (uint32_t)(boot->initrd_len >> 32);
}

static void add_e820_entry(struct boot_params *bp, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	bp->e820_table[bp->e820_entries++] = (struct boot_e820_entry){
		.addr = start, .size = end - start, .type = 1 /* usable RAM */
	};
}

/* Low memory has a hole where a PC has EBDA, video and BIOS; ours holds the ACPI tables. */
static void add_e820(const struct arch_boot *boot, struct boot_params *bp)
{
	struct arch_ram_range ranges[ARCH_MAX_RAM_RANGES];
	size_t n = arch_ram_ranges(boot->ram_bytes, ranges);

	add_e820_entry(bp, 0, num_min(ranges[0].len, EBDA_ADDR));
	add_e820_entry(bp, HIMEM_ADDR, ranges[0].len);
	for (size_t i = 1; i < n; i++)
		add_e820_entry(bp, ranges[i].gpa.addr, ranges[i].gpa.addr + ranges[i].len);
}

int boot_params_fill(const struct arch_boot *boot, gpa_t rsdp, struct boot_params *ret,
		     struct error *err)
{
	struct boot_params bp = { 0 };

	int res = add_kernel_header(boot, &bp, err);
	if (res < 0)
		return res;
	add_default_header(boot, &bp);
	add_loader(&bp);
	add_cmdline(&bp);
	add_initrd(boot, &bp);
	add_e820(boot, &bp);
	bp.acpi_rsdp_addr = rsdp.addr;
	*ret = bp;
	return 0;
}

static int check_cmdline(const struct boot_params *bp, size_t len, struct error *err)
{
	size_t max = num_min(bp->hdr.cmdline_size, CMDLINE_MAX - 1);

	if (len > max)
		return error_set_usage(
		    err, -E2BIG,
		    "kernel command line: %zu bytes, this kernel keeps %zu: shorten --append", len,
		    max);
	return 0;
}

int boot_params_write(const struct guest_mem *mem, const struct arch_boot *boot, gpa_t rsdp,
		      struct error *err)
{
	struct boot_params bp;
	size_t len = strlen(boot->cmdline);

	int res = boot_params_fill(boot, rsdp, &bp, err);
	if (res == 0)
		res = check_cmdline(&bp, len, err);
	if (res < 0)
		return res;
	res = guest_mem_write(mem, GPA(CMDLINE_ADDR), boot->cmdline, len + 1);
	if (res == 0)
		res = guest_mem_write(mem, GPA(ZERO_PAGE_ADDR), &bp, sizeof(bp));
	return res < 0 ? error_set(err, res, "zero page") : 0;
}
