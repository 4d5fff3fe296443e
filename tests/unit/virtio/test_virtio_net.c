/*
 * virtio-net from the guest's side, on both backends of the reactor: frames of every size come back bit by bit, headers pass,
 * nonsense does not, and a driver that gives no receive buffers neither loses its device nor holds it up.
 */
#include "virtio/virtio_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/num.h"
#include "support/fake_driver.h"
#include "support/rig.h"
#include "virtio/virtio_wire.h"

/* The kernel's configuration space has the name of our configuration. */
#define virtio_net_config virtio_net_wire_config
#include <linux/virtio_net.h>
#undef virtio_net_config

enum {
	MEM = 24 << 20,
	ARENA = 0x1000,
	QUEUE = 256,
	RX = 0,
	TX = 1,
	HEADER = 12,
	FRAME_MAX = 65550,
	BUFFER = 1536, /* as Linux posts them with MRG_RXBUF */
	UNTOUCHED = 0xee,
};
#define RING_FEATURES (1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX)
#define MERGE         (1ull << VIRTIO_NET_F_MRG_RXBUF)
#define CSUMS         (1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM)
#define TSO4          (1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO4)
#define TSO6          (1ull << VIRTIO_NET_F_HOST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_TSO6)
#define MAC           (1ull << VIRTIO_NET_F_MAC)
#define ALL_FEATURES  (RING_FEATURES | MAC | MERGE | CSUMS | TSO4 | TSO6)

static enum reactor_backend backend;

struct machine {
	struct rig rig;
	struct virtio_net *net;
	struct fake_driver driver;
	struct {
		gpa_t gpa;
		uint32_t len;
	} buffers[QUEUE]; /* posted, by head */
	uint64_t arena;   /* behind the rings */
	int n_turns;
};

/* What came back: the header, the frame, the buffers it took. */
struct received {
	struct virtio_net_hdr_v1 header;
	uint8_t frame[FRAME_MAX + 64];
	uint32_t len;
	uint32_t buffer_len[QUEUE]; /* as the used ring says */
};

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13 + 1);
}

static void start(struct machine *m, uint64_t features)
{
	m->driver.arena = ARENA;
	memset(m->driver.queues, 0, sizeof(m->driver.queues));
	fake_driver_start(&m->driver, features, 2, QUEUE);
	m->arena = m->driver.arena;
}

static void open_machine(struct machine *m, uint64_t features)
{
	const struct virtio_net_config config = { .mac = { 2, 1, 2, 3, 4, 5 } };

	*m = (struct machine){ 0 };
	/* Two ranges: what crosses their border comes in more pieces than the guest made. */
	rig_open(&m->rig, backend, MEM / 2);
	assert_int_equal(guest_mem_map_anonymous(&m->rig.mem, GPA(MEM / 2), MEM / 2), 0);
	m->net = virtio_net_new(&config, m->rig.reactor);
	rig_attach(&m->rig, virtio_net_dev(m->net), NULL);
	fake_driver_init(&m->driver, &m->rig.mem, rig_region(&m->rig), GPA(ARENA));
	start(m, features);
}

static void close_machine(struct machine *m)
{
	rig_detach(&m->rig);
	m->net = virtio_net_free(m->net);
	rig_close(&m->rig);
}

static int set_up(void **state)
{
	static struct machine m;

	open_machine(&m, ALL_FEATURES);
	*state = &m;
	return 0;
}

static int tear_down(void **state)
{
	close_machine(*state);
	return 0;
}

static struct virtio_net_stats stats_of(const struct machine *m)
{
	struct virtio_net_stats s;

	virtio_net_stats(m->net, &s);
	return s;
}

static uint64_t dropped(const struct machine *m)
{
	struct virtio_net_stats s = stats_of(m);

	return s.n_dropped_header + s.n_dropped_size + s.n_dropped_no_fit + s.n_dropped_no_buffer;
}

/* Making chains. */

static int add(struct machine *m, uint32_t q_idx, const struct fake_seg *segs, uint16_t n)
{
	int head = fake_driver_add_best(&m->driver, q_idx, segs, n);

	assert_true(head >= 0);
	return head;
}

