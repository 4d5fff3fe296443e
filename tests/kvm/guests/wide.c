/*
 * A machine with APIC ids that 8 bits cannot name: starts every application processor through the
 * x2APIC, then sends COM1's interrupt to the one with the highest id by the I/O APIC: edge-triggered,
 * while the pin is masked, level-triggered. Tells on COM1 what came. Words: cpus=N; eoi_exits (the end
 * of a level-triggered interrupt must reach the I/O APIC by itself; a software KVM may not tell it, so
 * without the word the guest writes the I/O APIC's own EOI register).
 */
#include "apic.h"

enum {
	TRAMPOLINE = 0x40000,
	MSR_X2APIC_ICR = 0x830,
	ICR_INIT = 0x4500,
	ICR_STARTUP = 0x4600,
	ICR_OTHERS = 0xc0000, /* all excluding self */
	VECTOR = 0x40,
	COM1 = 0x3f8,
	COM_IER = COM1 + 1,
	IER_THR_EMPTY = 2,
	COM1_PIN = 4,
	IOAPIC_EOI = 0xfec00040u,
	ENTRY_REMOTE_IRR = 1 << 14,
	ENTRY_LEVEL = 1 << 15,
	ENTRY_MASKED = 1 << 16,
	SOME_LOOPS = 20 * 1000,
	WAIT_LOOPS = 4 * 1000 * 1000,
	MAX_IDS = 1024,
};

extern const uint8_t wide_trampoline[], wide_trampoline_end[], wide_handler[], wide_count[];
extern const uint8_t wide_interrupts[], wide_last_id[], wide_seen[];

static uintptr_t in_copy(const uint8_t *symbol)
{
	return TRAMPOLINE + (uintptr_t)(symbol - wide_trampoline);
}

static uint32_t number(const uint8_t *symbol)
{
	return mmio_read32(in_copy(symbol));
}

static void say(const char *what, uint64_t v)
{
	serial_put(what);
	serial_put_number(v);
	serial_put("\n");
}

/* The number at @symbol becomes @wanted, or the test has failed. */
static void await(const uint8_t *symbol, uint32_t wanted, const char *what)
{
	for (unsigned loops = 0; number(symbol) < wanted && loops < WAIT_LOOPS; loops++)
		cpu_pause();
	if (number(symbol) != wanted)
		guest_die(what);
}

/* A real-mode vector: the application processors stay there. */
static void set_real_mode_vector(void)
{
	uintptr_t at = VECTOR * 4;
	__asm__("" : "+r"(at)); /* an address this low looks like a mistake to the compiler */
	volatile uint16_t *vector = (volatile uint16_t *)at;

	vector[0] = (uint16_t)(wide_handler - wide_trampoline);
	vector[1] = TRAMPOLINE >> 4;
}

static void start_others(uint64_t cpus)
{
	memcpy((void *)(uintptr_t)TRAMPOLINE, wide_trampoline,
	       (size_t)(wide_trampoline_end - wide_trampoline));
	write_msr(MSR_X2APIC_ICR, ICR_OTHERS | ICR_INIT);
	write_msr(MSR_X2APIC_ICR, ICR_OTHERS | ICR_STARTUP | TRAMPOLINE >> 12);
	await(wide_count, (uint32_t)cpus - 1, "not every CPU came");
}

static uint32_t highest_id(void)
{
	uint32_t id = MAX_IDS - 1;

	while (id && !*(volatile uint8_t *)(in_copy(wide_seen) + id))
		id--;
	return id;
}

static void route(uint32_t id, uint32_t low)
{
	ioapic_route(COM1_PIN, id, low | VECTOR);
}

static uint32_t entry(void)
{
	return ioapic_read(IOAPIC_REDIRECTION + 2 * COM1_PIN);
}

/* Enabling the transmitter's interrupt with an empty transmitter is one. */
static void pulse_com1(void)
{
	out8(COM_IER, 0);
	out8(COM_IER, IER_THR_EMPTY);
	out8(COM_IER, 0);
}

static void check_masked(uint32_t id, uint32_t so_far)
{
	route(id, ENTRY_MASKED);
	pulse_com1();
	for (unsigned loops = 0; loops < SOME_LOOPS; loops++)
		cpu_pause();
	if (number(wide_interrupts) != so_far)
		guest_die("a masked pin interrupted");
	route(id, 0);
	await(wide_interrupts, so_far + 1, "a masked pin lost an edge");
}

static void check_level(uint32_t id, uint32_t so_far, bool eoi_exits)
{
	route(id, ENTRY_LEVEL);
	for (uint32_t i = 1; i <= 3; i++) {
		pulse_com1();
		await(wide_interrupts, so_far + i, "a level-triggered interrupt is missing");
		if (!eoi_exits)
			mmio_write32(IOAPIC_EOI, VECTOR);
	}
	for (unsigned loops = 0; entry() & ENTRY_REMOTE_IRR && loops < SOME_LOOPS; loops++)
		cpu_pause();
	if (entry() & ENTRY_REMOTE_IRR)
		guest_die("no EOI reached the I/O APIC");
}

void guest_main(const struct boot_params *boot)
{
	uint64_t cpus = 0;

	if (!boot_word(boot, "cpus", &cpus) || !lapic_is_x2apic())
		guest_die("no cpus=, or not in x2APIC mode");
	lapic_enable();
	set_real_mode_vector();
	start_others(cpus);
	uint32_t id = highest_id();
	say("highest id: ", id);
	route(id, 0);
	pulse_com1();
	await(wide_interrupts, 1, "the edge-triggered interrupt is missing");
	check_masked(id, 1);
	check_level(id, 2, boot_word(boot, "eoi_exits", NULL));
	say("interrupts: ", number(wide_interrupts));
	say("at id: ", number(wide_last_id));
}
