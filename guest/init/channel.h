/*
 * The sending side of port 1: frames queued in memory, written as the port takes them. Never
 * blocks; the caller keeps the queue short by not reading its sources while channel_pending() is
 * large. One thread.
 */
#pragma once

#include "abi/frame.h"

struct channel {
	int fd; /* owned; non-blocking; -1: closed */
	uint64_t sequence;
	uint8_t *bytes; /* owned; [begin, end) is not written yet */
	size_t capacity;
	size_t begin;
	size_t end;
};
#define CHANNEL_INIT ((struct channel){ .fd = -1 })

/* Takes ownership of @fd, which must be non-blocking; -1 makes a closed channel. */
void channel_init(struct channel *c, int fd);
void channel_fini(struct channel *c); /* idempotent */

static inline bool channel_is_open(const struct channel *c)
{
	return c->fd >= 0;
}
static inline size_t channel_pending(const struct channel *c)
{
	return c->end - c->begin;
}

/* Queues one frame. -ENODEV: closed; -EMSGSIZE: above FRAME_PAYLOAD_MAX; -ENOMEM. Nothing is queued
 * then. */
MUST_CHECK int channel_push(struct channel *c, uint16_t type, const void *payload, size_t n);
/*
 * Writes what the port takes now. 0: done, or the port is full (channel_pending() tells). A port
 * whose other end is gone: negative errno, the channel is closed and *@ret_lost has the bytes that
 * were still queued.
 */
MUST_CHECK int channel_flush(struct channel *c, size_t *ret_lost);
/* Gives up the port; returns the bytes still queued, which are lost. */
size_t channel_close(struct channel *c);
