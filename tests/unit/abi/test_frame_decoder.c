/*
 * The frame protocol's properties: whatever happens to a stream, no payload is delivered that was
 * not sent, later frames are found, every byte is accounted for, and no input costs more than
 * linear work.
 */
#include "abi/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STREAM_MAX = 1 << 16, MAX_FRAMES = 64, SMALL_STORAGE = FRAME_DECODER_STORAGE_MIN };

/* A stream under construction, and where its frames begin. */
struct stream {
	uint8_t bytes[STREAM_MAX];
	size_t n;
	struct {
		size_t offset, size;
		struct frame_header header;
	} frame[MAX_FRAMES];
	size_t n_frames;
	uint64_t next_sequence;
};

static void add_bytes(struct stream *s, const void *data, size_t n)
{
	assert_true(n <= sizeof(s->bytes) - s->n);
	if (n)
		memcpy(s->bytes + s->n, data, n);
	s->n += n;
}

static void add_frame(struct stream *s, uint16_t type, const void *payload, size_t n)
{
	uint8_t header[FRAME_HEADER_SIZE];
	assert_true(frame_encode_header_for(type, s->next_sequence++, payload, n, header));
	assert_true(s->n_frames < MAX_FRAMES);
	s->frame[s->n_frames].offset = s->n;
	s->frame[s->n_frames].size = sizeof(header) + n;
	assert_true(frame_header_decode(header, &s->frame[s->n_frames].header));
	s->n_frames++;
	add_bytes(s, header, sizeof(header));
	add_bytes(s, payload, n);
}

static void add_text(struct stream *s, uint16_t type, const char *text)
{
	add_frame(s, type, text, strlen(text));
}

static void small_stream(struct stream *s)
{
	*s = (struct stream){ 0 };
	add_text(s, FRAME_STDOUT, "hello");
	add_text(s, FRAME_STDERR, "");
	add_text(s, FRAME_KERNEL_LOG, "[    0.000001] x\n");
	add_text(s, FRAME_EXIT, "1KTS0");
	add_text(s, FRAME_STDOUT, "the end");
}

/* A decoder with storage of its own and a record of what came out: one bit per frame of the stream.
 */
struct reader {
	struct frame_decoder d;
	uint8_t *storage;
	size_t largest_need, grow_limit, n_grows;
	const struct stream *expect;
	uint64_t seen;
	size_t n_in, n_delivered_bytes;
};

static uint8_t *on_grow(void *ctx, uint8_t *storage, size_t need)
{
	struct reader *r = ctx;
	assert_ptr_equal(storage, r->storage);
	r->n_grows++;
	r->largest_need = need > r->largest_need ? need : r->largest_need;
	if (need > r->grow_limit)
		return NULL;
	r->storage = realloc(storage, need);
	assert_non_null(r->storage);
	return r->storage;
}

static void reader_init(struct reader *r, const struct stream *expect)
{
	*r = (struct reader){ .expect = expect, .grow_limit = SIZE_MAX };
	r->storage = malloc(SMALL_STORAGE);
	assert_non_null(r->storage);
	frame_decoder_init(&r->d, r->storage, SMALL_STORAGE, on_grow, r);
}

static void reader_fini(struct reader *r)
{
	free(r->storage);
}

/* Every byte that went in is in a frame, dropped, or still buffered. */
static void check_account(const struct reader *r)
{
	assert_int_equal(r->n_in,
			 r->n_delivered_bytes + r->d.n_dropped_bytes + (r->d.end - r->d.begin));
}

static void check_header(const struct frame_header *h, const struct frame_header *want)
{
	assert_int_equal(h->type, want->type);
	assert_int_equal(h->flags, want->flags);
	assert_int_equal(h->sequence, want->sequence);
	assert_int_equal(h->length, want->length);
	assert_int_equal(h->payload_crc, want->payload_crc);
}

static void take_frames(struct reader *r)
{
	struct frame f;
	while (frame_decoder_next(&r->d, &f)) {
		r->n_delivered_bytes += FRAME_HEADER_SIZE + f.header.length;
		const struct stream *s = r->expect;
		if (!s)
			continue;
		size_t i = 0;
		while (i < s->n_frames && s->frame[i].header.sequence != f.header.sequence)
			i++;
		assert_true(i < s->n_frames);
		check_header(&f.header, &s->frame[i].header);
		assert_memory_equal(f.payload, s->bytes + s->frame[i].offset + FRAME_HEADER_SIZE,
				    f.header.length);
		assert_false(r->seen & 1ull << i);
		r->seen |= 1ull << i;
	}
	check_account(r);
}

