/*
 * See cpu.h. The device's vector has a gate, and #UD as the kernel call. Other exceptions have none, so that a bug of this
 * guest ends as a triple fault.
 */
#include "cpu.h"

enum {
	SELECTOR_CODE = 0x10,
	SELECTOR_TASK = 0x30,
	VECTOR_DEVICE = 0x40,
	VECTOR_CALL_KERNEL = 6, /* #UD, see entry.S */
	VECTOR_SPURIOUS = 0xff,
	GATE_INTERRUPT = 0x8e00,
	TASK_AVAILABLE = 0x89,
	PIC1_DATA = 0x21,
	PIC2_DATA = 0xa1,
	ACPI_SLEEP_CONTROL = 0x601,
	ACPI_S5 = 5 << 2 | 0x20,
	DEBUG_EXIT = 0xf4,
	DEBUG_EXIT_VALUE = 16, /* status 33, which is no failure of QEMU's own */
	STACK_SIZE = 16384,
};

#define IOAPIC_SELECT      ((uintptr_t)0xfec00000)
#define IOAPIC_WINDOW      ((uintptr_t)0xfec00010)
#define IOAPIC_REDIRECTION 0x10u
#define LAPIC              ((uintptr_t)0xfee00000)
#define LAPIC_ID           (LAPIC + 0x20)
#define LAPIC_EOI          (LAPIC + 0xb0)
#define LAPIC_SPURIOUS     (LAPIC + 0xf0)
#define LAPIC_ICR_LOW      (LAPIC + 0x300)
#define LAPIC_SELF_FIXED   0x44000u /* destination self, level assert */

struct gate {
	uint16_t offset_0;
	uint16_t selector;
	uint16_t flags;
	uint16_t offset_16;
	uint32_t offset_32;
	uint32_t reserved;
};

struct task_state {
	uint32_t reserved;
	uint64_t rsp[3];
	uint64_t zero[10];
	uint16_t reserved_2;
	uint16_t io_map_offset;
	uint8_t io_map[8192]; /* a bit per port: 0, user mode may */
	uint8_t io_map_end;
} __attribute__((packed));

extern uint64_t bench_gdt[];
extern char cpu_call_kernel_entry[], cpu_interrupt_entry[], cpu_spurious_entry[];
void cpu_on_interrupt(void); /* from entry.S */

static struct gate idt[256];
static struct task_state task;
static uint8_t kernel_stack[STACK_SIZE] __attribute__((aligned(16)));
static void (*device_handler)(void);
static volatile bool is_pending;

static void set_gate(unsigned vector, const char *entry)
{
	uint64_t at = (uint64_t)entry;

	idt[vector] = (struct gate){
		.offset_0 = (uint16_t)at,
		.selector = SELECTOR_CODE,
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

static void load_task(void)
{
	uint64_t at = (uint64_t)&task;

	task.rsp[0] = (uint64_t)(kernel_stack + STACK_SIZE);
	task.io_map_offset = offsetof(struct task_state, io_map);
	task.io_map_end = 0xff;
	bench_gdt[SELECTOR_TASK / 8] = (sizeof(task) - 1) | (at & 0xffffff) << 16 |
				       (uint64_t)TASK_AVAILABLE << 40 | (at >> 24 & 0xff) << 56;
	bench_gdt[SELECTOR_TASK / 8 + 1] = at >> 32;
	__asm__ volatile("ltr %w0" : : "r"(SELECTOR_TASK) : "memory");
}

void cpu_init(void)
{
	set_gate(VECTOR_DEVICE, cpu_interrupt_entry);
	set_gate(VECTOR_SPURIOUS, cpu_spurious_entry);
	set_gate(VECTOR_CALL_KERNEL, cpu_call_kernel_entry);
	load_idt();
	load_task();
	out8(PIC1_DATA, 0xff);
	out8(PIC2_DATA, 0xff);
	mmio_write32(LAPIC_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
}

static void ioapic_write(uint32_t reg, uint32_t v)
{
	mmio_write32(IOAPIC_SELECT, reg);
	mmio_write32(IOAPIC_WINDOW, v);
}

void cpu_route_interrupt(unsigned gsi, void (*handler)(void))
{
	device_handler = handler;
	ioapic_write(IOAPIC_REDIRECTION + 2 * gsi + 1, mmio_read32(LAPIC_ID) & 0xff000000);
	ioapic_write(IOAPIC_REDIRECTION + 2 * gsi, VECTOR_DEVICE); /* fixed, edge, high, on */
}

void cpu_on_interrupt(void)
{
	if (device_handler)
		device_handler();
	is_pending = true;
	mmio_write32(LAPIC_EOI, 0);
}

static void wait_in_kernel(void)
{
	/* sti takes effect after the next instruction: nothing slips in between test and hlt. */
	while (!is_pending)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	is_pending = false;
}

void cpu_wait(void)
{
	cpu_call_kernel(wait_in_kernel);
}

void cpu_interrupt_self(void)
{
	void (*saved)(void) = device_handler;

	device_handler = NULL;
	mmio_write32(LAPIC_ICR_LOW, LAPIC_SELF_FIXED | VECTOR_DEVICE);
	wait_in_kernel();
	device_handler = saved;
}

void cpu_power_off(void)
{
	out8(ACPI_SLEEP_CONTROL, ACPI_S5);
	out8(DEBUG_EXIT, DEBUG_EXIT_VALUE);
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}
