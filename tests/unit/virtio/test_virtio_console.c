/*
 * virtio-console against the guest's half in support/fake_console: handshake, flow both ways,
 * refusing sinks, stop with output pending. The group runs on each reactor backend.
 */
#include "virtio/virtio_console.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/num.h"
#include "support/fake_console.h"
#include "support/rig.h"
#include "virtio/virtio_wire.h"

enum { MEM = 32 << 20, ARENA = 0x1000, ROWS = 25, COLS = 80 };
#define RING_FEATURES (1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX)

static enum reactor_backend backend;

/* Byte @i of the stream of @port: lost, repeated or swapped bytes show. */
static uint8_t pattern(unsigned port, uint64_t i)
{
	return (uint8_t)(i * 131 + (i >> 8) * 7 + (i >> 16) * 13 + port * 29);
}

/* The host's end of a port: checks the pattern, takes as much as it is told. */
struct sink {
	unsigned port;
	uint64_t n_bytes;
	size_t take_max;  /* of one call; SIZE_MAX: all */
	size_t chunk_max; /* largest offer seen */
	unsigned n_calls, n_ready, n_opens, n_closes;
	bool does_check;
	bool resumes_inside;
	struct virtio_console *console;
	struct fake_driver *refill; /* a hostile guest: the same chain again, while it is output */
};

static size_t sink_output(void *ctx, const uint8_t *data, size_t n)
{
	struct sink *s = ctx;
	size_t taken = num_min(n, s->take_max);

	s->n_calls++;
	if (s->refill)
		fake_driver_raw_avail(s->refill, fake_console_output_queue(s->port),
				      s->n_calls % 2);
	s->chunk_max = num_max(s->chunk_max, n);
	for (size_t i = 0; s->does_check && i < taken; i++)
		ASSERT(data[i] == pattern(s->port, s->n_bytes + i));
	s->n_bytes += taken;
	if (taken < n && s->resumes_inside)
		virtio_console_resume(s->console, (enum virtio_console_port_id)s->port);
	return taken;
}

static void sink_input_ready(void *ctx)
{
	((struct sink *)ctx)->n_ready++;
}

static void sink_opened(void *ctx, bool open)
{
	struct sink *s = ctx;

	if (open)
		s->n_opens++;
	else
		s->n_closes++;
}

struct machine {
	struct rig rig;
	struct virtio_console *console;
	struct sink sinks[3];
	struct fake_console guest;
};

static int set_up(void **state)
{
	static struct machine m;
	static const struct virtio_console_port_ops ops = { sink_output, sink_input_ready,
							    sink_opened };
	struct virtio_console_config config = {
		.names = { NULL, "ktstr.frames", "ktstr.relay" },
		.ops = { ops, ops, ops },
		.rows = ROWS,
		.cols = COLS,
	};
	struct error err;

	config.ops[CONSOLE_PORT_FRAMES].must_arrive = true;
	m = (struct machine){ 0 };
	rig_open(&m.rig, backend, MEM);
	for (unsigned i = 0; i < 3; i++) {
		m.sinks[i] = (struct sink){ .port = i, .take_max = SIZE_MAX, .does_check = true };
		config.ctx[i] = &m.sinks[i];
	}
	assert_int_equal(virtio_console_new(&config, m.rig.reactor, &m.console, &err), 0);
	for (unsigned i = 0; i < 3; i++)
		m.sinks[i].console = m.console;
	rig_attach(&m.rig, virtio_console_dev(m.console), NULL);
	*state = &m;
	return 0;
}

static int tear_down(void **state)
{
	struct machine *m = *state;

	for (unsigned i = 0; i < 3; i++)
		m->sinks[i].take_max = SIZE_MAX;
	for (unsigned i = 0; i < 3; i++)
		virtio_console_resume(m->console, (enum virtio_console_port_id)i);
	rig_detach(&m->rig);
	m->console = virtio_console_free(m->console);
	rig_close(&m->rig);
	return 0;
}

