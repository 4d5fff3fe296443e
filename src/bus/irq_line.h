/*
 * An interrupt line as a device sees it: an eventfd that the VM binds to a GSI with irqfd. One
 * write is one pulse of an edge-triggered pin. fd -1 is a line that goes nowhere (tests, devices
 * without an interrupt).
 */
#pragma once

#include <stdint.h>

struct irq_line {
	int fd; /* borrowed */
	_Atomic uint64_t n_raised;
};

/* Any thread; one system call; never blocks. */
void irq_line_pulse(struct irq_line *line);
