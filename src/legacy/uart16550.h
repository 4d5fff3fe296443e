/*
 * 16550A UART (National PC16550D data sheet): COM1 and COM2, eight byte registers.
 *
 * Register exits come from vCPU threads (one lock per UART). Output goes into a bounded ring and is
 * drained on the reactor, woken by a post: a vCPU never waits for it; beyond UART_RING_SIZE bytes
 * not yet drained, output is dropped and counted. Input is pushed on the reactor thread. The
 * interrupt line is edge-triggered: a pulse whenever the interrupt condition newly holds, and again
 * after an IIR/RBR/THR access that leaves another condition pending.
 */
#pragma once

#include "bus/io_bus.h"
#include "bus/irq_line.h"
#include "reactor/reactor.h"

enum { UART_LEN = 8, UART_RING_SIZE = 256 * 1024, UART_FIFO_SIZE = 16 };

struct uart16550;

struct uart16550_config {
	uint64_t base; /* port or MMIO address */
	const char *name;
	struct reactor *reactor; /* borrowed */
	int irq_fd;              /* borrowed; -1: irq_sink, if there is one */
	struct irq_sink irq_sink;
	/* Reactor thread: output bytes, in order. Takes all of them. */
	void (*output)(void *ctx, const uint8_t *data, size_t n);
	void *ctx;
};

MUST_CHECK int uart16550_new(const struct uart16550_config *config, struct uart16550 **ret,
			     struct error *err);
/* Reactor thread, vCPUs joined; takes a pending post with it. NULL is fine. */
struct uart16550 *uart16550_free(struct uart16550 *u);
struct io_region *uart16550_region(struct uart16550 *u);
/* Reactor thread: delivers what is in the ring now (also at the end of a VM, vCPUs stopped). */
void uart16550_drain(struct uart16550 *u);
/* Reactor thread: bytes typed at the guest; returns how many fit (the ring of typed-ahead bytes is
 * 4 KiB). */
size_t uart16550_input(struct uart16550 *u, const void *data, size_t n);
/* Output bytes lost because the ring was full; any thread. */
uint64_t uart16550_dropped(const struct uart16550 *u);