static struct io_region *region_of(struct machine *m)
{
	return rig_region(&m->rig);
}

static void turns(struct machine *m, int n)
{
	rig_turns(&m->rig, n);
}

/* To the end of the handshake, with the ports 1 and 2 open as their programs would. */
static void boot(struct machine *m, uint64_t features)
{
	fake_console_start(&m->guest, &m->rig.mem, region_of(m), GPA(ARENA), features);
	for (int i = 0; i < 4; i++) {
		turns(m, 2);
		(void)fake_console_service(&m->guest);
	}
	fake_console_open(&m->guest, 1, true);
	fake_console_open(&m->guest, 2, true);
	turns(m, 2);
}

/* Writes bytes [at, at + n) of the stream of @port; false when the guest's buffers are all in use.
 */
static bool write_pattern(struct machine *m, unsigned port, uint64_t at, uint32_t n)
{
	static uint8_t chunk[FAKE_CONSOLE_WRITE_MAX];

	for (uint32_t i = 0; i < n; i++)
		chunk[i] = pattern(port, at + i);
	return fake_console_write(&m->guest, port, chunk, n);
}

/* Sizes that share no factor with a page, a buffer or a power of two. */
static uint32_t odd_size(uint32_t i)
{
	static const uint32_t sizes[] = { 1, 4095, 32768, 7, 32767, 511, 8191, 3, 4097, 20011 };

	return sizes[i % ARRAY_SIZE(sizes)];
}

static struct virtio_mmio_stats mmio_stats(struct machine *m)
{
	return rig_stats(&m->rig);
}

static struct virtio_console_stats console_stats(struct machine *m)
{
	struct virtio_console_stats s;

	virtio_console_stats(m->console, &s);
	return s;
}

/* Handshake. */

static void test_handshake_announces_three_ports(void **state)
{
	struct machine *m = *state;
	const struct fake_console_port *p = m->guest.ports;

	boot(m, RING_FEATURES);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(p[i].n_adds, 1);
		assert_true(p[i].is_host_open);
		assert_int_equal(p[i].is_console, i == 0);
		assert_true(virtio_console_is_open(m->console, (enum virtio_console_port_id)i));
		assert_int_equal(m->sinks[i].n_opens, 1);
	}
	assert_string_equal(p[0].name, "");
	assert_string_equal(p[1].name, "ktstr.frames");
	assert_string_equal(p[2].name, "ktstr.relay");
	assert_int_equal(p[0].rows, ROWS);
	assert_int_equal(p[0].cols, COLS);
	assert_int_equal(p[1].n_resizes, 0);
	assert_int_equal(mmio_stats(m).n_guest_faults, 0);
}

static void test_config_space_tells_size_and_ports(void **state)
{
	struct machine *m = *state;
	const struct io_ops *ops = region_of(m)->ops;

	assert_int_equal(ops->read(region_of(m), VIRTIO_MMIO_CONFIG, 2), COLS);
	assert_int_equal(ops->read(region_of(m), VIRTIO_MMIO_CONFIG + 2, 2), ROWS);
	assert_int_equal(ops->read(region_of(m), VIRTIO_MMIO_CONFIG + 4, 4), 3);
	assert_int_equal(ops->read(region_of(m), VIRTIO_MMIO_CONFIG + 8, 4), 0);
}

static void test_guest_closing_a_port_is_told(void **state)
{
	struct machine *m = *state;

	boot(m, RING_FEATURES);
	fake_console_open(&m->guest, 2, false);
	turns(m, 2);
	assert_false(virtio_console_is_open(m->console, CONSOLE_PORT_RELAY));
	assert_int_equal(m->sinks[2].n_closes, 1);
	assert_int_equal(m->sinks[1].n_closes, 0);
}

