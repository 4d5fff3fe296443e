/*
 * The runtime of micro-guests: bare-metal 64-bit programs that our VMM boots like a kernel. No
 * interrupts unless interrupt.h is used, no SSE, one CPU unless smp.c, everything at CPL 0. Words
 * of the kernel command line say what a guest does, the initrd holds its data, COM1 takes its text.
 */
#pragma once

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The guest's program, written by each guest; a return from it powers the machine off. */
void guest_main(const struct boot_params *boot);
/* Called by start.S only. */
NORETURN void guest_run(const struct boot_params *boot);

static inline void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t mmio_read32(uintptr_t address)
{
	return *(const volatile uint32_t *)address;
}

static inline void mmio_write32(uintptr_t address, uint32_t v)
{
	*(volatile uint32_t *)address = v;
}

static inline void cpu_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

/* Orders stores before later loads, which x86 itself does not. Not mfence: every interpreter knows
 * a locked or. */
static inline void memory_barrier(void)
{
	__asm__ volatile("lock; orl $0, (%%rsp)" : : : "memory", "cc");
}

static inline void compiler_barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

/* The ways to end. */
NORETURN void guest_power_off(void);      /* ACPI S5 */
NORETURN void guest_reset(void);          /* ACPI reset register */
NORETURN void guest_i8042_reset(void);    /* pulse of the keyboard controller */
NORETURN void guest_triple_fault(void);   /* an undefined instruction without an IDT */
NORETURN void guest_spin(void);           /* pause, for ever: burns its CPU */
NORETURN void guest_halt(void);           /* hlt with interrupts off: idle for ever */
NORETURN void guest_die(const char *why); /* text on COM1, then guest_reset: a failed test */

/* COM1 text. */
void serial_put(const char *text);
void serial_put_number(uint64_t v);
void serial_put_hex(uint64_t v);

/* A word of the command line: "name" alone, or "name=NUMBER" with the number in *@ret_value
 * (untouched without). */
bool boot_word(const struct boot_params *boot, const char *name, uint64_t *ret_value);
/* The words' text; never NULL. */
const char *boot_command_line(const struct boot_params *boot);
/* NULL and 0 without an initrd. */
const uint8_t *boot_initrd(const struct boot_params *boot, size_t *ret_size);

int memcmp(const void *a, const void *b, size_t n);
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