static void feed(struct reader *r, const void *data, size_t n)
{
	const uint8_t *p = data;
	while (n) {
		size_t took = frame_decoder_feed(&r->d, p, n);
		assert_in_range(took, 1, n); /* else a caller's loop would never end */
		r->n_in += took;
		p += took;
		n -= took;
		take_frames(r);
	}
}

static void finish(struct reader *r)
{
	frame_decoder_finish(&r->d);
	take_frames(r);
	assert_int_equal(r->d.begin, r->d.end);
	assert_int_equal(r->n_in, r->n_delivered_bytes + r->d.n_dropped_bytes);
}

static uint64_t all_of(const struct stream *s)
{
	return (1ull << s->n_frames) - 1;
}

static void test_roundtrip_every_type_comes_back_named(void **state UNUSED)
{
	struct stream s = { 0 };
	size_t n_named = 0;
	for (uint16_t type = 0; type < 128; type++) {
		const char *name = frame_type_name(type);
		if (!name)
			continue;
		n_named++;
		add_text(&s, type, name);
	}
	assert_int_equal(n_named, 31);
	struct reader r;
	reader_init(&r, &s);
	feed(&r, s.bytes, s.n);
	finish(&r);
	assert_int_equal(r.seen, all_of(&s));
	assert_int_equal(r.d.n_dropped_bytes, 0);
	assert_int_equal(r.d.n_resyncs, 0);
	assert_int_equal(r.d.n_lost, 0);
	reader_fini(&r);
}

static void test_decode_every_pair_of_split_points_same_frames(void **state UNUSED)
{
	struct stream s;
	small_stream(&s);
	for (size_t a = 0; a <= s.n; a++) {
		for (size_t b = a; b <= s.n; b++) {
			struct reader r;
			reader_init(&r, &s);
			feed(&r, s.bytes, a);
			feed(&r, s.bytes + a, b - a);
			feed(&r, s.bytes + b, s.n - b);
			assert_int_equal(r.seen,
					 all_of(&s)); /* without finish: nothing is held back */
			assert_int_equal(r.d.n_dropped_bytes, 0);
			reader_fini(&r);
		}
	}
}

static void test_decode_every_chunk_size_same_frames(void **state UNUSED)
{
	struct stream s = { 0 };
	uint8_t payload[6000]; /* larger than the storage to begin with */
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 31);
	for (size_t i = 0; i < 9; i++)
		add_frame(&s, FRAME_PROFRAW, payload, i * 733);
	for (size_t chunk = 1; chunk < 9000; chunk += chunk < 100 ? 1 : 97) {
		struct reader r;
		reader_init(&r, &s);
		for (size_t at = 0; at < s.n; at += chunk)
			feed(&r, s.bytes + at, s.n - at < chunk ? s.n - at : chunk);
		assert_int_equal(r.seen, all_of(&s));
		assert_int_equal(r.d.n_dropped_bytes, 0);
		assert_in_range(r.largest_need, SMALL_STORAGE, sizeof(payload) + FRAME_HEADER_SIZE);
		reader_fini(&r);
	}
}

static void test_decode_every_single_bit_flip_costs_one_frame(void **state UNUSED)
{
	struct stream s;
	small_stream(&s);
	struct stream damaged = s;
	for (size_t bit = 0; bit < s.n * 8; bit++) {
		size_t byte = bit / 8, hit = 0;
		while (s.frame[hit].offset + s.frame[hit].size <= byte)
			hit++;
		damaged.bytes[byte] ^= (uint8_t)(1u << bit % 8);
		struct reader r;
		reader_init(&r, &s); /* checks each payload against the undamaged stream */
		feed(&r, damaged.bytes, s.n);
		finish(&r);
		assert_int_equal(r.seen, all_of(&s) & ~(1ull << hit));
		assert_int_equal(r.d.n_dropped_bytes, s.frame[hit].size);
		bool last = hit + 1 == s.n_frames;
		assert_int_equal(r.d.n_resyncs, last ? 0 : 1);
		assert_int_equal(r.d.n_lost, last ? 0 : 1);
		reader_fini(&r);
		damaged.bytes[byte] = s.bytes[byte];
	}
}

