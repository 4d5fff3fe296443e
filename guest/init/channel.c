/* Frames into a growing buffer, and out of it in pieces that a virtio-console port accepts. */
#include "channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	WRITE_MAX = 32 * 1024,     /* what a virtio-console port takes at once */
	KEEP_MAX = 256 * 1024,     /* memory kept between frames */
	CAPACITY_MIN = 128 * 1024, /* a full chunk of output, and small frames behind it */
};

void channel_init(struct channel *c, int fd)
{
	*c = (struct channel){ .fd = fd };
}

void channel_fini(struct channel *c)
{
	(void)channel_close(c); /* the caller has flushed what it wanted to */
}

size_t channel_close(struct channel *c)
{
	size_t lost = channel_pending(c);

	if (c->fd >= 0)
		close(c->fd);
	free(c->bytes);
	*c = (struct channel){ .fd = -1, .sequence = c->sequence };
	return lost;
}

/* Room for @n more bytes at c->end. */
static int reserve(struct channel *c, size_t n)
{
	if (n <= c->capacity - c->end)
		return 0;
	if (c->begin > 0) {
		memmove(c->bytes, c->bytes + c->begin, channel_pending(c));
		c->end -= c->begin;
		c->begin = 0;
	}
	if (n <= c->capacity - c->end)
		return 0;

	size_t capacity = c->end + n; /* both at most a few frames: no overflow */
	if (capacity < CAPACITY_MIN)
		capacity = CAPACITY_MIN;
	uint8_t *bytes = realloc(c->bytes, capacity);
	if (bytes == NULL)
		return -ENOMEM;
	c->bytes = bytes;
	c->capacity = capacity;
	return 0;
}

int channel_push(struct channel *c, uint16_t type, const void *payload, size_t n)
{
	if (!channel_is_open(c))
		return -ENODEV;
	if (n > FRAME_PAYLOAD_MAX)
		return -EMSGSIZE;
	int res = reserve(c, FRAME_HEADER_SIZE + n);
	if (res < 0)
		return res;

	const struct frame_header header = {
		.type = type,
		.sequence = c->sequence++,
		.length = (uint32_t)n,
		.payload_crc = frame_crc32(0, payload, n),
	};
	frame_header_encode(&header, c->bytes + c->end);
	if (n > 0)
		memcpy(c->bytes + c->end + FRAME_HEADER_SIZE, payload, n);
	c->end += FRAME_HEADER_SIZE + n;
	return 0;
}

int channel_flush(struct channel *c, size_t *ret_lost)
{
	while (channel_pending(c) > 0) {
		size_t n = channel_pending(c) < WRITE_MAX ? channel_pending(c) : WRITE_MAX;
		ssize_t wrote = write(c->fd, c->bytes + c->begin, n);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0 && errno == EAGAIN)
			return 0;
		if (wrote <= 0) {
			int res = wrote < 0 ? -errno : -EPIPE;
			*ret_lost = channel_close(c);
			return res;
		}
		c->begin += (size_t)wrote;
	}
	c->begin = c->end = 0;
	if (c->capacity > KEEP_MAX) {
		free(c->bytes);
		c->bytes = NULL;
		c->capacity = 0;
	}
	return 0;
}