static void post_at(struct machine *m, gpa_t gpa, uint32_t len, uint16_t pieces)
{
	struct fake_seg segs[QUEUE];
	uint16_t n = fake_segs_cut(segs, gpa, len, pieces, true);

	for (uint32_t i = 0; i < len; i++) /* a border of ranges may lie inside */
		assert_int_equal(
		    guest_mem_write(&m->rig.mem, GPA(gpa.addr + i), &(uint8_t){ UNTOUCHED }, 1), 0);
	int head = add(m, RX, segs, n);
	m->buffers[head].gpa = gpa;
	m->buffers[head].len = len;
}

static void post(struct machine *m, uint32_t len)
{
	post_at(m, fake_driver_alloc(&m->driver, len, 16), len, 1);
}

static void post_many(struct machine *m, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++)
		post(m, len);
}

static void send_at(struct machine *m, gpa_t gpa, const struct virtio_net_hdr_v1 *header,
		    uint32_t len, uint64_t seed, uint16_t pieces)
{
	static const struct virtio_net_hdr_v1 plain;
	struct fake_seg segs[QUEUE];
	const uint8_t *bytes = (const uint8_t *)(header ? header : &plain);

	for (uint32_t i = 0; i < HEADER + len; i++) {
		uint8_t byte = i < HEADER ? bytes[i] : pattern(seed + i - HEADER);
		assert_int_equal(guest_mem_write(&m->rig.mem, GPA(gpa.addr + i), &byte, 1), 0);
	}
	(void)add(m, TX, segs, fake_segs_cut(segs, gpa, HEADER + len, pieces, false));
}

/* A frame of @len bytes, the pattern from @seed on. */
static void send(struct machine *m, const struct virtio_net_hdr_v1 *header, uint32_t len,
		 uint64_t seed, uint16_t pieces)
{
	send_at(m, fake_driver_alloc(&m->driver, HEADER + len, 16), header, len, seed, pieces);
}

/* Driving. */

static void kick(struct machine *m)
{
	(void)fake_driver_kick(&m->driver, RX);
	(void)fake_driver_kick(&m->driver, TX);
}

static void turn(struct machine *m)
{
	reactor_turn(m->rig.reactor, NS_PER_MS);
	m->n_turns++;
}

static unsigned collect_sent(struct machine *m)
{
	uint16_t head;
	uint32_t len;
	unsigned n = 0;

	for (; fake_driver_get_used(&m->driver, TX, &head, &len); n++)
		assert_int_equal(len, 0);
	return n;
}

/* Until @n frames were taken, whatever became of them. */
static void kick_and_wait(struct machine *m, unsigned n)
{
	uint64_t end_ns = rig_deadline();

	kick(m);
	while (n > 0) {
		turn(m);
		unsigned done = collect_sent(m);
		assert_true(done <= n);
		n -= done;
		assert_true(clock_now_ns() < end_ns);
	}
}

static void few_turns(struct machine *m)
{
	for (int i = 0; i < 4; i++)
		turn(m);
}

static void read_memory(struct machine *m, gpa_t gpa, uint8_t *bytes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(guest_mem_read(&m->rig.mem, GPA(gpa.addr + i), bytes + i, 1), 0);
}

/* The next frame, put together as a driver does it; false: none. */
static bool receive(struct machine *m, struct received *r)
{
	uint8_t bytes[FRAME_MAX + 64 + HEADER];
	uint32_t total = 0;
	uint16_t head;

	r->header.num_buffers = 1;
	for (uint16_t i = 0; i < r->header.num_buffers; i++) {
		uint32_t *len = &r->buffer_len[i];

		if (!fake_driver_get_used(&m->driver, RX, &head, len)) {
			assert_int_equal(i, 0); /* num_buffers promised them */
			return false;
		}
		assert_true(*len <= m->buffers[head].len);
		read_memory(m, m->buffers[head].gpa, bytes + total, *len);
		total += *len;
		if (i == 0)
			memcpy(&r->header, bytes, HEADER);
		if (i + 1 < r->header.num_buffers)
			assert_int_equal(*len, m->buffers[head].len); /* used to its end */
		else if (*len < m->buffers[head].len) { /* and not a byte more written */
			uint8_t next;
			read_memory(m, GPA(m->buffers[head].gpa.addr + *len), &next, 1);
			assert_int_equal(next, UNTOUCHED);
		}
	}
	assert_true(total >= HEADER);
	r->len = total - HEADER;
	memcpy(r->frame, bytes + HEADER, r->len);
	return true;
}