static void test_host_closing_a_port_is_told(void **state)
{
	struct machine *m = *state;

	boot(m, RING_FEATURES);
	virtio_console_set_open(m->console, CONSOLE_PORT_RELAY, false);
	turns(m, 1);
	assert_int_equal(fake_console_service(&m->guest), 1);
	assert_false(m->guest.ports[2].is_host_open);
	virtio_console_set_open(m->console, CONSOLE_PORT_RELAY, true);
	turns(m, 1);
	assert_int_equal(fake_console_service(&m->guest), 1);
	assert_true(m->guest.ports[2].is_host_open);
}

static void test_resize_sends_the_latest_size(void **state)
{
	struct machine *m = *state;

	virtio_console_resize(m->console, 30, 100); /* before there is a guest */
	boot(m, RING_FEATURES);
	assert_int_equal(m->guest.ports[0].rows, 30);
	assert_int_equal(m->guest.ports[0].n_resizes, 1);
	virtio_console_resize(m->console, 30, 100); /* no change, no message */
	virtio_console_resize(m->console, 50, 132);
	turns(m, 1);
	(void)fake_console_service(&m->guest);
	assert_int_equal(m->guest.ports[0].n_resizes, 2);
	assert_int_equal(m->guest.ports[0].rows, 50);
	assert_int_equal(m->guest.ports[0].cols, 132);
}

static void test_control_without_buffers_is_bounded(void **state)
{
	struct machine *m = *state;

	fake_console_start_bare(&m->guest, &m->rig.mem, region_of(m), GPA(ARENA), RING_FEATURES);
	for (int i = 0; i < 5000; i++) {
		fake_console_control(&m->guest, UINT32_MAX, FAKE_CONTROL_DEVICE_READY, 1);
		fake_console_control(&m->guest, 1, FAKE_CONTROL_PORT_READY, 1);
		virtio_console_resize(m->console, (uint16_t)(1 + i % 50), 80);
		turns(m, 1); /* taken at once: Linux spins on this queue */
	}
	(void)fake_console_fill_control(&m->guest, 64);
	for (int i = 0; i < 4; i++) {
		turns(m, 2);
		(void)fake_console_service(&m->guest);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(m->guest.ports[i].n_adds, 1);
	assert_int_equal(m->guest.ports[0].n_resizes, 1);
	assert_int_equal(m->guest.ports[0].rows, 50);
	assert_int_equal(mmio_stats(m).n_guest_faults, 0);
}

static void test_control_nonsense_is_ignored(void **state)
{
	static const struct {
		uint32_t id;
		uint16_t event, value;
	} cases[] = {
		{ 3, FAKE_CONTROL_PORT_READY, 1 },
		{ UINT32_MAX, FAKE_CONTROL_PORT_OPEN, 1 },
		{ 0, 99, 1 },
		{ 1, FAKE_CONTROL_PORT_ADD, 1 },
		{ 1, FAKE_CONTROL_PORT_READY, 0 },
		{ 2, FAKE_CONTROL_RESIZE, 7 },
		{ 0, FAKE_CONTROL_DEVICE_READY, 0 },
	};
	struct machine *m = *state;
	struct fake_seg three_bytes = { GPA(ARENA), 3, false };
	struct fake_seg only_writable = { GPA(MEM - 16), 16, true };

	boot(m, RING_FEATURES);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_console_control(&m->guest, cases[i].id, cases[i].event, cases[i].value);
		turns(m, 1);
	}
	assert_true(fake_driver_add(&m->guest.driver, 3, &three_bytes, 1) >= 0);
	assert_true(fake_driver_add(&m->guest.driver, 3, &only_writable, 1) >= 0);
	(void)fake_driver_kick(&m->guest.driver, 3);
	turns(m, 2);
	assert_int_equal(fake_console_service(&m->guest), 0);
	assert_int_equal(mmio_stats(m).n_guest_faults, 0);
	assert_int_equal(m->sinks[0].n_opens + m->sinks[1].n_opens + m->sinks[2].n_opens, 3);
}

/* Output. */

