/*
 * From a byte stream to frames. The buffer's front always is one of four things:
 *
 *	noise     no good header starts here         drop bytes up to the next place where one could
 *	waiting   (part of) a good header or frame   ask for more bytes; the storage is made to fit
 *	damaged   a whole frame, payload CRC wrong   drop its first byte and look for frames inside it
 *	a frame   header and payload are right       deliver
 *
 * Why look inside a damaged frame: when a writer dies inside a frame, or a chunk of the stream is
 * lost, the bytes that the header claims as its payload are the frames that followed. They are found,
 * at the price of a doubt: a payload may also hold frames of another stream, as data. So inside the
 * extent of a damaged frame only a header whose sequence number has not been passed yet counts.
 *
 * Why the work is linear: a hostile stream can be all good headers, each claiming 16 MiB with a wrong
 * payload CRC. Each received byte earns RESCAN_FACTOR bytes of checksum work on damaged frames; a
 * damaged frame that nothing is left for is dropped whole. The savings are capped, so that no burst is
 * longer than RESCAN_FACTOR maximal frames. Moving the buffer's content to the front happens at most
 * once per frame waited for, and is paid by the same account.
 *
 * A header claiming more than ever arrives delays the frames behind it at most until
 * frame_decoder_finish: then the incomplete frame is treated as damaged.
 */
#include "abi/frame.h"

#include <string.h>

enum {
	RESCAN_FACTOR = 4,
	FRAME_SIZE_MAX = FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX,
	RESCAN_CREDIT_MAX = RESCAN_FACTOR * FRAME_SIZE_MAX,
	MAGIC_SIZE = 4,
};

enum front {
	FRONT_NOISE,
	FRONT_WAIT,
	FRONT_TRUNCATED, /* the stream ended inside it */
	FRONT_DAMAGED,
	FRONT_FRAME,
};

/* NOLINTNEXTLINE(readability-non-const-parameter): the storage is written through d->storage. */
void frame_decoder_init(struct frame_decoder *d, uint8_t *storage, size_t capacity,
			uint8_t *(*grow)(void *, uint8_t *, size_t), void *ctx)
{
	if (capacity < FRAME_DECODER_STORAGE_MIN)
		__builtin_trap(); /* our bug; there is no ASSERT in a micro-guest */
	*d = (struct frame_decoder){
		.storage = storage,
		.capacity = capacity,
		.grow = grow,
		.ctx = ctx,
		.in_sync = true,
	};
}

static size_t buffered(const struct frame_decoder *d)
{
	return d->end - d->begin;
}

static void move_to_front(struct frame_decoder *d)
{
	if (d->begin == 0)
		return;
	memmove(d->storage, d->storage + d->begin, buffered(d));
	d->end -= d->begin;
	d->begin = 0;
}

static void advance(struct frame_decoder *d, size_t n)
{
	d->begin += n;
	d->n_suspect_bytes -= n < d->n_suspect_bytes ? n : d->n_suspect_bytes;
}

static void drop(struct frame_decoder *d, size_t n)
{
	advance(d, n);
	d->n_dropped_bytes += n;
	d->in_sync = false;
}

static size_t skip(struct frame_decoder *d, size_t n)
{
	size_t take = n < d->n_skip_bytes ? n : d->n_skip_bytes;
	d->n_skip_bytes -= take;
	d->n_dropped_bytes += take;
	return take;
}

size_t frame_decoder_feed(struct frame_decoder *d, const void *data, size_t n)
{
	if (d->finished)
		__builtin_trap(); /* our bug: frame_decoder_finish was the end */
	size_t skipped = skip(d, n);
	if (d->begin == d->end)
		d->begin = d->end = 0;
	else if (d->end == d->capacity)
		move_to_front(d);
	size_t room = d->capacity - d->end;
	size_t take = n - skipped < room ? n - skipped : room;
	if (take)
		memcpy(d->storage + d->end, (const uint8_t *)data + skipped, take);
	d->end += take;

	/* take <= FRAME_SIZE_MAX for each frame waited for, but a caller's own storage may be
	 * larger. */
	size_t earned = take < FRAME_SIZE_MAX ? take * RESCAN_FACTOR : RESCAN_CREDIT_MAX;
	size_t wanted = RESCAN_CREDIT_MAX - d->rescan_credit;
	d->rescan_credit += (uint32_t)(earned < wanted ? earned : wanted);
	return skipped + take;
}

