/*
 * Guest-physical map of the x86_64 machine (DESIGN.md, section 5): every fixed address, each in one place.
 *
 *	0x0000_0500  GDT                            0x000E_0000  ACPI: RSDP, then the tables
 *	0x0000_7000  zero page                      0x0010_0000  kernel, RAM up to 3 GiB
 *	0x0000_8FF0  boot stack, growing down       0xC000_0000  virtio-mmio windows
 *	0x0000_9000  page tables (PML4, PDPT, 4 PDs) 0xFEC0_0000  IOAPIC    0xFEE0_0000  LAPICs
 *	0x0002_0000  command line                   0xFFFB_D000  TSS, identity-map page (KVM's, Intel only)
 *	0x0009_FC00  where a PC has its EBDA        0x1_0000_0000  RAM that did not fit below 3 GiB
 *	0x000F_E000  MP table
 */
#pragma once

#include <stdint.h>

enum {
	GDT_ADDR = 0x500, /* the first free bytes behind a PC's BIOS data area */
	ZERO_PAGE_ADDR = 0x7000,
	BOOT_STACK_ADDR = 0x8FF0,
	PML4_ADDR = 0x9000,
	PDPT_ADDR = 0xA000,
	PD_ADDR = 0xB000, /* one page per GiB */
	N_PD = 4,         /* identity map of the first 4 GiB, so also of the device windows */

	CMDLINE_ADDR = 0x20000,
	CMDLINE_MAX = 4096, /* with NUL */

	EBDA_ADDR = 0x9FC00, /* RAM below it; legacy BIOS area up to HIMEM_ADDR */
	ACPI_ADDR = 0xE0000, /* ACPI 6.5, 5.2.5.1: the area where an OS without other hints looks
				for the RSDP */
	ACPI_LARGE_ADDR =
	    0xC0000, /* for what does not fit there: the rest of the legacy BIOS area */
	ACPI_END = 0xFE000,
	MPTABLE_ADDR = 0xFE000, /* MP specification, 4: in the BIOS ROM, 0xF0000 to 0xFFFFF */
	MPTABLE_END = 0x100000,
	HIMEM_ADDR = 0x100000, /* Linux' default load address */
};

/* Above INT_MAX, so no enumerators. */
#define MMIO_GAP_ADDR     0xC0000000u
#define MMIO_GAP_END      0x100000000ull
#define VIRTIO_MMIO_LEN   0x1000u
#define IOAPIC_ADDR       0xFEC00000u
#define LAPIC_ADDR        0xFEE00000u
#define TSS_ADDR          0xFFFBD000u /* three pages; the place Firecracker and crosvm use too */
#define IDENTITY_MAP_ADDR 0xFFFC0000u /* right behind them */

/* Boot segments, fixed by Linux' 64-bit boot protocol (Documentation/arch/x86/boot.rst). */
enum {
	BOOT_CS = 0x10,
	BOOT_DS = 0x18,
	BOOT_TSS = 0x20,
	N_GDT = 5,
};
/* Flat 4 GiB descriptors: 64-bit code, data, busy 64-bit TSS of no use but to make VMX's checks
 * happy. */
#define GDT_CODE64 0x00AF9B000000FFFFull
#define GDT_DATA   0x00CF93000000FFFFull
#define GDT_TSS64  0x008F8B000000FFFFull

enum { MAX_XAPIC_ID = 254 }; /* 255 is the xAPIC broadcast */
