/*
 * Interrupts of a micro-guest (apic.h). There is one vector; every exception is left without a
 * gate, so that a guest's own bug ends as a triple fault.
 */
#include "apic.h"

enum {
	IOAPIC_SELECT = 0xfec00000u,
	IOAPIC_WINDOW = 0xfec00010u,
	PIC1_DATA = 0x21,
	PIC2_DATA = 0xa1,
	MSR_APIC_BASE = 0x1b,
	APIC_BASE_X2APIC = 1 << 10,
	MSR_X2APIC = 0x800, /* and the register's offset / 16 */
	VECTOR = 0x40,
	VECTOR_SPURIOUS = 0xff,
	GATE_INTERRUPT = 0x8e00, /* present, DPL 0, interrupts off */
	ICR_INIT = 0x500,
	ICR_STARTUP = 0x600,
	ICR_ASSERT = 0x4000,
	ICR_OTHERS = 0xc0000, /* all excluding self */
	ICR_PENDING = 0x1000,
};

struct gate {
	uint16_t offset_0;
	uint16_t selector;
	uint16_t flags;
	uint16_t offset_16;
	uint32_t offset_32;
	uint32_t reserved;
};

struct interrupt_frame;

static struct gate idt[256];
static void (*handler)(void);

void ioapic_write(uint32_t reg, uint32_t v)
{
	mmio_write32(IOAPIC_SELECT, reg);
	mmio_write32(IOAPIC_WINDOW, v);
}

uint32_t ioapic_read(uint32_t reg)
{
	mmio_write32(IOAPIC_SELECT, reg);
	return mmio_read32(IOAPIC_WINDOW);
}

/* Bits 0 to 7 of the destination in bits 56 to 63 of the entry, the others in 49 to 55. */
void ioapic_route(unsigned pin, uint32_t id, uint32_t low)
{
	ioapic_write(IOAPIC_REDIRECTION + 2 * pin + 1, (id & 0xff) << 24 | (id >> 8 & 0x7f) << 17);
	ioapic_write(IOAPIC_REDIRECTION + 2 * pin, low);
}

uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return low | (uint64_t)high << 32;
}

void write_msr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
			 : "memory");
}

bool lapic_is_x2apic(void)
{
	return read_msr(MSR_APIC_BASE) & APIC_BASE_X2APIC;
}

static void lapic_write(unsigned reg, uint32_t v)
{
	if (lapic_is_x2apic())
		write_msr(MSR_X2APIC + reg / 16, v);
	else
		mmio_write32(LAPIC_BASE + reg, v);
}

uint32_t lapic_id(void)
{
	return lapic_is_x2apic() ? (uint32_t)read_msr(MSR_X2APIC + LAPIC_ID / 16)
				 : mmio_read32(LAPIC_BASE + LAPIC_ID) >> 24;
}

__attribute__((interrupt)) static void on_vector(struct interrupt_frame *frame UNUSED)
{
	handler();
	lapic_write(LAPIC_EOI, 0);
}

__attribute__((interrupt)) static void on_spurious(struct interrupt_frame *frame UNUSED)
{
}

static void set_gate(unsigned vector, void (*entry)(struct interrupt_frame *))
{
	uint16_t cs;
	__asm__("mov %%cs, %0" : "=r"(cs));
	uint64_t at = (uint64_t)entry;
	idt[vector] = (struct gate){
		.offset_0 = (uint16_t)at,
		.selector = cs,
		.flags = GATE_INTERRUPT,
		.offset_16 = (uint16_t)(at >> 16),
		.offset_32 = (uint32_t)(at >> 32),
	};
}

static void load_idt(void)
{
	struct {
		uint16_t pad[3];
		uint16_t limit;
		uint64_t base;
	} r = { .limit = sizeof(idt) - 1, .base = (uint64_t)idt };
	__asm__ volatile("lidt %0" : : "m"(r.limit), "m"(r.base) : "memory");
}

void lapic_enable(void)
{
	lapic_write(LAPIC_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
}

static void send_to_others(uint32_t command)
{
	mmio_write32(LAPIC_BASE + LAPIC_ICR_LOW, ICR_OTHERS | ICR_ASSERT | command);
	while (mmio_read32(LAPIC_BASE + LAPIC_ICR_LOW) & ICR_PENDING)
		cpu_pause();
}

void lapic_start_others(uint8_t page)
{
	send_to_others(ICR_INIT);
	send_to_others(ICR_STARTUP | page);
}

void interrupts_route(unsigned gsi, void (*on_interrupt)(void))
{
	handler = on_interrupt;
	set_gate(VECTOR, on_vector);
	set_gate(VECTOR_SPURIOUS, on_spurious);
	load_idt();
	out8(PIC1_DATA, 0xff);
	out8(PIC2_DATA, 0xff);
	lapic_enable();
	ioapic_route(gsi, lapic_id(), VECTOR); /* fixed, edge, high, not masked */
}

void interrupts_wait(volatile bool *pending)
{
	/* sti takes effect after the next instruction: an interrupt cannot slip in between test and
	 * hlt. */
	while (!*pending)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	*pending = false;
}