static bool can_start_frame(const uint8_t *p, size_t n)
{
	static const uint8_t magic[MAGIC_SIZE] = { 'K', 'T', 'S', '1' };
	for (size_t i = 0; i < MAGIC_SIZE && i < n; i++)
		if (p[i] != magic[i])
			return false;
	return true;
}

static void drop_to_magic(struct frame_decoder *d)
{
	const uint8_t *p = d->storage + d->begin;
	size_t n = buffered(d), i = 0;
	while (i < n && !can_start_frame(p + i, n - i))
		i++;
	if (i)
		drop(d, i);
}

static enum front judge_front(const struct frame_decoder *d, struct frame_header *ret)
{
	const uint8_t *p = d->storage + d->begin;
	size_t n = buffered(d);
	if (n < FRAME_HEADER_SIZE)
		return d->finished ? FRONT_NOISE : FRONT_WAIT;
	if (!frame_header_decode(p, ret))
		return FRONT_NOISE;
	if (d->n_suspect_bytes && ret->sequence < d->next_sequence)
		return FRONT_NOISE;
	if (n - FRAME_HEADER_SIZE < ret->length)
		return d->finished ? FRONT_TRUNCATED : FRONT_WAIT;
	if (frame_crc32(0, p + FRAME_HEADER_SIZE, ret->length) != ret->payload_crc)
		return FRONT_DAMAGED;
	return FRONT_FRAME;
}

/* Makes the storage fit the @size bytes of the frame in front; feed moves it there when it runs
 * out. */
static bool reserve(struct frame_decoder *d, size_t size)
{
	if (size <= d->capacity)
		return true;
	uint8_t *storage = d->grow ? d->grow(d->ctx, d->storage, size) : NULL;
	if (!storage)
		return false;
	d->storage = storage;
	d->capacity = size;
	return true;
}

/*
 * The frame's header is good but there is no storage for it. Its payload is skipped by the header's
 * word, not searched: bytes of a payload that nobody checked must not turn into frames.
 */
static void skip_front(struct frame_decoder *d, size_t size)
{
	size_t n = buffered(d);
	drop(d, n);
	d->n_skip_bytes = size - n;
}

/* Looks for frames inside the first @size bytes, which began like a frame and are none. */
static void rescan_front(struct frame_decoder *d, size_t size)
{
	if (d->n_suspect_bytes < size)
		d->n_suspect_bytes = size;
	drop(d, 1);
}

static void drop_damaged(struct frame_decoder *d, size_t size)
{
	if (size > d->rescan_credit) {
		drop(d, size);
		return;
	}
	d->rescan_credit -= (uint32_t)size;
	rescan_front(d, size);
}

/* Drops what is no frame until a whole one is in front (true), or more bytes are needed (false). */
static bool find_frame(struct frame_decoder *d, struct frame_header *ret)
{
	for (;;) {
		drop_to_magic(d);
		size_t n = buffered(d);
		if (n == 0)
			return false;
		struct frame_header h = { 0 };
		enum front front = judge_front(d, &h);
		size_t size = FRAME_HEADER_SIZE + (size_t)h.length;
		switch (front) {
		case FRONT_NOISE:
			drop(d, 1);
			break;
		case FRONT_WAIT:
			if (reserve(d, size))
				return false;
			skip_front(d, size);
			break;
		case FRONT_TRUNCATED:
			rescan_front(d, n);
			break;
		case FRONT_DAMAGED:
			drop_damaged(d, size);
			break;
		case FRONT_FRAME:
			*ret = h;
			return true;
		}
	}
}

bool frame_decoder_next(struct frame_decoder *d, struct frame *ret)
{
	struct frame_header h;
	if (!find_frame(d, &h))
		return false;
	*ret = (struct frame){ .header = h, .payload = d->storage + d->begin + FRAME_HEADER_SIZE };
	advance(d, FRAME_HEADER_SIZE + (size_t)h.length);

	d->n_frames++;
	if (!d->in_sync)
		d->n_resyncs++;
	d->in_sync = true;
	/* A number that was passed already is a writer that began anew: nothing is known to be
	 * lost. */
	if (h.sequence > d->next_sequence)
		d->n_lost += h.sequence - d->next_sequence;
	d->next_sequence = h.sequence + 1;
	return true;
}

void frame_decoder_finish(struct frame_decoder *d)
{
	d->finished = true;
	d->n_skip_bytes = 0;
	struct frame_header h;
	(void)find_frame(d,
			 &h); /* for its drops: without a frame left, the counters are final now */
}
