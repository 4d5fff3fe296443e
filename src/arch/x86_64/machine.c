/* The fixed devices of the x86_64 machine and the default command line. */
#include "arch/arch.h"
#include "arch/x86_64/layout.h"

/*
 * GSI n is IOAPIC pin n, edge-triggered, active high, one device each: a plain irqfd is a pulse. 3
 * and 4 are the UARTs' since the first PC (kernels without ACPI expect them), 5 to 7 were free on
 * an ISA bus.
 */
const struct arch_machine arch_machine = {
	.console = { .base = MMIO_GAP_ADDR, .gsi = 5 },
	.blk = { .base = MMIO_GAP_ADDR + VIRTIO_MMIO_LEN, .gsi = 6 },
	.net = { .base = MMIO_GAP_ADDR + 2 * VIRTIO_MMIO_LEN, .gsi = 7 },
	.com1 = { .base = 0x3F8, .gsi = 4 },
	.com2 = { .base = 0x2F8, .gsi = 3 },
	.uart_is_mmio = false,
};

const struct memory_space arch_memory_space = {
	.start = 0,
	.gap_start = MMIO_GAP_ADDR,
	.gap_end = MMIO_GAP_END,
	.limit = (uint64_t)1 << 52, /* CPUID 0x80000008: no processor has more address bits */
};

/*
 * Nothing here may change what is measured: no mitigations=off, no tsc=reliable (KVM tells the guest
 * itself, and only where it is true), no scheduler or idle option.
 *
 *	console=ttyS0        earliest working console; the kernel's last words arrive there in every case
 *	quiet                a character on a 16550 is a VM exit: a verbose boot costs seconds
 *	panic=-1             a panic resets at once instead of hanging until the timeout
 *	reboot=k             by the i8042 port, the shortest way out: no ACPI, no triple fault tried
 *	                     before it
 *	pci=off              there is no PCI to look for
 *	random.trust_cpu=on  seeds the generator from RDRAND: no reader waits for entropy
 *	cryptomgr.notests    distribution kernels self-test every cipher at boot otherwise
 *
 * Not needed: i8042.* (the FADT says that there is none), no_timer_check (guests of KVM set it
 * themselves), rdinit= (/init is the default).
 */
const char *arch_default_cmdline(void)
{
	return "console=ttyS0 quiet panic=-1 reboot=k pci=off random.trust_cpu=on "
	       "cryptomgr.notests";
}
