/* Local APIC in the mode it is found in, I/O APIC, and the interrupt descriptor table. */
#pragma once

#include "guest.h"

enum {
	LAPIC = 0xfee00000,
	LAPIC_ID = 0x20,
	LAPIC_EOI = 0xb0,
	LAPIC_SPURIOUS = 0xf0,
	LAPIC_ICR_LOW = 0x300,
	LAPIC_ICR_HIGH = 0x310,
};
#define LAPIC_BASE ((uintptr_t)LAPIC)

/* Registers of the I/O APIC. */
enum { IOAPIC_REDIRECTION = 0x10 /* two per pin, the low half first */ };
void ioapic_write(uint32_t reg, uint32_t v);
uint32_t ioapic_read(uint32_t reg);
/* @pin to the CPU with APIC id @id, which may have 15 bits; @low is the lower half of its entry. */
void ioapic_route(unsigned pin, uint32_t id, uint32_t low);

uint64_t read_msr(uint32_t msr);
void write_msr(uint32_t msr, uint64_t v);

/* A machine with APIC ids above 254 starts in x2APIC mode: MSRs instead of the window at LAPIC_BASE. */
bool lapic_is_x2apic(void);
uint32_t lapic_id(void);
void lapic_enable(void);
/* INIT and SIPI to all other CPUs: they begin at page @page, in real mode. Needs lapic_enable. */
void lapic_start_others(uint8_t page);
/*
 * GSI @gsi, edge, active high, to this CPU; @on_interrupt runs with interrupts off, EOI follows by
 * itself. One GSI per guest: a second call replaces the first. Enables the local APIC; interrupts
 * stay off until interrupts_wait.
 */
void interrupts_route(unsigned gsi, void (*on_interrupt)(void));
/* Sleeps until *@pending (set by on_interrupt) is true, and clears it. */
void interrupts_wait(volatile bool *pending);
