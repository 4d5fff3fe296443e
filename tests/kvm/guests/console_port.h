/*
 * A driver for the three ports of our virtio-console (VIRTIO 1.2, 5.3 with MULTIPORT), polling or
 * by interrupts.
 */
#pragma once

#include "vq.h"

enum {
	CONSOLE_MMIO = 0xc0000000u,
	CONSOLE_GSI = 5,
	PORT_TTY = 0,
	PORT_FRAMES = 1,
	PORT_RELAY = 2,
	N_PORTS = 3,
	RX_SIZE = 1024,
	RX_BUFFERS = 8, /* per port */
	TX_CHUNK = 32768,
};

/* What a test wants of the negotiation and of waiting. */
struct console_options {
	bool event_idx;
	bool interrupts;
};

/* Reset, negotiation, queues, and the control dialogue until all ports are there and open on both
 * sides. */
void console_open(const struct console_options *options);
/* Sends all of it; returns when the device has given every buffer back. */
void console_send(unsigned port, const void *data, size_t n);
/* Posts up to VQ_SIZE transmit buffers of @data and kicks once, without waiting for them. */
void console_send_begin(unsigned port, const void *data, size_t buffer_size);
/* Waits for bytes and copies them out: at most RX_SIZE. */
size_t console_receive(unsigned port, uint8_t buffer[RX_SIZE]);
/* For tests that break the rules. */
struct vq *console_transmit_queue(unsigned port);
struct vq *console_receive_queue(unsigned port);
