/* See second_cpu.h. */
#include "second_cpu.h"

#include "apic.h"

enum { TRAMPOLINE = 0x8000, STACK_SIZE = 16384 };

extern const uint8_t second_trampoline[], second_trampoline_end[];
extern const uint8_t second_cr3[], second_stack[], second_entry[];

static void set(const uint8_t *symbol, uint64_t value)
{
	*(volatile uint64_t *)(uintptr_t)(TRAMPOLINE + (symbol - second_trampoline)) = value;
}

void second_cpu_start(void (*entry)(void))
{
	static uint8_t stack[STACK_SIZE] __attribute__((aligned(16)));
	uint64_t cr3;

	__asm__("mov %%cr3, %0" : "=r"(cr3));
	memcpy((void *)(uintptr_t)TRAMPOLINE, second_trampoline,
	       (size_t)(second_trampoline_end - second_trampoline));
	set(second_cr3, cr3);
	set(second_stack, (uint64_t)(stack + sizeof(stack)));
	set(second_entry, (uint64_t)entry);
	lapic_enable();
	lapic_start_others(TRAMPOLINE >> 12);
}