static void check_received(struct machine *m, uint32_t len, uint64_t seed)
{
	static struct received r;

	assert_true(receive(m, &r));
	assert_int_equal(r.len, len);
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(r.frame[i], pattern(seed + i));
}

/* Forgets all buffers but those that the device has. */
static void recycle(struct machine *m)
{
	m->driver.arena = m->arena;
}

/* Frames come back. */

static uint32_t next_size(uint32_t len)
{
	static const uint32_t borders[] = { 1514,
					    BUFFER - HEADER,
					    BUFFER - HEADER + 1,
					    2 * BUFFER - HEADER,
					    4096,
					    9014,
					    16384,
					    32768,
					    65535,
					    65536,
					    FRAME_MAX - 1,
					    FRAME_MAX };
	uint32_t next = len < 130 ? len + 1 : len + len / 7;

	for (size_t i = 0; i < ARRAY_SIZE(borders); i++)
		if (len < borders[i] && borders[i] < next)
			next = borders[i];
	return next;
}

static void echo_sizes(uint64_t features, uint32_t buffer_len)
{
	static const uint16_t pieces[] = { 1, 2, 3, 17, 100 };
	struct machine m;
	uint64_t bytes = 0;
	unsigned n = 0;

	open_machine(&m, features);
	for (uint32_t len = 14; len <= FRAME_MAX; len = next_size(len)) {
		recycle(&m);
		post_many(&m, (len + HEADER + buffer_len - 1) / buffer_len, buffer_len);
		send(&m, NULL, len, n, pieces[n % ARRAY_SIZE(pieces)]);
		kick_and_wait(&m, 1);
		check_received(&m, len, n);
		bytes += len;
		n++;
	}
	assert_true(n > 150);
	assert_int_equal(stats_of(&m).n_frames, n);
	assert_int_equal(stats_of(&m).bytes, bytes);
	assert_int_equal(dropped(&m), 0);
	assert_int_equal(stats_of(&m).n_stalls, 0);
	close_machine(&m);
}

static void test_every_size_comes_back_exactly_in_large_buffers(void **state UNUSED)
{
	echo_sizes(MAC, FRAME_MAX + HEADER);
}

static void test_every_size_comes_back_exactly_in_merged_buffers(void **state UNUSED)
{
	echo_sizes(MAC | MERGE, BUFFER);
	echo_sizes(ALL_FEATURES, BUFFER);
}

static void test_every_size_comes_back_exactly_in_odd_buffers(void **state UNUSED)
{
	echo_sizes(ALL_FEATURES, 777);
}

static void test_num_buffers_is_exact_at_the_borders(void **state)
{
	static const struct {
		uint32_t len;
		uint16_t n_buffers;
	} cases[] = { { 14, 1 },  { 87, 1 },  { 88, 1 },  { 89, 2 },
		      { 188, 2 }, { 189, 3 }, { 288, 3 }, { 289, 4 } };
	struct machine *m = *state;
	struct received r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		recycle(m);
		post_many(m, cases[i].n_buffers, 100);
		send(m, NULL, cases[i].len, 0, 1);
		kick_and_wait(m, 1);
		assert_true(receive(m, &r));
		assert_int_equal(r.header.num_buffers, cases[i].n_buffers);
		assert_int_equal(r.len, cases[i].len);
		assert_false(receive(m, &r));
	}
	assert_int_equal(stats_of(m).n_rx_buffers, 1 + 1 + 1 + 2 + 2 + 3 + 3 + 4);
}

static void test_first_buffer_may_be_the_header_alone(void **state)
{
	struct machine *m = *state;
	static struct received r;

	post(m, HEADER);
	post(m, 13);
	post(m, 4000);
	send(m, NULL, 1000, 5, 3);
	kick_and_wait(m, 1);
	assert_true(receive(m, &r));
	assert_int_equal(r.header.num_buffers, 3);
	assert_int_equal(r.buffer_len[0], HEADER);
	assert_int_equal(r.buffer_len[1], 13);
	assert_int_equal(r.buffer_len[2], 1000 - 13);
	assert_int_equal(r.frame[999], pattern(5 + 999));
}

