/*
 * The guest's half of virtio-console, as Linux's driver does it: the control handshake, receive buffers of a page, output
 * by copies into buffers of its own. On top of a fake_driver; owned by one thread.
 */
#pragma once

#include "support/fake_driver.h"

enum {
	FAKE_CONSOLE_PORTS = 3,
	FAKE_CONSOLE_QUEUES = 8,
	FAKE_CONSOLE_QUEUE_SIZE = 64,
	FAKE_CONSOLE_BUFFER = 4096,
	FAKE_CONSOLE_WRITE_MAX = 32 * 1024,
};

/* VIRTIO 1.2, 5.3.6.2: events of control messages (the kernel's header cannot be included beside virtio_console.h). */
enum {
	FAKE_CONTROL_DEVICE_READY = 0,
	FAKE_CONTROL_PORT_ADD = 1,
	FAKE_CONTROL_PORT_READY = 3,
	FAKE_CONTROL_CONSOLE_PORT = 4,
	FAKE_CONTROL_RESIZE = 5,
	FAKE_CONTROL_PORT_OPEN = 6,
	FAKE_CONTROL_PORT_NAME = 7,
};

struct fake_console_port {
	uint32_t n_adds;
	bool is_console, is_host_open;
	char name[64];
	uint16_t rows, cols;
	uint32_t n_resizes;
};

struct fake_console {
	struct fake_driver driver;
	struct fake_console_port ports[FAKE_CONSOLE_PORTS];
	gpa_t input_buffers[FAKE_CONSOLE_QUEUES][FAKE_CONSOLE_QUEUE_SIZE]; /* by head */
	gpa_t output_buffer[FAKE_CONSOLE_PORTS][FAKE_CONSOLE_QUEUE_SIZE];
};

uint32_t fake_console_input_queue(unsigned port);
uint32_t fake_console_output_queue(unsigned port);

/* Sets up the driver only: no receive buffers, no DEVICE_READY. */
void fake_console_start_bare(struct fake_console *c, const struct guest_mem *mem,
			     struct io_region *region, gpa_t arena, uint64_t features);
/* Features as Linux takes them, queues, control receive buffers, DRIVER_OK, DEVICE_READY. */
void fake_console_start(struct fake_console *c, const struct guest_mem *mem,
			struct io_region *region, gpa_t arena, uint64_t features);
void fake_console_control(struct fake_console *c, uint32_t id, uint16_t event, uint16_t value);
/* Takes control messages: fills ports[], answers PORT_ADD as Linux does (buffers, then PORT_READY). Returns how many. */
unsigned fake_console_service(struct fake_console *c);
void fake_console_open(struct fake_console *c, unsigned port, bool open);
/* Posts up to @n control receive buffers. */
unsigned fake_console_fill_control(struct fake_console *c, unsigned n);
/* Posts up to @n page-sized receive buffers; returns how many fit. */
unsigned fake_console_fill(struct fake_console *c, unsigned port, unsigned n);
/* Queues @n bytes (at most FAKE_CONSOLE_WRITE_MAX) and kicks. False when all buffers are in use. */
bool fake_console_write(struct fake_console *c, unsigned port, const void *data, uint32_t n);
/* Bytes that came in, at most one buffer's; its buffer is posted again. 0: none. @data has a page. */
uint32_t fake_console_read(struct fake_console *c, unsigned port, void *data);