static void flow_through_slow_sinks(struct machine *m, uint64_t features)
{
	enum { TOTAL = 4 << 20 };
	uint64_t written[3] = { 0 };
	uint32_t i = 0;

	boot(m, features);
	m->sinks[1].take_max = 4099;
	m->sinks[2].take_max = 13337;
	while (m->sinks[1].n_bytes < TOTAL || m->sinks[2].n_bytes < TOTAL) {
		for (unsigned port = 1; port < 3; port++) {
			uint32_t n = (uint32_t)num_min(odd_size(i++), TOTAL - written[port]);

			if (n > 0 && write_pattern(m, port, written[port], n))
				written[port] += n;
		}
		turns(m, 1);
		virtio_console_resume(m->console, CONSOLE_PORT_FRAMES);
		if (i % 3)
			virtio_console_resume(m->console, CONSOLE_PORT_RELAY);
	}
	turns(m, 2);
	assert_int_equal(m->sinks[1].n_bytes, TOTAL);
	assert_int_equal(m->sinks[2].n_bytes, TOTAL);
	assert_int_equal(console_stats(m).port[1].bytes_out, TOTAL);
	assert_true(console_stats(m).port[1].n_stalls > 100);
	assert_int_equal(mmio_stats(m).n_guest_faults, 0);
}

static void test_output_through_slow_sinks_is_byte_exact(void **state)
{
	flow_through_slow_sinks(*state, 0);
}

static void test_output_through_slow_sinks_with_event_idx_is_byte_exact(void **state)
{
	flow_through_slow_sinks(*state, RING_FEATURES);
}

static void test_output_refused_stays_in_guest_memory(void **state)
{
	struct machine *m = *state;
	uint64_t written = 0;

	boot(m, RING_FEATURES);
	m->sinks[1].take_max = 0;
	uint64_t kicks = m->guest.driver.n_kicks;
	while (write_pattern(m, 1, written, FAKE_CONSOLE_WRITE_MAX)) {
		written += FAKE_CONSOLE_WRITE_MAX;
		turns(m, 1);
	}
	assert_int_equal(written, FAKE_CONSOLE_QUEUE_SIZE * FAKE_CONSOLE_WRITE_MAX);
	assert_int_equal(m->sinks[1].n_calls, 1); /* asked once, then not before resume */
	assert_int_equal(m->sinks[1].chunk_max, FAKE_CONSOLE_WRITE_MAX);
	assert_int_equal(m->guest.driver.n_kicks, kicks + 1); /* no kicks for nothing */
	/* The other ports go on. */
	assert_true(write_pattern(m, 2, 0, 1000));
	turns(m, 1);
	assert_int_equal(m->sinks[2].n_bytes, 1000);
	m->sinks[1].take_max = SIZE_MAX;
	virtio_console_resume(m->console, CONSOLE_PORT_FRAMES);
	turns(m, 4);
	assert_int_equal(m->sinks[1].n_bytes, written);
}

static void test_tty_flood_is_taken_in_bounded_turns(void **state)
{
	enum { ROUNDS = 8 };
	struct machine *m = *state;
	uint64_t written = 0;

	boot(m, RING_FEATURES);
	for (int round = 0; round < ROUNDS; round++) {
		while (write_pattern(m, 0, written, FAKE_CONSOLE_WRITE_MAX))
			written += FAKE_CONSOLE_WRITE_MAX;
		uint64_t before = m->sinks[0].n_bytes;
		turns(m, 1);
		assert_true(m->sinks[0].n_bytes > before);
		assert_true(m->sinks[0].n_bytes - before <= 1 << 20);
		turns(m, 4);
		assert_int_equal(m->sinks[0].n_bytes, written);
	}
	assert_int_equal(written,
			 (uint64_t)ROUNDS * FAKE_CONSOLE_QUEUE_SIZE * FAKE_CONSOLE_WRITE_MAX);
}