static void test_header_and_buffers_in_any_pieces_are_exact(void **state)
{
	struct machine *m = *state;

	for (uint16_t pieces = 1; pieces < 200; pieces = (uint16_t)(pieces + 7)) {
		recycle(m);
		post_at(m, fake_driver_alloc(&m->driver, 2048, 1), 2048, pieces);
		send(m, NULL, 1500, pieces, (uint16_t)(200 - pieces)); /* the header is cut, too */
		kick_and_wait(m, 1);
		check_received(m, 1500, pieces);
	}
}

static void test_frames_across_memory_ranges_are_exact(void **state)
{
	struct machine *m = *state;

	post_at(m, GPA(MEM / 2 - 700), 3000, 2);
	send_at(m, GPA(MEM / 2 + 4096), NULL, 2000, 9, 2);
	kick_and_wait(m, 1);
	check_received(m, 2000, 9);
	post_at(m, GPA(MEM / 2 + 4096), 3000, 2);
	send_at(m, GPA(MEM / 2 - 13), NULL, 2000, 10, 3);
	kick_and_wait(m, 1);
	check_received(m, 2000, 10);
}

static void test_frame_sent_from_its_receive_buffer_hurts_nobody(void **state)
{
	struct machine *m = *state;
	gpa_t gpa = fake_driver_alloc(&m->driver, 8192, 16);

	post_at(m, gpa, 4096, 1);
	send_at(m, GPA(gpa.addr + 100), NULL, 3000, 0, 5);
	kick_and_wait(m, 1);
	assert_int_equal(stats_of(m).n_frames, 1);
	assert_false(rig_needs_reset(&m->rig));
}

/* Headers. */

static void test_headers_pass_as_they_are(void **state)
{
	static const struct virtio_net_hdr_v1 headers[] = {
		{ 0 },
		{ .hdr_len = 9 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 900, .csum_offset = 98 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		  .hdr_len = 66,
		  .gso_size = 1448,
		  .csum_start = 34,
		  .csum_offset = 16 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		  .gso_type = VIRTIO_NET_HDR_GSO_TCPV6,
		  .hdr_len = 86,
		  .gso_size = 1,
		  .csum_start = 54,
		  .csum_offset = 16 },
		/* hdr_len is a hint (5.1.6.2.2), flags that are not the driver's are ignored. */
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		  .hdr_len = 60000,
		  .gso_size = 65535 },
		{ .flags = 0xfe },
	};
	struct machine *m = *state;
	struct received r;

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		struct virtio_net_hdr_v1 want = headers[i], sent = headers[i];

		sent.num_buffers = 0xabcd; /* the device's to say */
		want.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
		want.num_buffers = 1;
		post(m, BUFFER);
		send(m, &sent, 1000, i, 2);
		kick_and_wait(m, 1);
		assert_true(receive(m, &r));
		assert_memory_equal(&r.header, &want, HEADER);
	}
	assert_int_equal(stats_of(m).n_gso_frames, 3);
}

struct bad_header {
	uint64_t features;
	struct virtio_net_hdr_v1 header;
};

static const struct bad_header bad_headers[] = {
	{ ALL_FEATURES, { .flags = 1, .csum_start = 99, .csum_offset = 0 } },
	{ ALL_FEATURES, { .flags = 1, .csum_start = 0, .csum_offset = 99 } },
	{ ALL_FEATURES, { .flags = 1, .csum_start = 65535, .csum_offset = 65535 } },
	{ ALL_FEATURES, { .flags = 1, .csum_start = 65535, .csum_offset = 1 } },
	{ ALL_FEATURES, { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 100 } },
	{ ALL_FEATURES, { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0 } },
	{ ALL_FEATURES, { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 9 } },
	{ ALL_FEATURES, { .flags = 1, .gso_type = 5 /* UDP_L4 */, .gso_size = 9 } },
	{ ALL_FEATURES, { .flags = 1, .gso_type = 2, .gso_size = 9 } },
	{ ALL_FEATURES,
	  { .flags = 1,
	    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
	    .gso_size = 9 } },
	{ ALL_FEATURES, { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_ECN, .gso_size = 9 } },
	/* Not negotiated. */
	{ MERGE, { .flags = 1 } },
	{ MERGE | CSUMS, { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 9 } },
	{ CSUMS | TSO4, { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 9 } },
	{ CSUMS | TSO6, { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 9 } },
};

