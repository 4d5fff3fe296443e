/* A host that never loses a byte, or asserts. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint8_t *grow(void *ctx, uint8_t *storage, size_t need)
{
	(void)ctx;
	return realloc(storage, need);
}

void host_init(struct host *h, int fd)
{
	*h = (struct host){ .fd = fd };
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	frame_decoder_init(&h->decoder, malloc(FRAME_DECODER_STORAGE_MIN),
			   FRAME_DECODER_STORAGE_MIN, grow, NULL);
}

void host_fini(struct host *h)
{
	if (h->fd >= 0)
		close(h->fd);
	free(h->decoder.storage);
	for (size_t i = 0; i < ARRAY_SIZE(h->bytes); i++)
		free(h->bytes[i]);
}

void host_send(struct host *h, uint16_t type, const void *payload, size_t n)
{
	uint8_t header[FRAME_HEADER_SIZE];

	assert_true(frame_encode_header_for(type, h->sequence++, payload, n, header));
	assert_int_equal(write(h->fd, header, sizeof(header)), sizeof(header));
	if (n > 0)
		assert_int_equal(write(h->fd, payload, n), n);
}

static void on_frame(struct host *h, const struct frame *f)
{
	uint16_t type = f->header.type;

	assert_true(type < ARRAY_SIZE(h->bytes));
	h->n_frames[type]++;
	h->last_type = type;
	h->bytes[type] = realloc(h->bytes[type], h->n_bytes[type] + f->header.length + 1);
	assert_non_null(h->bytes[type]);
	memcpy(h->bytes[type] + h->n_bytes[type], f->payload, f->header.length);
	h->n_bytes[type] += f->header.length;
	h->bytes[type][h->n_bytes[type]] = '\0';
	if (type == FRAME_EXIT) {
		assert_int_equal(f->header.length, sizeof(h->exit));
		memcpy(&h->exit, f->payload, sizeof(h->exit));
		h->has_exit = true;
		if (!h->is_silent)
			host_send(h, FRAME_EXIT_ACK, NULL, 0);
	}
}

/* 1: took something, 0: nothing there, -1: the stream has ended. */
static int take(struct host *h)
{
	uint8_t bytes[32 * 1024];
	ssize_t n = read(h->fd, bytes, sizeof(bytes));

	if (n <= 0)
		return n < 0 && errno == EAGAIN ? 0 : -1;
	for (size_t done = 0; done < (size_t)n;) {
		struct frame f;
		done += frame_decoder_feed(&h->decoder, bytes + done, (size_t)n - done);
		while (frame_decoder_next(&h->decoder, &f))
			on_frame(h, &f);
	}
	assert_int_equal(h->decoder.n_dropped_bytes, 0);
	assert_int_equal(h->decoder.n_lost, 0);
	return 1;
}

bool host_pump(struct host *h)
{
	int res;

	do {
		res = take(h);
	} while (res > 0);
	return res == 0;
}

const char *host_text(const struct host *h, uint16_t type)
{
	return h->bytes[type] != NULL ? (const char *)h->bytes[type] : "";
}
