#include "arch/x86_64/mptable.h"

#include <string.h>

#include "arch/x86_64/acpi_table.h"
#include "arch/x86_64/layout.h"
#include "base/assert.h"

enum {
	SPEC_REVISION = 4,
	POINTER_LEN = 16, /* 4.1 */
	POINTER_CHECKSUM = 10,

	HEADER_LEN = 44, /* 4.2 */
	HEADER_LENGTH = 4,
	HEADER_CHECKSUM = 7,
	HEADER_COUNT = 34,

	PROCESSOR = 0, /* 4.3: entry types */
	BUS,
	IOAPIC,
	INTERRUPT,
	LOCAL_INTERRUPT,

	PROCESSOR_ENABLED = 1 << 0,
	PROCESSOR_BOOT = 1 << 1,
	LAPIC_VERSION = 0x14,
	FEATURE_APIC = 1 << 9,
	IOAPIC_VERSION = 0x11,
	IOAPIC_ENABLED = 1 << 0,
	N_PINS = 24,

	INTERRUPT_INT = 0,
	INTERRUPT_NMI = 1,
	INTERRUPT_EXTINT = 3,
	ALL_LAPICS = 0xFF,
	ISA = 0, /* number of the only bus */
};

bool mptable_fits(const struct topology *t)
{
	return topology_apic_id(t, topology_n_cpus(t) - 1) <= MAX_XAPIC_ID;
}

static void add_pointer(struct buf *b, uint32_t at)
{
	buf_append_str(b, "_MP_");
	acpi_put(b, at + POINTER_LEN, 4);
	acpi_put(b, 1, 1); /* length in units of 16 bytes */
	acpi_put(b, SPEC_REVISION, 1);
	acpi_put(b, 0, 1); /* checksum */
	acpi_put(b, 0, 5); /* a configuration table; no PIC mode */
	ASSERT(b->len == POINTER_LEN);
	acpi_poke(b, POINTER_CHECKSUM, acpi_checksum(b, 0, POINTER_LEN), 1);
}

static void add_header(struct buf *b)
{
	buf_append_str(b, "PCMP");
	acpi_put(b, 0, 2); /* length */
	acpi_put(b, SPEC_REVISION, 1);
	acpi_put(b, 0, 1); /* checksum */
	buf_append_str(b, "KTSTR   ");
	buf_append_str(b, "KTSTRVM     ");
	acpi_put(b, 0, 4 + 2); /* no OEM table */
	acpi_put(b, 0, 2);     /* entries */
	acpi_put(b, LAPIC_ADDR, 4);
	acpi_put(b, 0, 4); /* no extended table */
	ASSERT(b->len == POINTER_LEN + HEADER_LEN);
}

static void add_processor(struct buf *b, uint32_t apic_id, bool is_boot)
{
	acpi_put(b, PROCESSOR, 1);
	acpi_put(b, apic_id, 1);
	acpi_put(b, LAPIC_VERSION, 1);
	acpi_put(b, PROCESSOR_ENABLED | (is_boot ? PROCESSOR_BOOT : 0), 1);
	acpi_put(b, 0x600, 4); /* signature; CPUID has the true one */
	acpi_put(b, FEATURE_APIC, 4);
	acpi_put(b, 0, 8);
}

static void add_bus(struct buf *b)
{
	acpi_put(b, BUS, 1);
	acpi_put(b, ISA, 1);
	buf_append_str(b, "ISA   ");
}

/* An xAPIC bus has ids of its own for them: 0 is what KVM's register says. */
static void add_ioapic(struct buf *b, uint32_t id)
{
	acpi_put(b, IOAPIC, 1);
	acpi_put(b, id, 1);
	acpi_put(b, IOAPIC_VERSION, 1);
	acpi_put(b, IOAPIC_ENABLED, 1);
	acpi_put(b, IOAPIC_ADDR, 4);
}

/* Polarity and trigger of the bus: ISA is active high, edge. */
static void add_interrupt(struct buf *b, uint32_t entry, uint32_t type, uint32_t irq, uint32_t to,
			  uint32_t pin)
{
	acpi_put(b, entry, 1);
	acpi_put(b, type, 1);
	acpi_put(b, 0, 2);
	acpi_put(b, ISA, 1);
	acpi_put(b, irq, 1);
	acpi_put(b, to, 1);
	acpi_put(b, pin, 1);
}

void mptable_build(const struct topology *t, uint32_t at, struct buf *ret)
{
	uint32_t n_cpus = topology_n_cpus(t), ioapic_id = 0; /* as in the MADT */
	const size_t table = POINTER_LEN;
	struct buf b = { 0 };

	ASSERT(mptable_fits(t));
	add_pointer(&b, at);
	add_header(&b);
	for (uint32_t cpu = 0; cpu < n_cpus; cpu++)
		add_processor(&b, topology_apic_id(t, cpu), cpu == 0);
	add_bus(&b);
	add_ioapic(&b, ioapic_id);
	for (uint32_t pin = 0; pin < N_PINS; pin++)
		add_interrupt(&b, INTERRUPT, INTERRUPT_INT, pin, ioapic_id, pin);
	add_interrupt(&b, LOCAL_INTERRUPT, INTERRUPT_EXTINT, 0, ALL_LAPICS, 0);
	add_interrupt(&b, LOCAL_INTERRUPT, INTERRUPT_NMI, 0, ALL_LAPICS, 1);
	acpi_poke(&b, table + HEADER_LENGTH, b.len - table, 2);
	acpi_poke(&b, table + HEADER_COUNT, n_cpus + 1 + 1 + N_PINS + 2, 2);
	acpi_poke(&b, table + HEADER_CHECKSUM, acpi_checksum(&b, table, b.len - table), 1);
	*ret = b;
}
