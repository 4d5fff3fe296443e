/*
 * Starts every application processor by INIT and SIPI through the xAPIC and tells on COM1 which
 * came: "cpus 4: 0 1 2 3" (APIC ids). Word: cpus=N (how many to wait for; without it until none
 * comes any more).
 */
#include "apic.h"

enum {
	TRAMPOLINE = 0x8000,
	SETTLE_LOOPS = 100 * 1000, /* a quarter of a second on an interpreting KVM */
	WAIT_LOOPS = 400 * SETTLE_LOOPS,
	MAX_IDS = 256,
};

extern const uint8_t smp_trampoline[], smp_trampoline_end[], smp_count[], smp_seen[];

static volatile uint8_t *in_copy(const uint8_t *symbol)
{
	return (volatile uint8_t *)(uintptr_t)(TRAMPOLINE + (symbol - smp_trampoline));
}

static uint32_t count(void)
{
	return *(volatile uint32_t *)in_copy(smp_count);
}

static void wait_until_settled(void)
{
	uint32_t last = count();
	for (unsigned quiet = 0; quiet < SETTLE_LOOPS; quiet++) {
		if (count() != last)
			quiet = 0;
		last = count();
		cpu_pause();
	}
}

static void wait_for(uint64_t n_others)
{
	for (unsigned loops = 0; count() < n_others && loops < WAIT_LOOPS; loops++)
		cpu_pause();
}

void guest_main(const struct boot_params *boot)
{
	memcpy((void *)(uintptr_t)TRAMPOLINE, smp_trampoline,
	       (size_t)(smp_trampoline_end - smp_trampoline));
	lapic_enable();
	lapic_start_others(TRAMPOLINE >> 12);

	uint64_t cpus = 0;
	if (boot_word(boot, "cpus", &cpus) && cpus)
		wait_for(cpus - 1);
	else
		wait_until_settled();

	serial_put("cpus ");
	serial_put_number(count() + 1);
	serial_put(":");
	in_copy(smp_seen)[mmio_read32(LAPIC_BASE + LAPIC_ID) >> 24] = 1;
	for (unsigned id = 0; id < MAX_IDS; id++) {
		if (!in_copy(smp_seen)[id])
			continue;
		serial_put(" ");
		serial_put_number(id);
	}
	serial_put("\n");
}