static void test_bad_headers_are_dropped_and_the_next_frame_passes(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_headers); i++) {
		struct machine m;

		open_machine(&m, bad_headers[i].features);
		post(&m, BUFFER);
		send(&m, &bad_headers[i].header, 100, 0, 1);
		send(&m, NULL, 100, 77, 1);
		kick_and_wait(&m, 2);
		check_received(&m, 100, 77);
		assert_int_equal(stats_of(&m).n_dropped_header, 1);
		assert_int_equal(dropped(&m), 1);
		assert_int_equal(stats_of(&m).n_frames, 1);
		close_machine(&m);
	}
}

static void test_frames_of_no_possible_size_are_dropped(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 13, FRAME_MAX + 9, 1 << 20 };
	struct machine *m = *state;

	post_many(m, 100, BUFFER);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		send(m, NULL, sizes[i], 0, 3);
		kick_and_wait(m, 1);
		assert_int_equal(stats_of(m).n_dropped_size, i + 1);
	}
	assert_int_equal(dropped(m), ARRAY_SIZE(sizes));
	send(m, NULL, FRAME_MAX + 8, 1, 3); /* with two VLAN tags */
	kick_and_wait(m, 1);
	check_received(m, FRAME_MAX + 8, 1);
}

static void test_frame_that_fits_no_buffer_is_dropped_without_mrg_rxbuf(void **state UNUSED)
{
	struct machine m;

	open_machine(&m, RING_FEATURES);
	post_many(&m, 2, 1000);
	send(&m, NULL, 989, 0, 1);
	send(&m, NULL, 988, 1, 1);
	send(&m, NULL, 100, 2, 1);
	kick_and_wait(&m, 3);
	check_received(&m, 988, 1); /* the buffer was not wasted */
	check_received(&m, 100, 2);
	assert_int_equal(stats_of(&m).n_dropped_no_fit, 1);
	assert_int_equal(dropped(&m), 1);
	close_machine(&m);
}

/* Batches. */

static void test_batch_keeps_its_order_with_few_interrupts(void **state)
{
	enum { N = 200 };
	struct machine *m = *state;
	uint64_t interrupts = rig_stats(&m->rig).n_interrupts;

	post_many(m, N, BUFFER);
	for (unsigned i = 0; i < N; i++)
		send(m, NULL, 64 + i, i * 1000, 1);
	fake_driver_want_interrupt(&m->driver, RX, 0);
	fake_driver_want_no_interrupt(&m->driver, TX);
	m->n_turns = 0;
	kick_and_wait(m, N);
	for (unsigned i = 0; i < N; i++)
		check_received(m, 64 + i, i * 1000);
	assert_in_range(rig_stats(&m->rig).n_interrupts - interrupts, 1, m->n_turns);
	assert_true(m->n_turns < 20);
	assert_true(rig_stats(&m->rig).n_interrupts_suppressed >= 1);
	assert_in_range(rig_stats(&m->rig).n_notify_exits, 1, 4);
}

static void test_large_frames_in_a_batch_take_several_turns_and_all_arrive(void **state UNUSED)
{
	enum { N = 80, ROUNDS = 3 };
	struct machine m;

	open_machine(&m, MERGE | RING_FEATURES);
	for (unsigned round = 0; round < ROUNDS; round++) {
		recycle(&m);
		post_many(&m, N, FRAME_MAX + HEADER);
		for (unsigned i = 0; i < N; i++)
			send(&m, NULL, FRAME_MAX, i, 3);
		m.n_turns = 0;
		kick_and_wait(&m, N);
		assert_true(m.n_turns >= 2); /* others had theirs */
		for (unsigned i = 0; i < N; i++)
			check_received(&m, FRAME_MAX, i);
	}
	assert_int_equal(stats_of(&m).n_stalls, 0);
	close_machine(&m);
}

