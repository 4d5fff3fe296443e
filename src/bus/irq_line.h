/*
 * An interrupt line as a device sees it: one pulse of an edge-triggered pin. It leads to an eventfd
 * that the VM binds to a GSI with irqfd, or to a sink where the interrupt controller is in this
 * process (legacy/ioapic.h). fd -1 without a sink is a line that goes nowhere (tests, devices
 * without an interrupt).
 */
#pragma once

#include <stdint.h>

/*
 * Called on any thread, also with the device's lock held: it neither blocks for long nor calls the
 * device.
 */
struct irq_sink {
	void (*pulse)(void *ctx, unsigned pin); /* NULL: none */
	void *ctx;
	unsigned pin;
};

struct irq_line {
	int fd; /* borrowed; -1: the sink, if there is one */
	struct irq_sink sink;
	_Atomic uint64_t n_raised;
};

/* Any thread; one system call at most; never blocks. */
void irq_line_pulse(struct irq_line *line);