/* The same property for a chunk lost: any one range of bytes removed. */
static void test_decode_every_lost_range_only_touched_frames_lost(void **state UNUSED)
{
	struct stream s;
	small_stream(&s);
	for (size_t a = 0; a < s.n; a++) {
		for (size_t b = a + 1; b <= s.n; b += 3) {
			uint64_t touched = 0;
			for (size_t i = 0; i < s.n_frames; i++)
				if (s.frame[i].offset < b &&
				    a < s.frame[i].offset + s.frame[i].size)
					touched |= 1ull << i;
			struct reader r;
			reader_init(&r, &s);
			feed(&r, s.bytes, a);
			feed(&r, s.bytes + b, s.n - b);
			finish(&r);
			/* A touched one may survive too: a cut between equal bytes. */
			assert_int_equal(all_of(&s) & ~touched & ~r.seen, 0);
			reader_fini(&r);
		}
	}
}

static void test_decode_garbage_between_frames_counted(void **state UNUSED)
{
	static const char *const garbage[] = {
		"x",
		"KTS",
		"KTS1",
		"KTS1KTS1KTS1",
		"KKTS1\x01",
		"\r\nKernel panic - not syncing: KTS\r\n",
		"KTS1: a whole header's worth of text",
	};
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		struct stream s = { 0 };
		add_bytes(&s, garbage[i], strlen(garbage[i]));
		add_text(&s, FRAME_STDOUT, "one");
		add_text(&s, FRAME_STDOUT, "two");
		add_bytes(&s, garbage[i], strlen(garbage[i]));
		add_text(&s, FRAME_STDOUT, "three");
		add_bytes(&s, garbage[i], strlen(garbage[i]));
		struct reader r;
		reader_init(&r, &s);
		feed(&r, s.bytes, s.n);
		finish(&r);
		assert_int_equal(r.seen, all_of(&s));
		assert_int_equal(r.d.n_dropped_bytes, 3 * strlen(garbage[i]));
		assert_int_equal(r.d.n_resyncs, 2);
		assert_int_equal(r.d.n_lost, 0);
		reader_fini(&r);
	}
}

static void test_decode_length_above_maximum_is_noise_and_asks_no_storage(void **state UNUSED)
{
	struct stream s = { 0 };
	uint8_t header[FRAME_HEADER_SIZE];
	frame_header_encode(&(struct frame_header){ .type = 1, .length = FRAME_PAYLOAD_MAX + 1 },
			    header);
	add_bytes(&s, header, sizeof(header));
	add_text(&s, FRAME_STDOUT, "next");
	struct reader r;
	reader_init(&r, &s);
	feed(&r, s.bytes, s.n);
	assert_int_equal(r.seen, 1);
	assert_int_equal(r.d.n_dropped_bytes, sizeof(header));
	assert_int_equal(r.n_grows, 0);
	reader_fini(&r);
}

static void test_decode_largest_payload_delivered_in_bounded_storage(void **state UNUSED)
{
	uint8_t *payload = malloc(FRAME_PAYLOAD_MAX);
	assert_non_null(payload);
	memset(payload, 'K', FRAME_PAYLOAD_MAX);
	uint8_t header[FRAME_HEADER_SIZE];
	assert_true(frame_encode_header_for(FRAME_PROFRAW, 0, payload, FRAME_PAYLOAD_MAX, header));
	struct reader r;
	reader_init(&r, NULL);
	for (int i = 0; i < 2; i++) {
		feed(&r, "?", 1); /* so that the frame does not begin the storage */
		feed(&r, header, sizeof(header));
		feed(&r, payload, FRAME_PAYLOAD_MAX);
	}
	assert_int_equal(r.d.n_frames, 2);
	assert_int_equal(r.n_delivered_bytes, 2 * (FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX));
	assert_int_equal(r.d.n_dropped_bytes, 2);
	assert_int_equal(r.largest_need, FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX);
	reader_fini(&r);
	free(payload);
}

static void test_decode_sequence_gaps_counted_in_frames(void **state UNUSED)
{
	static const struct {
		uint64_t sequence, n_lost;
	} step[] = { { 3, 3 },
		     { 4, 3 },
		     { 10, 8 },
		     { 0, 8 },
		     { 1, 8 },
		     { UINT64_MAX, 8 + UINT64_MAX - 2 },
		     { 0, 8 + UINT64_MAX - 2 } };
	struct reader r;
	reader_init(&r, NULL);
	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		uint8_t header[FRAME_HEADER_SIZE];
		assert_true(frame_encode_header_for(1, step[i].sequence, NULL, 0, header));
		feed(&r, header, sizeof(header));
		assert_int_equal(r.d.n_frames, i + 1);
		assert_int_equal(r.d.n_lost, step[i].n_lost);
	}
	assert_int_equal(r.d.n_dropped_bytes, 0);
	reader_fini(&r);
}

