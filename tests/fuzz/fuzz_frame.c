/*
 * The frame decoder under hostile streams in hostile chunks. Random bytes alone would never pass a
 * header checksum, so an input is a little program that writes the stream: raw bytes, good frames,
 * good headers that lie, chunk ends.
 *
 * Properties: bytes in = frames + dropped + buffered; a delivered payload has its header's
 * checksum; storage never exceeds one maximal frame; after finish nothing is buffered.
 */
#include "fuzz.h"

#include "abi/frame.h"

enum { CHUNK_MAX = 1 << 17, OPS_MAX = 4096 };

enum op { OP_RAW, OP_FRAME, OP_LIE, OP_FEED, N_OPS };

struct run {
	struct frame_decoder d;
	size_t grow_limit;
	uint64_t n_in, n_delivered;
	uint8_t chunk[CHUNK_MAX];
	size_t n;
};

static uint8_t *on_grow(void *ctx, uint8_t *storage, size_t need)
{
	const struct run *r = ctx;
	FUZZ_CHECK(need <= FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX);
	return need <= r->grow_limit ? realloc(storage, need) : NULL;
}

static void take_frames(struct run *r)
{
	struct frame f;
	while (frame_decoder_next(&r->d, &f)) {
		FUZZ_CHECK(f.header.length <= FRAME_PAYLOAD_MAX);
		FUZZ_CHECK(frame_crc32(0, f.payload, f.header.length) == f.header.payload_crc);
		r->n_delivered += FRAME_HEADER_SIZE + f.header.length;
	}
	FUZZ_CHECK(r->d.end <= r->d.capacity && r->d.begin <= r->d.end);
	FUZZ_CHECK(r->n_in == r->n_delivered + r->d.n_dropped_bytes + (r->d.end - r->d.begin));
}

static void feed(struct run *r)
{
	for (size_t at = 0; at < r->n;) {
		size_t took = frame_decoder_feed(&r->d, r->chunk + at, r->n - at);
		FUZZ_CHECK(took > 0 && took <= r->n - at);
		at += took;
		r->n_in += took;
		take_frames(r);
	}
	r->n = 0;
}

static void add_raw(struct run *r, struct fuzz_input *in)
{
	r->n += fuzz_take(in, r->chunk + r->n, fuzz_u8(in));
}

static void add_frame(struct run *r, struct fuzz_input *in)
{
	uint8_t *header = r->chunk + r->n, *payload = header + FRAME_HEADER_SIZE;
	uint64_t sequence = fuzz_u8(in);
	size_t length = (size_t)fuzz_u8(in) << (fuzz_u8(in) % 9);
	fuzz_take(in, payload, length);
	FUZZ_CHECK(frame_encode_header_for(FRAME_STDOUT, sequence, payload, length, header));
	r->n += FRAME_HEADER_SIZE + length;
}

static void add_lie(struct run *r, struct fuzz_input *in)
{
	const struct frame_header h = {
		.type = fuzz_u16(in),
		.sequence = fuzz_u8(in),
		.length = fuzz_u32(in) >> (fuzz_u8(in) % 32),
		.payload_crc = fuzz_u32(in),
	};
	frame_header_encode(&h, r->chunk + r->n);
	r->n += FRAME_HEADER_SIZE;
}

static void step(struct run *r, struct fuzz_input *in)
{
	if (r->n > sizeof(r->chunk) / 2) /* the largest step adds 32 + 255 * 256 bytes */
		feed(r);
	switch ((enum op)(fuzz_u8(in) % N_OPS)) {
	case OP_RAW:
		add_raw(r, in);
		break;
	case OP_FRAME:
		add_frame(r, in);
		break;
	case OP_LIE:
		add_lie(r, in);
		break;
	case OP_FEED:
		feed(r);
		break;
	case N_OPS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .p = data, .n = size };
	struct run *r = calloc(1, sizeof(*r));
	uint8_t *storage = malloc(FRAME_DECODER_STORAGE_MIN);
	FUZZ_CHECK(r && storage);
	r->grow_limit = (size_t)1 << (fuzz_u8(&in) % 26);
	frame_decoder_init(&r->d, storage, FRAME_DECODER_STORAGE_MIN, on_grow, r);
	for (int ops = 0; in.n && ops < OPS_MAX; ops++)
		step(r, &in);
	feed(r);
	frame_decoder_finish(&r->d);
	take_frames(r);
	FUZZ_CHECK(r->d.begin == r->d.end);
	free(r->d.storage);
	free(r);
	return 0;
}