static void test_queues_that_wrap_many_times_lose_nothing(void **state)
{
	enum { FRAMES = 70000, BATCH = 100 };
	struct machine *m = *state;
	static struct received r;

	for (unsigned sent = 0; sent < FRAMES; sent += BATCH) {
		recycle(m);
		post_many(m, BATCH, 100);
		for (unsigned i = 0; i < BATCH; i++)
			send(m, NULL, 20 + (sent + i) % 60, sent + i, 1);
		kick_and_wait(m, BATCH);
		for (unsigned i = 0; i < BATCH; i++) {
			assert_true(receive(m, &r));
			assert_int_equal(r.len, 20 + (sent + i) % 60);
			assert_int_equal(r.frame[7], pattern(sent + i + 7));
		}
	}
	assert_int_equal(stats_of(m).n_frames, FRAMES);
}

/* Back-pressure. */

static void test_frames_wait_for_buffers_and_go_on_in_order(void **state)
{
	struct machine *m = *state;

	for (unsigned i = 0; i < 5; i++)
		send(m, NULL, 500, i, 2);
	kick(m);
	few_turns(m);
	assert_int_equal(collect_sent(m), 0);
	assert_int_equal(stats_of(m).n_stalls, 1);
	post_many(m, 2, BUFFER);
	kick_and_wait(m, 2);
	check_received(m, 500, 0);
	check_received(m, 500, 1);
	few_turns(m);
	assert_int_equal(collect_sent(m), 0);
	assert_int_equal(stats_of(m).n_stalls, 2);
	post_many(m, 10, BUFFER);
	kick_and_wait(m, 3);
	for (unsigned i = 2; i < 5; i++)
		check_received(m, 500, i);
	assert_int_equal(dropped(m), 0);
}

static void test_frame_waits_until_its_buffers_are_enough(void **state)
{
	struct machine *m = *state;

	send(m, NULL, 5000, 3, 2);
	for (unsigned i = 0; i < 3; i++) {
		post(m, BUFFER);
		kick(m);
		few_turns(m);
		assert_int_equal(collect_sent(m), 0);
	}
	assert_int_equal(stats_of(m).n_stalls, 1);
	post(m, BUFFER);
	kick_and_wait(m, 1);
	check_received(m, 5000, 3);
	assert_int_equal(dropped(m), 0);
}

/* A driver whose receiving side is down must not wait for its transmissions. */
static void test_without_buffers_for_long_frames_are_dropped_until_one_comes(void **state)
{
	struct machine *m = *state;
	uint64_t begin_ns = clock_now_ns();

	for (unsigned i = 0; i < 50; i++)
		send(m, NULL, 500, i, 1);
	kick_and_wait(m, 50);
	assert_true(clock_now_ns() - begin_ns >= NS_PER_S / 2);
	assert_int_equal(stats_of(m).n_dropped_no_buffer, 50);
	assert_int_equal(stats_of(m).n_stalls, 1);
	for (unsigned i = 0; i < 50; i++) { /* now at once */
		send(m, NULL, 500, i, 1);
		kick_and_wait(m, 1);
	}
	assert_int_equal(stats_of(m).n_dropped_no_buffer, 100);
	assert_int_equal(stats_of(m).n_stalls, 1);
	post(m, BUFFER);
	send(m, NULL, 500, 7, 1);
	kick_and_wait(m, 1);
	check_received(m, 500, 7);
	send(m, NULL, 500, 8, 1); /* and now it waits again */
	kick(m);
	few_turns(m);
	assert_int_equal(collect_sent(m), 0);
	assert_int_equal(stats_of(m).n_stalls, 2);
	post(m, BUFFER);
	kick_and_wait(m, 1);
	check_received(m, 500, 8);
}