static void test_finish_truncated_end_counts_as_dropped(void **state UNUSED)
{
	struct stream s;
	small_stream(&s);
	for (size_t n = 0; n <= s.n; n++) {
		struct reader r;
		reader_init(&r, &s);
		feed(&r, s.bytes, n);
		uint64_t before = r.seen;
		frame_decoder_finish(&r.d);
		size_t whole = 0, i = 0;
		for (; i < s.n_frames && s.frame[i].offset + s.frame[i].size <= n; i++)
			whole = s.frame[i].offset + s.frame[i].size;
		/* Final without another call of frame_decoder_next. */
		assert_int_equal(r.d.n_dropped_bytes, n - whole);
		take_frames(&r);
		assert_int_equal(r.seen, before);
		assert_int_equal(r.seen, (1ull << i) - 1);
		reader_fini(&r);
	}
}

/* A writer died in the middle of a frame, then another wrote on. */
static void add_truncated(struct stream *s, size_t claimed, size_t written)
{
	static const uint8_t zero[STREAM_MAX];
	uint8_t header[FRAME_HEADER_SIZE];
	frame_header_encode(&(struct frame_header){ .type = FRAME_PROFRAW,
						    .sequence = s->next_sequence++,
						    .length = (uint32_t)claimed,
						    .payload_crc = 0xdeadbeef },
			    header);
	add_bytes(s, header, sizeof(header));
	add_bytes(s, zero, written);
}

static void test_decode_frames_inside_a_truncated_frame_found(void **state UNUSED)
{
	struct stream s = { 0 };
	add_text(&s, FRAME_STDOUT, "before");
	add_truncated(&s, 3000, 100);
	add_text(&s, FRAME_STDOUT, "inside");
	add_truncated(&s, 2900, 50);
	add_text(&s, FRAME_EXIT, "inside both");
	uint8_t filler[4000] = { 0 };
	add_frame(&s, FRAME_STDERR, filler, sizeof(filler)); /* reaches past the claimed ends */
	for (size_t chunk = 1; chunk < s.n; chunk += 13) {
		struct reader r;
		reader_init(&r, &s);
		for (size_t at = 0; at < s.n; at += chunk)
			feed(&r, s.bytes + at, s.n - at < chunk ? s.n - at : chunk);
		assert_int_equal(r.seen, all_of(&s));
		assert_int_equal(r.d.n_dropped_bytes, 2 * FRAME_HEADER_SIZE + 150);
		assert_int_equal(r.d.n_lost, 2);
		assert_int_equal(r.d.n_resyncs, 2);
		reader_fini(&r);
	}
}

static void test_finish_frames_behind_a_promise_not_kept_found(void **state UNUSED)
{
	struct stream s = { 0 };
	add_truncated(&s, FRAME_PAYLOAD_MAX, 10);
	add_text(&s, FRAME_STDOUT, "last words");
	add_truncated(&s, 5000, 0);
	add_text(&s, FRAME_EXIT, "status");
	add_bytes(&s, "KTS1", 4);
	struct reader r;
	reader_init(&r, &s);
	feed(&r, s.bytes, s.n);
	assert_int_equal(r.seen, 0);
	finish(&r);
	assert_int_equal(r.seen, all_of(&s));
	assert_int_equal(r.d.n_dropped_bytes, 2 * FRAME_HEADER_SIZE + 10 + 4);
	reader_fini(&r);
}

/* A payload may hold a captured stream: it must not come alive when the frame around it is damaged.
 */
static void test_decode_old_frames_inside_a_damaged_payload_stay_data(void **state UNUSED)
{
	struct stream inner, s = { 0 };
	small_stream(&inner);
	s.next_sequence = 100;
	add_text(&s, FRAME_STDOUT, "before");
	add_frame(&s, FRAME_RAW_PAYLOAD_OUTPUT, inner.bytes, inner.n);
	add_text(&s, FRAME_STDOUT, "after");
	s.bytes[s.frame[1].offset + s.frame[1].size - 1] ^= 1;
	struct reader r;
	reader_init(&r, &s);
	feed(&r, s.bytes, s.n);
	assert_int_equal(r.seen, 1 | 4);
	assert_int_equal(r.d.n_dropped_bytes, s.frame[1].size);
	reader_fini(&r);
}

