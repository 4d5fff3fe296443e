/* Every way a guest can end, or not end, selected by a word of the command line. */
#include "guest.h"

static NORETURN void panic(void)
{
	serial_put("[    0.000001] Kernel panic - not syncing: micro-guest\n");
	guest_i8042_reset();
}

static NORETURN void halt_with_interrupts(void)
{
	for (;;)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static const struct {
	const char *word;
	void (*end)(void);
} ends[] = {
	{ "acpi_off", guest_power_off },
	{ "reset", guest_reset },
	{ "i8042", guest_i8042_reset },
	{ "triple", guest_triple_fault },
	{ "hang", guest_spin },
	{ "hang_hlt", halt_with_interrupts }, /* idle, but never sent an interrupt */
	{ "hang_cli", guest_halt },
	/* Last: ktstr's own command line has a "panic=-1". Text, then the reset of that. */
	{ "panic", panic },
};

void guest_main(const struct boot_params *boot)
{
	serial_put("ends\n");
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (boot_word(boot, ends[i].word, NULL))
			ends[i].end();
	guest_die("no known end on the command line");
}