static void test_second_stall_gets_its_whole_time(void **state)
{
	struct machine *m = *state;
	uint64_t end_ns = clock_now_ns() + NS_PER_S / 5;

	send(m, NULL, 500, 0, 1);
	kick(m);
	while (clock_now_ns() < end_ns)
		turn(m);
	post(m, BUFFER);
	kick_and_wait(m, 1);
	check_received(m, 500, 0);
	uint64_t begin_ns = clock_now_ns();
	send(m, NULL, 500, 1, 1);
	kick_and_wait(m, 1);
	assert_true(clock_now_ns() - begin_ns >= NS_PER_S * 9 / 10);
	assert_int_equal(stats_of(m).n_dropped_no_buffer, 1);
}

/* The end, and broken rules. */

static void test_reset_with_a_frame_held_is_quick_and_forgets_it(void **state)
{
	struct machine *m = *state;
	uint64_t begin_ns = clock_now_ns();

	for (int i = 0; i < 10; i++) {
		recycle(m);
		post(m, BUFFER); /* one is not enough: it is held, too */
		send(m, NULL, 5000, 0, 2);
		kick(m);
		few_turns(m);
		rig_reset(&m->rig);
		start(m, ALL_FEATURES);
	}
	assert_true(clock_now_ns() - begin_ns < 5 * NS_PER_S); /* nobody waited for the timer */
	assert_int_equal(stats_of(m).n_dropped_no_buffer, 10);
	post_many(m, 4, BUFFER);
	send(m, NULL, 5000, 1, 2);
	kick_and_wait(m, 1);
	check_received(m, 5000, 1);
}

static void test_vm_end_with_a_frame_held_ends(void **state UNUSED)
{
	struct machine m;

	open_machine(&m, ALL_FEATURES);
	send(&m, NULL, 500, 0, 1);
	kick(&m);
	few_turns(&m);
	assert_int_equal(stats_of(&m).n_stalls, 1);
	close_machine(&m);
}

static void test_drain_delivers_what_was_queued(void **state)
{
	struct machine *m = *state;

	few_turns(m);
	post_many(m, 100, BUFFER);
	for (unsigned i = 0; i < 100; i++)
		send(m, NULL, 500, i, 1);
	virtio_mmio_drain(m->rig.mmio);
	few_turns(m);
	for (unsigned i = 0; i < 100; i++)
		check_received(m, 500, i);
}

static void test_broken_chains_need_a_reset_and_recover(void **state)
{
	struct machine *m = *state;
	gpa_t gpa = fake_driver_alloc(&m->driver, 4096, 16);
	const struct {
		uint32_t q_idx;
		struct fake_seg seg;
	} cases[] = {
		{ TX, { gpa, HEADER - 1, false } }, { TX, { gpa, 1, false } },
		{ TX, { gpa, 2000, true } },        { RX, { gpa, HEADER - 1, true } },
		{ RX, { gpa, 2000, false } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)add(m, cases[i].q_idx, &cases[i].seg, 1);
		if (cases[i].q_idx == RX)
			send(m, NULL, 500, 0, 1);
		kick(m);
		few_turns(m);
		assert_true(rig_needs_reset(&m->rig));
		assert_int_equal(collect_sent(m), 0);
		rig_reset(&m->rig);
		start(m, ALL_FEATURES);
		assert_false(rig_needs_reset(&m->rig));
		post(m, BUFFER);
		send(m, NULL, 500, i, 1);
		kick_and_wait(m, 1);
		check_received(m, 500, i);
	}
	assert_int_equal(rig_stats(&m->rig).n_guest_faults, ARRAY_SIZE(cases));
}

/* What the device says of itself. */

