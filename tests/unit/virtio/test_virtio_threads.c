/*
 * vCPU threads against the reactor, for the thread sanitizer: one boots, writes and resets the
 * console over and over, one hammers registers meanwhile, the reactor serves with sinks that refuse
 * now and then. What was written must arrive.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/num.h"
#include "support/fake_console.h"
#include "support/rig.h"
#include "virtio/virtio_console.h"
#include "virtio/virtio_wire.h"

enum { MEM = 32 << 20, ARENA = 0x1000, LIVES = 40, WRITES = 30, WRITE_SIZE = 3001 };

struct machine {
	struct rig rig;
	struct virtio_console *console;
	struct fake_console guest; /* the booting vCPU's */
	uint64_t n_written;        /* the booting vCPU's, read after the join */
	_Atomic int doorbell_fd;   /* -1: detached */
	_Atomic bool is_over;
	uint64_t n_taken; /* reactor */
	unsigned n_calls;
};

/* Refuses a part of every third offer. */
static size_t sink_output(void *ctx, const uint8_t *data, size_t n)
{
	struct machine *m = ctx;
	size_t taken = m->n_calls++ % 3 == 0 ? n / 2 : n;

	m->n_taken += taken;
	return taken;
}

static size_t tty_output(void *ctx, const uint8_t *data, size_t n)
{
	return n;
}

static int doorbell_attach(void *ctx, gpa_t gpa, int event_fd)
{
	struct machine *m = ctx;

	atomic_store(&m->doorbell_fd, event_fd);
	return 0;
}

static int doorbell_detach(void *ctx, gpa_t gpa, int event_fd)
{
	struct machine *m = ctx;

	atomic_store(&m->doorbell_fd, -1);
	return 0;
}

static void machine_init(struct machine *m, enum reactor_backend backend, bool has_doorbell)
{
	struct virtio_console_config config = {
		.names = { NULL, "frames", "relay" },
		.ops = { { .output = tty_output },
			 { .output = sink_output },
			 { .output = sink_output } },
		.ctx = { m, m, m },
		.rows = 25,
		.cols = 80,
	};
	const struct doorbell_host doorbell = { doorbell_attach, doorbell_detach, m };
	struct error err;

	*m = (struct machine){ .doorbell_fd = -1 };
	rig_open(&m->rig, backend, MEM);
	assert_int_equal(virtio_console_new(&config, m->rig.reactor, &m->console, &err), 0);
	rig_attach(&m->rig, virtio_console_dev(m->console), has_doorbell ? &doorbell : NULL);
}

static void machine_fini(struct machine *m)
{
	rig_detach(&m->rig);
	m->console = virtio_console_free(m->console);
	rig_close(&m->rig);
}

/* As the interrupt handler does: without the device's lock. */
static void ack_interrupts(struct io_region *r)
{
	uint64_t status = r->ops->read(r, VIRTIO_MMIO_INTERRUPT_STATUS, 4);

	r->ops->write(r, VIRTIO_MMIO_INTERRUPT_ACK, 4, status);
}

static void live_once(struct machine *m, uint64_t features)
{
	static const uint8_t bytes[WRITE_SIZE] = { 1 };
	struct io_region *r = rig_region(&m->rig);
	struct fake_console *guest = &m->guest;

	fake_console_start(guest, &m->rig.mem, r, GPA(ARENA), features);
	guest->driver.doorbell_fd = atomic_load(&m->doorbell_fd);
	while (!guest->ports[2].is_host_open) {
		(void)fake_console_service(guest);
		ack_interrupts(r);
		sched_yield();
	}
	fake_console_open(guest, 1, true);
	for (int i = 0; i < WRITES; i++) {
		while (!fake_console_write(guest, (unsigned)i % 3, bytes, WRITE_SIZE))
			sched_yield();
		if (i % 3)
			m->n_written += WRITE_SIZE;
		(void)fake_console_service(guest);
		ack_interrupts(r);
	}
	fake_driver_reset(&guest->driver); /* with most of it still in flight */
}

static void *boot_and_reset(void *arg)
{
	struct machine *m = arg;

	for (int i = 0; i < LIVES; i++)
		live_once(m, i % 2 ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0);
	atomic_store(&m->is_over, true);
	return NULL;
}

/* What another vCPU may touch at any time, without being part of the driver. */
static void *hammer(void *arg)
{
	struct machine *m = arg;
	struct io_region *r = rig_region(&m->rig);

	for (unsigned i = 0; !atomic_load(&m->is_over); i++) {
		(void)r->ops->read(r, VIRTIO_MMIO_STATUS, 4);
		(void)r->ops->read(r, VIRTIO_MMIO_CONFIG_GENERATION, 4);
		(void)r->ops->read(r, VIRTIO_MMIO_CONFIG + i % 8, 1);
		(void)r->ops->read(r, VIRTIO_MMIO_INTERRUPT_STATUS, 4);
		r->ops->write(r, VIRTIO_MMIO_QUEUE_NOTIFY, 4, i % 8);
		r->ops->write(r, VIRTIO_MMIO_CONFIG + 8, 4, i); /* no such register */
		if (i % 64 == 0)
			sched_yield();
	}
	return NULL;
}

