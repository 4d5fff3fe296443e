/* Local APIC in xAPIC mode, I/O APIC, and the interrupt descriptor table. */
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
