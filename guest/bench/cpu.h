/* The processor under the benchmark's guest: registers, ports, two privilege levels, one interrupt. */
#pragma once

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

/* x86 keeps loads in order and stores in order: only a store before a load needs the instruction. */
static inline void memory_barrier(void)
{
	__asm__ volatile("lock orl $0, (%%rsp)" : : : "memory", "cc");
}

static inline void compiler_barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

static inline void cpu_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static inline uint64_t tsc_read(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* Once, at CPL 0: task state, interrupt descriptors. */
void cpu_init(void);
/* From CPL 0: runs @fn at CPL 3, which may use ports, and comes back at CPL 0 when it returns. */
void cpu_run_user(void (*fn)(void));
/* Runs @fn at CPL 0, whatever the level is; by an exception from CPL 3. */
void cpu_call_kernel(void (*fn)(void));

/*
 * The device interrupt: GSI @gsi, edge, to this CPU. @handler runs at CPL 0 with interrupts off; the EOI follows.
 * Interrupts are taken in cpu_wait only.
 */
void cpu_route_interrupt(unsigned gsi, void (*handler)(void));
/* Sleeps until an interrupt came since the last cpu_wait returned. Any level. */
void cpu_wait(void);
/* Sends this CPU the interrupt and takes it: what an interrupt costs without a device. CPL 0. */
void cpu_interrupt_self(void);

/* Ends the machine: ACPI S5 under ktstr, isa-debug-exit (status 33) under QEMU. CPL 0. */
NORETURN void cpu_power_off(void);
