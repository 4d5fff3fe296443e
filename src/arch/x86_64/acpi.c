/*
 * RSDP -> XSDT -> FADT -> DSDT
 *            |--> MADT
 *            \--> SRAT, SLIT, HMAT (acpi_numa.c), where there is something to tell
 */
#include "arch/x86_64/acpi.h"

#include <stdio.h>
#include <string.h>

#include "arch/x86_64/acpi_numa.h"
#include "arch/x86_64/acpi_table.h"
#include "arch/x86_64/aml.h"
#include "arch/x86_64/layout.h"
#include "base/assert.h"
#include "base/num.h"
#include "legacy/power.h"
#include "legacy/uart16550.h"

enum {
	/* 5.2.5.3 */
	RSDP_LEN = 36,
	RSDP_V1_LEN = 20,
	RSDP_CHECKSUM = 8,
	RSDP_OEM_ID = 9,
	RSDP_REVISION = 15,
	RSDP_LENGTH = 20,
	RSDP_XSDT = 24,
	RSDP_EXT_CHECKSUM = 32,

	/* 5.2.9, of ACPI 6.3: the newest revision that common disassemblers know in full */
	FADT_LEN = 276,
	FADT_REVISION = 6,
	FADT_MINOR_REVISION = 3,
	FADT_IAPC_BOOT_ARCH = 109,
	FADT_FLAGS = 112,
	FADT_RESET_REG = 116,
	FADT_RESET_VALUE = 128,
	FADT_MINOR = 131,
	FADT_X_DSDT = 140,
	FADT_SLEEP_CONTROL_REG = 244,
	FADT_SLEEP_STATUS_REG = 256,

	IAPC_NO_VGA = 1u << 2,
	IAPC_NO_CMOS_RTC = 1u << 5, /* and bit 1 clear: no 8042 to probe for */

	FADT_WBINVD = 1u << 0,
	FADT_NO_POWER_BUTTON = 1u << 4,
	FADT_NO_SLEEP_BUTTON = 1u << 5,
	FADT_RESET_REG_SUP = 1u << 10,
	FADT_HW_REDUCED = 1u << 20,

	/* 5.2.12 */
	MADT_REVISION = 5,
	MADT_PCAT_COMPAT = 1u << 0,
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_X2APIC = 9,
	MADT_ENABLED = 1u << 0,

	GAS_SYSTEM_IO = 1,
	GAS_BYTE_ACCESS = 1,

	XSDT_REVISION = 1,
	DSDT_REVISION = 2, /* 64-bit integers */
	MAX_TABLES = 8,
};

/* 5.2.3.2: an 8-bit port register */
static void poke_gas(struct buf *b, size_t off, uint64_t port)
{
	acpi_poke(b, off, GAS_SYSTEM_IO, 1);
	acpi_poke(b, off + 1, 8, 1);
	acpi_poke(b, off + 3, GAS_BYTE_ACCESS, 1);
	acpi_poke(b, off + 4, port, 8);
}

/* --- DSDT --- */

/* \_S5: what to write into the sleep control register for soft off. */
static void add_s5(struct aml *a)
{
	static const uint64_t s5[] = { ACPI_SLP_TYP_S5, 0, 0, 0 };

	aml_name_package(a, "_S5_", s5, ARRAY_SIZE(s5));
}