static void serve(struct machine *m)
{
	uint64_t end_ns = clock_now_ns() + 60 * NS_PER_S;
	uint16_t rows = 1;

	while (!atomic_load(&m->is_over)) {
		reactor_turn(m->rig.reactor, NS_PER_MS);
		virtio_console_resume(m->console, CONSOLE_PORT_FRAMES);
		virtio_console_resume(m->console, CONSOLE_PORT_RELAY);
		(void)virtio_console_send(m->console, CONSOLE_PORT_FRAMES, "hello", 5);
		virtio_console_resize(m->console, (uint16_t)(1 + rows++ % 50), 80);
		ASSERT(clock_now_ns() < end_ns);
	}
}

static void vcpus_against_reactor(enum reactor_backend backend, bool has_doorbell)
{
	static struct machine m;
	struct virtio_console_stats stats;
	struct virtio_mmio_stats mmio;
	pthread_t threads[2];

	machine_init(&m, backend, has_doorbell);
	assert_int_equal(pthread_create(&threads[0], NULL, boot_and_reset, &m), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, hammer, &m), 0);
	serve(&m);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	virtio_console_stats(m.console, &stats);
	mmio = rig_stats(&m.rig);
	assert_int_equal(mmio.n_guest_faults, 0);
	assert_int_equal(stats.port[1].bytes_lost + stats.port[2].bytes_lost, 0);
	assert_int_equal(m.n_taken, m.n_written);
	assert_int_equal(m.n_written, (uint64_t)LIVES * WRITES / 3 * 2 * WRITE_SIZE);
	machine_fini(&m);
}

static void test_vcpus_with_register_kicks_lose_nothing(void **state)
{
	vcpus_against_reactor(REACTOR_AUTO, false);
}

static void test_vcpus_with_doorbell_lose_nothing(void **state)
{
	vcpus_against_reactor(REACTOR_AUTO, true);
}

static void test_vcpus_with_doorbell_on_epoll_lose_nothing(void **state)
{
	vcpus_against_reactor(REACTOR_EPOLL, true);
}

/* 2.5.1: what a driver reads between two equal generations belongs together. */
struct size_reader {
	struct io_region *region;
	_Atomic unsigned
	    n_changes; /* seen: that many times the other thread was between two reads */
	_Atomic bool is_over;
};

static void *read_sizes(void *arg)
{
	struct size_reader *s = arg;
	struct io_region *r = s->region;
	uint64_t last = 0;

	while (!atomic_load(&s->is_over)) {
		uint64_t before = r->ops->read(r, VIRTIO_MMIO_CONFIG_GENERATION, 4);
		uint64_t cols = r->ops->read(r, VIRTIO_MMIO_CONFIG, 2);
		uint64_t rows = r->ops->read(r, VIRTIO_MMIO_CONFIG + 2, 2);

		if (r->ops->read(r, VIRTIO_MMIO_CONFIG_GENERATION, 4) != before)
			continue;
		ASSERT(cols == 3 * rows);
		atomic_fetch_add(&s->n_changes, rows != last);
		last = rows;
	}
	return NULL;
}

static void test_config_read_between_equal_generations_is_whole(void **state)
{
	static struct machine m;
	pthread_t thread;

	machine_init(&m, REACTOR_AUTO, false);
	virtio_console_resize(m.console, 1, 3);
	struct size_reader reader = { .region = rig_region(&m.rig) };
	assert_int_equal(pthread_create(&thread, NULL, read_sizes, &reader), 0);
	uint64_t end_ns = clock_now_ns() + 60 * NS_PER_S;
	for (unsigned i = 0; atomic_load(&reader.n_changes) < 300; i++) {
		virtio_console_resize(m.console, (uint16_t)(1 + i % 1000),
				      (uint16_t)(3 * (1 + i % 1000)));
		assert_true(clock_now_ns() < end_ns);
	}
	atomic_store(&reader.is_over, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	machine_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vcpus_with_register_kicks_lose_nothing),
		cmocka_unit_test(test_vcpus_with_doorbell_lose_nothing),
		cmocka_unit_test(test_vcpus_with_doorbell_on_epoll_lose_nothing),
		cmocka_unit_test(test_config_read_between_equal_generations_is_whole),
	};

	return cmocka_run_group_tests_name("virtio/threads", tests, NULL, NULL);
}
