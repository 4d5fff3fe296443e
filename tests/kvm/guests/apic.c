/*
 * Interrupts of a micro-guest (apic.h). There is one vector; every exception is left without a
 * gate, so that a guest's own bug ends as a triple fault.
 */
#include "apic.h"

enum {
	IOAPIC_SELECT = 0xfec00000u,
	IOAPIC_WINDOW = 0xfec00010u,
	IOAPIC_REDIRECTION = 0x10, /* two registers per pin */
	PIC1_DATA = 0x21,
	PIC2_DATA = 0xa1,
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

static void ioapic_write(uint32_t reg, uint32_t v)
{
	mmio_write32(IOAPIC_SELECT, reg);
	mmio_write32(IOAPIC_WINDOW, v);
}

__attribute__((interrupt)) static void on_vector(struct interrupt_frame *frame UNUSED)
{
	handler();
	mmio_write32(LAPIC_BASE + LAPIC_EOI, 0);
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
	mmio_write32(LAPIC_BASE + LAPIC_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
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
	uint32_t self = mmio_read32(LAPIC_BASE + LAPIC_ID) >> 24;
	ioapic_write(IOAPIC_REDIRECTION + 2 * gsi + 1, self << 24);
	ioapic_write(IOAPIC_REDIRECTION + 2 * gsi, VECTOR); /* fixed, edge, high, not masked */
}

void interrupts_wait(volatile bool *pending)
{
	/* sti takes effect after the next instruction: an interrupt cannot slip in between test and
	 * hlt. */
	while (!*pending)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	*pending = false;
}