static void add_com(struct aml *a, unsigned number, const struct arch_device_slot *slot)
{
	char name[8];
	struct aml_crs crs = { 0 };

	(void)snprintf(name, sizeof(name), "COM%u", number);
	aml_crs_io(&crs, (uint16_t)slot->base, UART_LEN);
	aml_crs_interrupt(&crs, slot->gsi);
	aml_begin_device(a, name);
	aml_name_eisaid(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", number);
	aml_name_crs(a, &crs);
	aml_end(a);
}

/* LNRO0005 is what Linux' virtio_mmio driver binds to. */
static void add_virtio(struct aml *a, unsigned number, const struct arch_device_slot *slot)
{
	char name[8];
	struct aml_crs crs = { 0 };

	(void)snprintf(name, sizeof(name), "VIO%u", number);
	aml_crs_memory32(&crs, (uint32_t)slot->base, VIRTIO_MMIO_LEN);
	aml_crs_interrupt(&crs, slot->gsi);
	aml_begin_device(a, name);
	aml_name_string(a, "_HID", "LNRO0005");
	aml_name_int(a, "_UID", number);
	aml_name_crs(a, &crs);
	aml_end(a);
}

/*
 * No processor objects: Linux starts processors from the MADT alone, and each object would be
 * interpreted at every boot.
 */
static size_t add_dsdt(struct buf *b, const struct arch_boot *boot)
{
	CLEANUP(aml_fini) struct aml a = { 0 };
	size_t table = acpi_table_begin(b, "DSDT", DSDT_REVISION);

	add_s5(&a);
	aml_begin_scope(&a, "_SB_");
	add_com(&a, 1, &arch_machine.com1);
	add_com(&a, 2, &arch_machine.com2);
	if (boot->console)
		add_virtio(&a, 0, &arch_machine.console);
	if (boot->blk)
		add_virtio(&a, 1, &arch_machine.blk);
	if (boot->net)
		add_virtio(&a, 2, &arch_machine.net);
	aml_end(&a);
	buf_append(b, a.out.data, a.out.len);
	acpi_table_end(b, table);
	return table;
}

/* --- FADT --- */

static size_t add_fadt(struct buf *b, uint64_t dsdt)
{
	size_t table = acpi_table_begin(b, "FACP", FADT_REVISION);

	buf_append_zeros(b, FADT_LEN - ACPI_HEADER_LEN);
	acpi_poke(b, table + FADT_IAPC_BOOT_ARCH, IAPC_NO_VGA | IAPC_NO_CMOS_RTC, 2);
	acpi_poke(b, table + FADT_FLAGS,
		  FADT_WBINVD | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON | FADT_RESET_REG_SUP |
		      FADT_HW_REDUCED,
		  4);
	poke_gas(b, table + FADT_RESET_REG, ACPI_RESET_PORT);
	acpi_poke(b, table + FADT_RESET_VALUE, ACPI_RESET_VALUE, 1);
	acpi_poke(b, table + FADT_MINOR, FADT_MINOR_REVISION, 1);
	acpi_poke(b, table + FADT_X_DSDT, dsdt, 8);
	poke_gas(b, table + FADT_SLEEP_CONTROL_REG, ACPI_SLEEP_CONTROL_PORT);
	poke_gas(b, table + FADT_SLEEP_STATUS_REG, ACPI_SLEEP_STATUS_PORT);
	acpi_table_end(b, table);
	return table;
}

/* --- MADT --- */

/*
 * A processor has exactly one entry (5.2.12.12): the xAPIC one where its id fits, or Linux takes it
 * twice.
 */
static void add_processor(struct buf *b, uint32_t cpu, uint32_t apic_id)
{
	if (apic_id <= MAX_XAPIC_ID) {
		acpi_put(b, MADT_LAPIC, 1);
		acpi_put(b, 8, 1);
		acpi_put(b, cpu, 1);
		acpi_put(b, apic_id, 1);
		acpi_put(b, MADT_ENABLED, 4);
		return;
	}
	acpi_put(b, MADT_X2APIC, 1);
	acpi_put(b, 16, 1);
	acpi_put(b, 0, 2);
	acpi_put(b, apic_id, 4);
	acpi_put(b, MADT_ENABLED, 4);
	acpi_put(b, cpu, 4);
}

/* GSI n is pin n: no interrupt source overrides. */
static void add_ioapic(struct buf *b)
{
	acpi_put(b, MADT_IOAPIC, 1);
	acpi_put(b, 12, 1);
	acpi_put(b, 0, 1); /* id, as KVM's register says */
	acpi_put(b, 0, 1);
	acpi_put(b, IOAPIC_ADDR, 4);
	acpi_put(b, 0, 4); /* first GSI */
}

static size_t add_madt(struct buf *b, const struct topology *t)
{
	uint32_t n = topology_n_cpus(t);
	bool pic = topology_apic_id(t, n - 1) <=
		   MAX_XAPIC_ID; /* beyond, no interrupt controller of KVM's has one */
	size_t table = acpi_table_begin(b, "APIC", MADT_REVISION);

	acpi_put(b, LAPIC_ADDR, 4);
	acpi_put(b, pic ? MADT_PCAT_COMPAT : 0, 4);
	for (uint32_t cpu = 0; cpu < n; cpu++)
		add_processor(b, cpu, topology_apic_id(t, cpu));
	add_ioapic(b);
	acpi_table_end(b, table);
	return table;
}

/* --- roots --- */

/* What the XSDT lists. */
struct tables {
	uint64_t addresses[MAX_TABLES];
	size_t n;
};

static void list(struct tables *tables, uint64_t at, size_t table)
{
	ASSERT(tables->n < MAX_TABLES);
	tables->addresses[tables->n++] = at + table;
}

static size_t add_xsdt(struct buf *b, const struct tables *tables)
{
	size_t table = acpi_table_begin(b, "XSDT", XSDT_REVISION);

	for (size_t i = 0; i < tables->n; i++)
		acpi_put(b, tables->addresses[i], 8);
	acpi_table_end(b, table);
	return table;
}

/* Over the zeros that the image starts with. */
static void fill_rsdp(struct buf *b, uint64_t xsdt)
{
	memcpy(b->data, "RSD PTR ", 8);
	memcpy(b->data + RSDP_OEM_ID, "KTSTR ", 6);
	acpi_poke(b, RSDP_REVISION, 2, 1);
	acpi_poke(b, RSDP_LENGTH, RSDP_LEN, 4);
	acpi_poke(b, RSDP_XSDT, xsdt, 8);
	acpi_poke(b, RSDP_CHECKSUM, acpi_checksum(b, 0, RSDP_V1_LEN), 1);
	acpi_poke(b, RSDP_EXT_CHECKSUM, acpi_checksum(b, 0, RSDP_LEN), 1);
}

void acpi_build(const struct arch_boot *boot, uint64_t at, struct buf *ret)
{
	const struct topology *t = boot->topology;
	struct tables tables = { 0 };
	struct buf b = { 0 };

	ASSERT(at % ACPI_TABLE_ALIGN == 0);
	buf_append_zeros(&b, RSDP_LEN);
	size_t dsdt = add_dsdt(&b, boot);
	list(&tables, at, add_fadt(&b, at + dsdt));
	list(&tables, at, add_madt(&b, t));
	if (acpi_numa_is_needed(t)) {
		ASSERT(boot->memory);
		list(&tables, at, acpi_add_srat(&b, t, boot->memory));
		list(&tables, at, acpi_add_slit(&b, t));
		list(&tables, at, acpi_add_hmat(&b, t));
	}
	size_t xsdt = add_xsdt(&b, &tables);
	fill_rsdp(&b, at + xsdt);
	*ret = b;
}

/*
 * Where a kernel without hints looks for the RSDP, if the tables fit there. They do not on machines
 * of thousands of CPUs with NUMA; the kernels that know so many take the RSDP's address from the
 * zero page.
 */
static uint64_t build_where_it_fits(const struct arch_boot *boot, struct buf *ret)
{
	acpi_build(boot, ACPI_ADDR, ret);
	if (ret->len <= ACPI_END - ACPI_ADDR)
		return ACPI_ADDR;
	buf_fini(ret);
	acpi_build(boot, ACPI_LARGE_ADDR, ret);
	ASSERT(ret->len <= ACPI_END - ACPI_LARGE_ADDR); /* TOPOLOGY_MAX_CPUS and _NODES do */
	return ACPI_LARGE_ADDR;
}

int acpi_write(const struct guest_mem *mem, const struct arch_boot *boot, gpa_t *ret_rsdp,
	       struct error *err)
{
	CLEANUP(buf_fini) struct buf image = { 0 };
	uint64_t at = build_where_it_fits(boot, &image);

	int res = guest_mem_write(mem, GPA(at), image.data, image.len);
	if (res < 0)
		return error_set(err, res, "ACPI tables");
	*ret_rsdp = GPA(at);
	return 0;
}
