/*
 * The I/O APIC of legacy/ioapic.c on KVM. A message goes straight to the local APICs
 * (KVM_SIGNAL_MSI): one system call per interrupt, as with an irqfd, and nothing to rewrite when the
 * guest masks a pin or moves an interrupt. GSI routes, whose change waits for a grace period, exist
 * for level-triggered pins alone: by them KVM knows which ends of interrupts to report.
 *
 * Destinations: the guest has 15 bits for one (KVM_FEATURE_MSI_EXT_DEST_ID); KVM takes bits 8 and up
 * of it in the upper half of the address (KVM_X2APIC_API_USE_32BIT_IDS).
 */
#include "arch/x86_64/split_irqchip.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "arch/x86_64/host_error.h"
#include "base/buf.h"
#include "base/log.h"
#include "legacy/ioapic.h"

struct arch_irqchip {
	int vm_fd; /* borrowed */
	struct ioapic ioapic;
	/* Under the I/O APIC's lock: level-triggered pins. */
	bool is_routed[IOAPIC_N_PINS];
	struct kvm_irq_routing_msi routes[IOAPIC_N_PINS];
};

/* struct kvm_irq_routing with its array. */
struct routing {
	uint32_t n, flags;
	struct kvm_irq_routing_entry entries[IOAPIC_N_PINS];
};
static_assert(offsetof(struct routing, entries) == sizeof(struct kvm_irq_routing),
	      "passed to KVM as it is");

int split_irqchip_enable(int vm_fd, struct error *err)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { IOAPIC_N_PINS } };
	struct kvm_enable_cap x2apic = { .cap = KVM_CAP_X2APIC_API,
					 .args = { KVM_X2APIC_API_USE_32BIT_IDS |
						   KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK } };

	if (ioctl(vm_fd, KVM_ENABLE_CAP, &split) < 0)
		return host_error_set(err, errno, "KVM_CAP_SPLIT_IRQCHIP");
	if (ioctl(vm_fd, KVM_ENABLE_CAP, &x2apic) < 0)
		return host_error_set(err, errno, "KVM_CAP_X2APIC_API");
	return 0;
}

static struct kvm_irq_routing_msi msi_of(const struct ioapic_message *m)
{
	return (struct kvm_irq_routing_msi){
		.address_lo =
		    LAPIC_ADDR | (m->destination & 0xFF) << 12 | (uint32_t)m->logical << 2,
		.address_hi = m->destination & ~0xFFu,
		.data = m->vector | (uint32_t)m->delivery_mode << 8 | (uint32_t)m->level << 15,
	};
}

static void on_send(void *ctx, const struct ioapic_message *message)
{
	const struct arch_irqchip *c = ctx;
	struct kvm_irq_routing_msi route = msi_of(message);
	struct kvm_msi msi = { .address_lo = route.address_lo,
			       .address_hi = route.address_hi,
			       .data = route.data };

	/* 0, nobody has that address, is the guest's own affair. */
	if (ioctl(c->vm_fd, KVM_SIGNAL_MSI, &msi) < 0)
		log_debug("KVM_SIGNAL_MSI: %d", -errno);
}

static void on_watch(void *ctx, unsigned pin, const struct ioapic_message *message)
{
	struct arch_irqchip *c = ctx;
	struct routing table = { 0 };

	c->is_routed[pin] = message != NULL;
	if (message)
		c->routes[pin] = msi_of(message);
	for (uint32_t gsi = 0; gsi < IOAPIC_N_PINS; gsi++)
		if (c->is_routed[gsi])
			table.entries[table.n++] = (struct kvm_irq_routing_entry){
				.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI, .u.msi = c->routes[gsi]
			};
	if (ioctl(c->vm_fd, KVM_SET_GSI_ROUTING, &table) < 0)
		log_debug("KVM_SET_GSI_ROUTING: %d", -errno);
}

struct arch_irqchip *arch_irqchip_new(int vm_fd, const struct topology *t)
{
	if (!split_irqchip_is_needed(t))
		return NULL;
	struct arch_irqchip *c = xcalloc(1, sizeof(*c));
	c->vm_fd = vm_fd;
	ioapic_init(&c->ioapic,
		    &(struct ioapic_config){
			.base = IOAPIC_ADDR, .send = on_send, .watch = on_watch, .ctx = c });
	return c;
}

struct arch_irqchip *arch_irqchip_free(struct arch_irqchip *c)
{
	if (c)
		ioapic_fini(&c->ioapic);
	free(c);
	return NULL;
}

struct io_region *arch_irqchip_region(struct arch_irqchip *c)
{
	return &c->ioapic.region;
}

struct irq_sink arch_irqchip_sink(struct arch_irqchip *c, uint32_t gsi)
{
	return ioapic_sink(&c->ioapic, gsi);
}

void arch_irqchip_eoi(struct arch_irqchip *c, uint8_t vector)
{
	ioapic_eoi(&c->ioapic, vector);
}