static void test_output_of_any_chain_shape_is_in_order(void **state)
{
	struct machine *m = *state;
	struct fake_driver *d = &m->guest.driver;
	gpa_t page = GPA(MEM - 4096);
	uint8_t bytes[300];
	const struct fake_seg direct[] = { { page, 100, false },
					   { GPA(page.addr + 100), 1, false },
					   { page, 7, true } };
	const struct fake_seg indirect[] = { { GPA(page.addr + 101), 99, false },
					     { GPA(page.addr + 200), 100, false } };

	boot(m, RING_FEATURES);
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = pattern(1, i);
	assert_int_equal(guest_mem_write(&m->rig.mem, page, bytes, sizeof(bytes)), 0);
	m->sinks[1].take_max = 33;
	assert_true(fake_driver_add(d, 5, direct, 3) >= 0);
	assert_true(fake_driver_add(d, 5, &direct[2], 1) >= 0); /* nothing to read: given back */
	assert_true(fake_driver_add_indirect(d, 5, indirect, 2) >= 0);
	(void)fake_driver_kick(d, 5);
	for (int i = 0; i < 20; i++) {
		turns(m, 1);
		virtio_console_resume(m->console, CONSOLE_PORT_FRAMES);
	}
	assert_int_equal(m->sinks[1].n_bytes, 300);
	for (uint32_t len = 9, n = 0; n < 3; n++) {
		uint16_t head;

		assert_true(fake_driver_get_used(d, 5, &head, &len));
		assert_int_equal(len, 0);
	}
}

static void test_resume_from_inside_output_goes_on_in_the_next_turn(void **state)
{
	struct machine *m = *state;

	boot(m, RING_FEATURES);
	m->sinks[1].take_max = 100;
	m->sinks[1].resumes_inside = true;
	assert_true(write_pattern(m, 1, 0, 1000));
	turns(m, 1);
	assert_true(m->sinks[1].n_calls <
		    10); /* a sink that cheats like this does not hold the reactor */
	turns(m, 12);
	assert_int_equal(m->sinks[1].n_bytes, 1000);
}

/* Input. */

static void test_input_in_odd_sizes_is_byte_exact(void **state)
{
	enum { TOTAL = 2 << 20 };
	static uint8_t chunk[FAKE_CONSOLE_WRITE_MAX];
	struct machine *m = *state;
	uint64_t sent = 0;
	uint64_t got = 0;

	boot(m, RING_FEATURES);
	for (uint32_t i = 0; got < TOTAL; i++) {
		uint8_t page[FAKE_CONSOLE_BUFFER];
		size_t n = num_min(odd_size(i), TOTAL - sent);

		for (size_t k = 0; k < n; k++)
			chunk[k] = pattern(2, sent + k);
		sent += virtio_console_send(m->console, CONSOLE_PORT_RELAY, chunk, n);
		turns(m, 1);
		for (uint32_t len; i % 5 != 0 && (len = fake_console_read(&m->guest, 2, page)) > 0;)
			for (uint32_t k = 0; k < len; k++)
				assert_int_equal(page[k], pattern(2, got++));
	}
	assert_int_equal(console_stats(m).port[2].bytes_in, TOTAL);
}

static void test_input_without_buffers_waits_for_them(void **state)
{
	struct machine *m = *state;
	uint8_t bytes[8192] = { 0 };
	uint8_t page[FAKE_CONSOLE_BUFFER];

	boot(m, RING_FEATURES);
	size_t room = (size_t)FAKE_CONSOLE_QUEUE_SIZE * FAKE_CONSOLE_BUFFER;
	for (size_t sent = 0; sent < room; sent += sizeof(bytes)) {
		assert_int_equal(
		    virtio_console_send(m->console, CONSOLE_PORT_FRAMES, bytes, sizeof(bytes)),
		    sizeof(bytes));
		turns(m, 1); /* a queue gives its size's worth of chains a turn */
		virtio_mmio_drain(m->rig.mmio);
	}
	assert_int_equal(virtio_console_send(m->console, CONSOLE_PORT_FRAMES, bytes, 1), 0);
	turns(m, 3);
	assert_int_equal(m->sinks[1].n_ready, 0);
	assert_int_equal(fake_console_read(&m->guest, 1, page), FAKE_CONSOLE_BUFFER);
	turns(m, 2);
	assert_int_equal(m->sinks[1].n_ready, 1);
	assert_int_equal(virtio_console_send(m->console, CONSOLE_PORT_FRAMES, bytes, 1), 1);
	turns(m, 2);
	assert_int_equal(m->sinks[1].n_ready, 1);
}