static void test_decode_grow_refused_skips_the_frame_unseen(void **state UNUSED)
{
	struct stream inner, s = { 0 };
	small_stream(&inner);
	uint8_t big[9000] = { 0 };
	memcpy(big + 5000, inner.bytes, inner.n); /* whole frames that nobody checked */
	add_text(&s, FRAME_STDOUT, "before");
	add_frame(&s, FRAME_PROFRAW, big, sizeof(big));
	add_text(&s, FRAME_STDOUT, "after");
	for (size_t chunk = 1; chunk < s.n; chunk += 61) {
		struct reader r;
		reader_init(&r, &s);
		r.grow_limit = 8000;
		for (size_t at = 0; at < s.n; at += chunk)
			feed(&r, s.bytes + at, s.n - at < chunk ? s.n - at : chunk);
		assert_int_equal(r.seen, 1 | 4);
		assert_int_equal(r.d.n_dropped_bytes, s.frame[1].size);
		assert_int_equal(r.d.n_lost, 1);
		assert_int_equal(r.n_grows, 1);
		reader_fini(&r);
	}
}

static void test_decode_no_grow_drops_only_what_does_not_fit(void **state UNUSED)
{
	uint8_t storage[SMALL_STORAGE], big[SMALL_STORAGE] = { 0 };
	struct stream s = { 0 };
	add_frame(&s, FRAME_STDOUT, big, SMALL_STORAGE - FRAME_HEADER_SIZE);
	add_frame(&s, FRAME_STDOUT, big, SMALL_STORAGE - FRAME_HEADER_SIZE + 1);
	add_frame(&s, FRAME_STDOUT, big, 1);
	struct reader r = { .expect = &s };
	frame_decoder_init(&r.d, storage, sizeof(storage), NULL, NULL);
	feed(&r, s.bytes, s.n);
	assert_int_equal(r.seen, 1 | 4);
}

/*
 * 64 MiB of good headers, each claiming the maximum with a wrong checksum. One checksum of 16 MiB
 * per header would take hours: meson's time limit for a test is the assertion.
 */
static void test_decode_nested_false_promises_linear_work(void **state UNUSED)
{
	enum { BLOCK = 1 << 16, N_BLOCKS = 1024 };
	uint8_t *block = malloc(BLOCK);
	assert_non_null(block);
	struct reader r;
	reader_init(&r, NULL);
	uint64_t sequence = 0;
	for (size_t b = 0; b < N_BLOCKS; b++) {
		for (size_t at = 0; at < BLOCK; at += FRAME_HEADER_SIZE)
			frame_header_encode(&(struct frame_header){ .type = 1,
								    .sequence = sequence++,
								    .length = FRAME_PAYLOAD_MAX,
								    .payload_crc = 1 },
					    block + at);
		feed(&r, block, BLOCK);
	}
	/* The stream calms down: frames come through again, at the latest behind the last false
	 * promise. */
	memset(block, 0, BLOCK);
	for (size_t n = 0; n <= FRAME_PAYLOAD_MAX; n += BLOCK)
		feed(&r, block, BLOCK);
	uint8_t header[FRAME_HEADER_SIZE];
	assert_true(frame_encode_header_for(FRAME_EXIT, sequence, NULL, 0, header));
	feed(&r, header, sizeof(header));
	finish(&r);
	assert_int_equal(r.d.n_frames, 1);
	assert_true(r.largest_need <= FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX);
	reader_fini(&r);
	free(block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_roundtrip_every_type_comes_back_named),
		cmocka_unit_test(test_decode_every_pair_of_split_points_same_frames),
		cmocka_unit_test(test_decode_every_chunk_size_same_frames),
		cmocka_unit_test(test_decode_every_single_bit_flip_costs_one_frame),
		cmocka_unit_test(test_decode_every_lost_range_only_touched_frames_lost),
		cmocka_unit_test(test_decode_garbage_between_frames_counted),
		cmocka_unit_test(test_decode_length_above_maximum_is_noise_and_asks_no_storage),
		cmocka_unit_test(test_decode_largest_payload_delivered_in_bounded_storage),
		cmocka_unit_test(test_decode_sequence_gaps_counted_in_frames),
		cmocka_unit_test(test_finish_truncated_end_counts_as_dropped),
		cmocka_unit_test(test_decode_frames_inside_a_truncated_frame_found),
		cmocka_unit_test(test_finish_frames_behind_a_promise_not_kept_found),
		cmocka_unit_test(test_decode_old_frames_inside_a_damaged_payload_stay_data),
		cmocka_unit_test(test_decode_grow_refused_skips_the_frame_unseen),
		cmocka_unit_test(test_decode_no_grow_drops_only_what_does_not_fit),
		cmocka_unit_test(test_decode_nested_false_promises_linear_work),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
