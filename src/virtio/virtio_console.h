/*
 * virtio-console (VIRTIO 1.2, 5.3): MULTIPORT, three ports, eight queues (5.3.2).
 *
 *	port 0  hvc0, interactive; announced as a console port
 *	port 1  frames (GUEST_PORT_FRAMES)
 *	port 2  relay  (GUEST_PORT_RELAY)
 *
 * All functions and callbacks: reactor thread.
 */
#pragma once

#include "virtio/virtio_dev.h"

enum { VIRTIO_CONSOLE_N_PORTS = 3 };
enum virtio_console_port_id {
	CONSOLE_PORT_TTY = 0,
	CONSOLE_PORT_FRAMES = 1,
	CONSOLE_PORT_RELAY = 2
};

struct virtio_console_port_ops {
	/*
	 * Bytes from the guest. Returns how many were taken; fewer than @n is back-pressure: the
	 * device keeps its place in the guest's buffer (in guest memory, not ours) and offers the
	 * rest after virtio_console_resume. A console port (0) must take everything. Called again
	 * with the rest of the data only after resume.
	 */
	size_t (*output)(void *ctx, const uint8_t *data, size_t n);
	/* The guest posted receive buffers after a short virtio_console_send. Optional. */
	void (*input_ready)(void *ctx);
	/* The guest opened or closed the port. Optional. */
	void (*opened)(void *ctx, bool open);
	/*
	 * The sink refuses for a while only: a guest's reset waits for it, however long, up to virtio_console_cut_short.
	 * Any other sink that still refuses after a second loses what is left.
	 */
	bool must_arrive;
};

struct virtio_console_config {
	const char *names[VIRTIO_CONSOLE_N_PORTS]; /* names[0] may be NULL; borrowed */
	struct virtio_console_port_ops ops[VIRTIO_CONSOLE_N_PORTS];
	void *ctx[VIRTIO_CONSOLE_N_PORTS];
	uint16_t rows, cols; /* of port 0; 0: not known */
};

struct virtio_console;

MUST_CHECK int virtio_console_new(const struct virtio_console_config *config,
				  struct reactor *reactor, struct virtio_console **ret,
				  struct error *err);
struct virtio_console *virtio_console_free(struct virtio_console *c);
struct virtio_dev *virtio_console_dev(struct virtio_console *c);

/*
 * Bytes to the guest: copies what fits into posted receive buffers and returns that count;
 * input_ready follows when there is room again. 0 while the guest has not opened the port.
 */
size_t virtio_console_send(struct virtio_console *c, enum virtio_console_port_id port,
			   const void *data, size_t n);
/*
 * Ends a back-pressure: offers what is pending, then goes on with the queue. Safe from inside any
 * callback.
 */
void virtio_console_resume(struct virtio_console *c, enum virtio_console_port_id port);
/*
 * The VM ends: a reset that waits for a must_arrive sink waits no longer, and none will from now on. What such a sink has
 * not taken then is lost and counted.
 */
void virtio_console_cut_short(struct virtio_console *c);
/* Host side of port @port opened or closed (5.3.6.2 PORT_OPEN); ports start open. */
void virtio_console_set_open(struct virtio_console *c, enum virtio_console_port_id port, bool open);
/* New terminal size of port 0. */
void virtio_console_resize(struct virtio_console *c, uint16_t rows, uint16_t cols);
bool virtio_console_is_open(const struct virtio_console *c, enum virtio_console_port_id port);

struct virtio_console_stats {
	struct {
		uint64_t bytes_out, bytes_in; /* guest to host, host to guest */
		uint64_t n_stalls;            /* times output was not taken whole */
		uint64_t
		    /* Output that a refusing sink still owed when the guest's reset was due */
		    bytes_lost;
	} port[VIRTIO_CONSOLE_N_PORTS];
};
void virtio_console_stats(const struct virtio_console *c, struct virtio_console_stats *ret);