static void test_input_to_a_closed_port_waits_for_the_open(void **state)
{
	struct machine *m = *state;

	assert_int_equal(virtio_console_send(m->console, CONSOLE_PORT_FRAMES, "x", 1), 0);
	boot(m, RING_FEATURES); /* opens it */
	assert_int_equal(m->sinks[1].n_ready, 1);
	fake_console_open(&m->guest, 1, false);
	turns(m, 2);
	assert_int_equal(virtio_console_send(m->console, CONSOLE_PORT_FRAMES, "x", 1), 0);
	fake_console_open(&m->guest, 1, true);
	turns(m, 2);
	assert_int_equal(m->sinks[1].n_ready, 2);
	assert_int_equal(virtio_console_send(m->console, CONSOLE_PORT_FRAMES, "x", 1), 1);
}

/* Stop. */

static void reset_begin(struct rig_vcpu *v, struct machine *m)
{
	*v = (struct rig_vcpu){ .rig = &m->rig, .off = VIRTIO_MMIO_STATUS };
	rig_vcpu_begin(v);
}

/* Queues @n full writes on @port; the kick waits for a turn of the reactor. */
static void queue_output(struct machine *m, unsigned port, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_true(write_pattern(m, port, (uint64_t)i * FAKE_CONSOLE_WRITE_MAX,
					  FAKE_CONSOLE_WRITE_MAX));
}

static void test_reset_delivers_output_that_is_still_queued(void **state)
{
	struct machine *m = *state;
	struct rig_vcpu v;

	boot(m, RING_FEATURES);
	for (unsigned port = 0; port < 3; port++)
		queue_output(m, port, FAKE_CONSOLE_QUEUE_SIZE); /* and no turn of the reactor */
	reset_begin(&v, m);
	rig_vcpu_end(&v);
	for (unsigned port = 0; port < 3; port++) {
		assert_int_equal(m->sinks[port].n_bytes,
				 (uint64_t)FAKE_CONSOLE_QUEUE_SIZE * FAKE_CONSOLE_WRITE_MAX);
		assert_int_equal(console_stats(m).port[port].bytes_lost, 0);
		assert_int_equal(m->sinks[port].n_closes, 1);
	}
	m->sinks[1].n_bytes = 0;
	boot(m, RING_FEATURES); /* a second life */
	assert_true(write_pattern(m, 1, 0, 5000));
	turns(m, 2);
	assert_int_equal(m->sinks[1].n_bytes, 5000);
}

static void test_reset_with_output_in_flight_waits_for_the_sink(void **state)
{
	struct machine *m = *state;
	struct rig_vcpu v;

	boot(m, RING_FEATURES);
	m->sinks[1].take_max = 777;
	queue_output(m, 1, 3);
	turns(m, 1);
	assert_int_equal(m->sinks[1].n_bytes, 777);
	reset_begin(&v, m);
	for (int i = 0; i < 30; i++)
		reactor_turn(m->rig.reactor, NS_PER_MS);
	assert_false(v.is_done); /* the chain is still held */
	m->sinks[1].take_max = SIZE_MAX;
	virtio_console_resume(m->console, CONSOLE_PORT_FRAMES);
	rig_vcpu_end(&v);
	assert_int_equal(m->sinks[1].n_bytes, 3 * FAKE_CONSOLE_WRITE_MAX);
	assert_int_equal(console_stats(m).port[1].bytes_lost, 0);
}

