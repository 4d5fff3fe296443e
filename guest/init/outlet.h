/*
 * Where PID 1's news go: frames on port 1 or, when that is not there or breaks, text and sentinels
 * on COM2 (abi/guest_config.h). The rest of PID 1 sends frames and does not ask which. One thread.
 */
#pragma once

#include "channel.h"

enum {
	OUTLET_CHUNK_MAX = 64 * 1024, /* stdout, stderr and kernel log frames */
};

struct outlet {
	struct channel channel;
	const char *com2_path;
	int com2_fd; /* owned; -1: not open, or there is none */
	bool on_com2;
};

/* Takes ownership of @port_fd (-1: start on COM2). @com2_path must outlive the outlet. */
void outlet_init(struct outlet *o, int port_fd, const char *com2_path);
void outlet_fini(struct outlet *o); /* idempotent */

/* Sends one frame, or its meaning as text. What cannot be sent is told on the frame stream itself
 * or not at all. */
void outlet_send(struct outlet *o, uint16_t type, const void *payload, size_t n);
void outlet_phase(struct outlet *o, uint32_t phase, uint64_t time_ns);
/* A line of PID 1's own among the command's standard error: "ktstr-init: " text. */
void outlet_say(struct outlet *o, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* May sources be read? False while the port is behind: that is what bounds memory. */
static inline bool outlet_has_room(const struct outlet *o)
{
	return channel_pending(&o->channel) < OUTLET_CHUNK_MAX;
}
/* Writes what the port takes now; a broken port turns the outlet to COM2. */
void outlet_flush(struct outlet *o);
/* The port is known to be gone: on to COM2. */
void outlet_lose_port(struct outlet *o);
