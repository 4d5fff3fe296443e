/*
 * 82093AA I/O APIC with 24 pins, for machines whose APIC ids do not fit the kernel's own: redirection
 * entries with the extended destination of KVM_FEATURE_MSI_EXT_DEST_ID (15 bits), and an EOI register.
 *
 * It knows nothing of KVM: interrupts leave as messages by config.send. Inputs are pulses, as our
 * devices make them, and none is lost: one that cannot be sent (its pin is masked, or a
 * level-triggered one waits for its EOI) is kept, and sent when that ends. Several of one pin that
 * wait are one, as everywhere with interrupts.
 *
 * Any thread; one lock, which is held during the callbacks: once a write to a redirection entry has
 * returned nothing is sent by the old one.
 */
#pragma once

#include <pthread.h>

#include "bus/io_bus.h"
#include "bus/irq_line.h"

enum { IOAPIC_LEN = 0x1000, IOAPIC_N_PINS = 24 };

/* What a redirection entry says, as the fields of a message-signalled interrupt. */
struct ioapic_message {
	uint32_t destination; /* 15 bits: an APIC id, or a logical one */
	bool logical;
	bool level;
	uint8_t delivery_mode; /* 3 bits */
	uint8_t vector;
};

struct ioapic_config {
	uint64_t base;
	void (*send)(void *ctx, const struct ioapic_message *message);
	/*
	 * @pin became level-triggered, or its message changed: ends of its interrupts (ioapic_eoi)
	 * must be reported from now on. NULL: it is edge-triggered, nobody needs to know.
	 */
	void (*watch)(void *ctx, unsigned pin, const struct ioapic_message *message);
	void *ctx;
};

struct ioapic {
	struct io_region region;
	struct ioapic_config config;
	pthread_mutex_t lock;
	uint8_t select; /* the register that the window shows */
	uint32_t id;
	uint64_t entries[IOAPIC_N_PINS]; /* as the guest reads them */
	uint32_t pending;                /* one bit per pin: pulsed, not sent yet */
};

/* Every pin masked. Borrows config.ctx. */
void ioapic_init(struct ioapic *a, const struct ioapic_config *config);
void ioapic_fini(struct ioapic *a);
/* For a device's line: a pulse of @pin. */
struct irq_sink ioapic_sink(struct ioapic *a, unsigned pin);
/* A processor has ended the interrupt with @vector. */
void ioapic_eoi(struct ioapic *a, uint8_t vector);