static void test_reset_with_a_sink_that_never_takes_ends_and_counts(void **state)
{
	struct machine *m = *state;
	struct rig_vcpu v;

	boot(m, RING_FEATURES);
	m->sinks[2].take_max = 1;
	queue_output(m, 2, 3);
	turns(m, 1);
	reset_begin(&v, m);
	rig_vcpu_end(&v);
	/* One byte when it was kicked. The stop asked no refusing sink again without its resume. */
	assert_int_equal(m->sinks[2].n_bytes, 1);
	assert_int_equal(console_stats(m).port[2].bytes_lost, 3 * FAKE_CONSOLE_WRITE_MAX - 1);
	virtio_console_resume(m->console, CONSOLE_PORT_RELAY); /* late: nothing dangles */
	turns(m, 2);
	assert_int_equal(m->sinks[2].n_bytes, 1);
}

static void test_reset_by_a_guest_that_refills_forever_ends(void **state)
{
	struct machine *m = *state;
	struct fake_driver *d = &m->guest.driver;
	struct rig_vcpu v;

	boot(m, RING_FEATURES);
	fake_driver_raw_desc(d, 5, 0, MEM - 4096, 1, 0, 0);
	fake_driver_raw_desc(d, 5, 1, MEM - 4096, 1, 0, 0);
	fake_driver_raw_avail(d, 5, 0);
	m->sinks[1].does_check = false;
	m->sinks[1].refill = d;
	(void)fake_driver_kick(d, 5);
	turns(m, 2);
	reset_begin(&v, m);
	unsigned most = 0;
	while (!v.is_done) {
		unsigned before = m->sinks[1].n_calls;

		reactor_turn(m->rig.reactor, NS_PER_MS);
		most = (unsigned)num_max(most, m->sinks[1].n_calls - before);
	}
	rig_vcpu_end(&v);
	/* A turn's worth: 1 MiB, of which a chain costs 256 bytes and more. */
	assert_in_range(most, 1, (1 << 20) / 256);
}

static void test_vm_stop_with_a_vcpu_waiting_in_reset_ends(void **state)
{
	struct machine *m = *state;
	struct rig_vcpu v;

	boot(m, RING_FEATURES);
	m->sinks[1].take_max = 0;
	queue_output(m, 1, 1);
	turns(m, 1);
	reset_begin(&v, m);
	for (int i = 0; i < 20; i++)
		reactor_turn(m->rig.reactor, NS_PER_MS);
	assert_false(v.is_done);
	rig_stop_begin(&m->rig);
	rig_vcpu_end(&v);
	m->sinks[1].take_max = SIZE_MAX;
	virtio_console_resume(m->console, CONSOLE_PORT_FRAMES);
	turns(m, 6);
	assert_true(m->rig.is_stopped);
	assert_int_equal(m->sinks[1].n_bytes, FAKE_CONSOLE_WRITE_MAX);
}

/* Longer than a sink that may refuse for ever gets: 1 s. */
static void test_reset_with_a_sink_that_must_take_waits_until_it_does(void **state)
{
	struct machine *m = *state;
	struct rig_vcpu v;

	boot(m, RING_FEATURES);
	m->sinks[1].take_max = 0;
	queue_output(m, 1, 2);
	turns(m, 1);
	reset_begin(&v, m);
	uint64_t until_ns = clock_now_ns() + 1500 * NS_PER_MS;
	while (clock_now_ns() < until_ns)
		reactor_turn(m->rig.reactor, 10 * NS_PER_MS);
	assert_false(v.is_done);
	m->sinks[1].take_max = SIZE_MAX;
	virtio_console_resume(m->console, CONSOLE_PORT_FRAMES);
	rig_vcpu_end(&v);
	assert_int_equal(m->sinks[1].n_bytes, 2 * FAKE_CONSOLE_WRITE_MAX);
	assert_int_equal(console_stats(m).port[1].bytes_lost, 0);
}

/* Which otherwise waits for ever: see above. */
static void test_cut_short_ends_a_reset_that_waits(void **state)
{
	struct machine *m = *state;
	struct rig_vcpu v;

	boot(m, RING_FEATURES);
	m->sinks[1].take_max = 0;
	queue_output(m, 1, 2);
	turns(m, 1);
	reset_begin(&v, m);
	for (int i = 0; i < 20; i++)
		reactor_turn(m->rig.reactor, NS_PER_MS);
	assert_false(v.is_done);
	virtio_console_cut_short(m->console);
	rig_vcpu_end(&v);
	assert_int_equal(console_stats(m).port[1].bytes_lost, 2 * FAKE_CONSOLE_WRITE_MAX);
}