static void test_configuration_space_is_the_mac(void **state)
{
	struct machine *m = *state;
	assert_int_equal(fake_driver_read(&m->driver, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_NET);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(rig_read(&m->rig, VIRTIO_MMIO_CONFIG + i, 1), i == 0 ? 2 : i);
	for (unsigned i = 6; i < 24; i++)
		assert_int_equal(rig_read(&m->rig, VIRTIO_MMIO_CONFIG + i, 1), 0);
}

static void test_mac_is_the_names_own_and_leaves_room_for_others(void **state UNUSED)
{
	struct virtio_net_config a = virtio_net_config_of("a"), b = virtio_net_config_of("b");
	struct virtio_net_config again = virtio_net_config_of("a");

	assert_memory_equal(a.mac, again.mac, sizeof(a.mac));
	assert_memory_not_equal(a.mac, b.mac, sizeof(a.mac));
	assert_int_equal(a.mac[0] & 3, 2);
	assert_int_equal(b.mac[0] & 3, 2);
	assert_int_equal(a.mac[5] % 16, 0);
	assert_int_equal(b.mac[5] % 16, 0);
}

static void test_offers_what_it_does_and_nothing_else(void **state)
{
	struct machine *m = *state;

	assert_int_equal(fake_driver_offered(&m->driver),
			 ALL_FEATURES | 1ull << VIRTIO_F_VERSION_1);
}

static void test_features_that_need_others_are_refused_alone(void **state)
{
	const struct {
		uint64_t features;
		bool is_good;
	} cases[] = {
		{ 0, true },
		{ MERGE, true },
		{ CSUMS, true },
		{ 1ull << VIRTIO_NET_F_GUEST_CSUM, true },
		{ 1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4, true },
		{ CSUMS | TSO4, true },
		{ CSUMS | TSO6 | MERGE, true },
		{ 1ull << VIRTIO_NET_F_CSUM, false },
		{ 1ull << VIRTIO_NET_F_GUEST_TSO6, false },
		{ TSO4, false },
		{ CSUMS | 1ull << VIRTIO_NET_F_HOST_TSO4, false },
		{ CSUMS | 1ull << VIRTIO_NET_F_HOST_TSO6, false },
		{ 1ull << VIRTIO_NET_F_GUEST_CSUM | TSO4, false },
	};
	struct machine *m = *state;

	rig_reset(&m->rig);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool is_good = fake_driver_negotiate(&m->driver, cases[i].features) &
			       VIRTIO_CONFIG_S_FEATURES_OK;
		assert_int_equal(is_good, cases[i].is_good);
	}
}

#define NET_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static int run_group(const char *name)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_size_comes_back_exactly_in_large_buffers),
		cmocka_unit_test(test_every_size_comes_back_exactly_in_merged_buffers),
		cmocka_unit_test(test_every_size_comes_back_exactly_in_odd_buffers),
		NET_TEST(test_num_buffers_is_exact_at_the_borders),
		NET_TEST(test_first_buffer_may_be_the_header_alone),
		NET_TEST(test_header_and_buffers_in_any_pieces_are_exact),
		NET_TEST(test_frames_across_memory_ranges_are_exact),
		NET_TEST(test_frame_sent_from_its_receive_buffer_hurts_nobody),
		NET_TEST(test_headers_pass_as_they_are),
		cmocka_unit_test(test_bad_headers_are_dropped_and_the_next_frame_passes),
		NET_TEST(test_frames_of_no_possible_size_are_dropped),
		cmocka_unit_test(test_frame_that_fits_no_buffer_is_dropped_without_mrg_rxbuf),
		NET_TEST(test_batch_keeps_its_order_with_few_interrupts),
		cmocka_unit_test(test_large_frames_in_a_batch_take_several_turns_and_all_arrive),
		NET_TEST(test_queues_that_wrap_many_times_lose_nothing),
		NET_TEST(test_frames_wait_for_buffers_and_go_on_in_order),
		NET_TEST(test_frame_waits_until_its_buffers_are_enough),
		NET_TEST(test_without_buffers_for_long_frames_are_dropped_until_one_comes),
		NET_TEST(test_second_stall_gets_its_whole_time),
		NET_TEST(test_reset_with_a_frame_held_is_quick_and_forgets_it),
		cmocka_unit_test(test_vm_end_with_a_frame_held_ends),
		NET_TEST(test_drain_delivers_what_was_queued),
		NET_TEST(test_broken_chains_need_a_reset_and_recover),
		NET_TEST(test_configuration_space_is_the_mac),
		cmocka_unit_test(test_mac_is_the_names_own_and_leaves_room_for_others),
		NET_TEST(test_offers_what_it_does_and_nothing_else),
		NET_TEST(test_features_that_need_others_are_refused_alone),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
	int n_failed = 0;

	backend = REACTOR_AUTO;
	n_failed += run_group("virtio/net, best backend");
	backend = REACTOR_EPOLL;
	n_failed += run_group("virtio/net, epoll");
	return n_failed;
}