static void test_drain_takes_everything_without_a_turn(void **state)
{
	struct machine *m = *state;

	boot(m, RING_FEATURES);
	for (unsigned port = 0; port < 3; port++)
		queue_output(m, port, FAKE_CONSOLE_QUEUE_SIZE);
	virtio_mmio_drain(m->rig.mmio);
	for (unsigned port = 0; port < 3; port++)
		assert_int_equal(m->sinks[port].n_bytes,
				 (uint64_t)FAKE_CONSOLE_QUEUE_SIZE * FAKE_CONSOLE_WRITE_MAX);
}

static void test_name_too_long_is_refused(void **state)
{
	char name[200];
	static const struct virtio_console_port_ops ops = { .output = sink_output };
	struct virtio_console_config config = { .names = { NULL, name, NULL },
						.ops = { ops, ops, ops } };
	struct virtio_console *c;
	struct machine *m = *state;
	struct error err;

	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(virtio_console_new(&config, m->rig.reactor, &c, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "too long"));
}

#define CONSOLE_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

/* These wait for the second that a stop grants refusing sinks: once is enough. */
static int run_slow_group(const char *name)
{
	const struct CMUnitTest tests[] = {
		CONSOLE_TEST(test_reset_with_a_sink_that_never_takes_ends_and_counts),
		CONSOLE_TEST(test_reset_by_a_guest_that_refills_forever_ends),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

static int run_group(const char *name)
{
	const struct CMUnitTest tests[] = {
		CONSOLE_TEST(test_handshake_announces_three_ports),
		CONSOLE_TEST(test_config_space_tells_size_and_ports),
		CONSOLE_TEST(test_guest_closing_a_port_is_told),
		CONSOLE_TEST(test_host_closing_a_port_is_told),
		CONSOLE_TEST(test_resize_sends_the_latest_size),
		CONSOLE_TEST(test_control_without_buffers_is_bounded),
		CONSOLE_TEST(test_control_nonsense_is_ignored),
		CONSOLE_TEST(test_output_through_slow_sinks_is_byte_exact),
		CONSOLE_TEST(test_output_through_slow_sinks_with_event_idx_is_byte_exact),
		CONSOLE_TEST(test_output_refused_stays_in_guest_memory),
		CONSOLE_TEST(test_tty_flood_is_taken_in_bounded_turns),
		CONSOLE_TEST(test_output_of_any_chain_shape_is_in_order),
		CONSOLE_TEST(test_resume_from_inside_output_goes_on_in_the_next_turn),
		CONSOLE_TEST(test_input_in_odd_sizes_is_byte_exact),
		CONSOLE_TEST(test_input_without_buffers_waits_for_them),
		CONSOLE_TEST(test_input_to_a_closed_port_waits_for_the_open),
		CONSOLE_TEST(test_reset_delivers_output_that_is_still_queued),
		CONSOLE_TEST(test_reset_with_output_in_flight_waits_for_the_sink),
		CONSOLE_TEST(test_vm_stop_with_a_vcpu_waiting_in_reset_ends),
		CONSOLE_TEST(test_reset_with_a_sink_that_must_take_waits_until_it_does),
		CONSOLE_TEST(test_cut_short_ends_a_reset_that_waits),
		CONSOLE_TEST(test_drain_takes_everything_without_a_turn),
		CONSOLE_TEST(test_name_too_long_is_refused),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
	int n_failed = 0;

	backend = REACTOR_AUTO;
	n_failed += run_group("virtio/console, best backend");
	n_failed += run_slow_group("virtio/console, slow");
	backend = REACTOR_EPOLL;
	n_failed += run_group("virtio/console, epoll");
	return n_failed;
}
