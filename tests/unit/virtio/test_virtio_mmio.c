/*
 * The register file and the device core, with a device of the test's own: two queues, echo or hold,
 * a stop that waits for what it holds. The group runs on each reactor backend.
 */
#include "virtio/virtio_mmio.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/assert.h"
#include "base/clock.h"
#include "support/fake_driver.h"
#include "support/rig.h"
#include "virtio/virtio_dev.h"
#include "virtio/virtio_wire.h"

enum {
	MEM = 1 << 20,
	ARENA = 0x1000,
	BUF = 0x80000,
	SIZE = 16,
	OK = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK,
	FEATURE = 1u << 5,
};
#define RING_FEATURES (1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX)

static enum reactor_backend backend;

struct test_dev {
	struct virtio_dev dev;
	struct virtq_chain *held[SIZE];
	unsigned n_held;
	bool is_holding; /* keeps chains instead of giving them back */
	bool is_stopping;
	unsigned n_starts, n_stops, n_pops;
	unsigned n_notifies[2];
	void (*on_pop)(void *ctx);
	void *ctx;
	uint8_t config[6];
};

static struct test_dev *test_of(struct virtio_dev *dev)
{
	return container_of(dev, struct test_dev, dev);
}

static void dev_start(struct virtio_dev *dev)
{
	test_of(dev)->n_starts++;
}

static void dev_notify(struct virtio_dev *dev, uint32_t q_idx)
{
	struct test_dev *t = test_of(dev);
	struct virtq_chain *chain;

	t->n_notifies[q_idx]++;
	while (virtio_dev_pop(dev, q_idx, &chain) == VIRTQ_OK) {
		t->n_pops++;
		if (t->on_pop)
			t->on_pop(t->ctx);
		if (t->is_holding)
			t->held[t->n_held++] = chain;
		else
			virtio_dev_push(dev, q_idx, chain, 0);
	}
}

static void dev_stop(struct virtio_dev *dev)
{
	struct test_dev *t = test_of(dev);

	t->n_stops++;
	t->is_stopping = t->n_held > 0;
	if (!t->is_stopping)
		virtio_dev_stopped(dev);
}

/* The completion of what was held: from the reactor, as a file's I/O would end. */
static void dev_complete(struct test_dev *t)
{
	virtio_dev_enter(&t->dev);
	while (t->n_held > 0)
		virtio_dev_push(&t->dev, 0, t->held[--t->n_held], 0);
	if (t->is_stopping) {
		t->is_stopping = false;
		virtio_dev_stopped(&t->dev);
	}
	virtio_dev_leave(&t->dev);
}

static void dev_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t n)
{
	memcpy(buf, test_of(dev)->config + off, n);
}

static void dev_config_write(struct virtio_dev *dev, uint32_t off, const void *buf, uint32_t n)
{
	memcpy(test_of(dev)->config + off, buf, n);
}

static const struct virtio_dev_ops dev_ops = {
	.name = "test",
	.device_id = 77,
	.features = FEATURE,
	.n_queues = 2,
	.queue_size_max = SIZE,
	.config_size = 6,
	.start = dev_start,
	.notify = dev_notify,
	.stop = dev_stop,
	.config_read = dev_config_read,
	.config_write = dev_config_write,
};

struct fixture {
	struct rig rig;
	struct test_dev dev;
	struct fake_driver driver;
	/* the doorbell host */
	int n_attached, n_detached;
	int attach_result;
	int doorbell_fd;
	gpa_t doorbell_gpa;
};

static int host_attach(void *ctx, gpa_t gpa, int event_fd)
{
	struct fixture *f = ctx;

	if (f->attach_result < 0)
		return f->attach_result;
	f->n_attached++;
	f->doorbell_gpa = gpa;
	f->doorbell_fd = event_fd;
	return 0;
}

static int host_detach(void *ctx, gpa_t gpa, int event_fd)
{
	struct fixture *f = ctx;

	assert_int_equal(gpa.addr, f->doorbell_gpa.addr);
	assert_int_equal(event_fd, f->doorbell_fd);
	f->n_detached++;
	return 0;
}

/* Ends a stop whose device holds chains. */
static void on_wait(void *ctx)
{
	struct test_dev *t = ctx;

	t->is_holding = false;
	dev_complete(t);
}

static struct fixture *fixture_new(bool has_doorbell)
{
	static struct fixture f;
	const struct doorbell_host doorbell = { host_attach, host_detach, &f };

	f = (struct fixture){ .doorbell_fd = -1 };
	rig_open(&f.rig, backend, MEM);
	virtio_dev_init(&f.dev.dev, &dev_ops, f.rig.reactor);
	rig_attach(&f.rig, &f.dev.dev, has_doorbell ? &doorbell : NULL);
	fake_driver_init(&f.driver, &f.rig.mem, rig_region(&f.rig), GPA(ARENA));
	return &f;
}

static int set_up(void **state)
{
	*state = fixture_new(false);
	return 0;
}

static int set_up_doorbell(void **state)
{
	*state = fixture_new(true);
	return 0;
}

static void turns(struct fixture *f, int n)
{
	rig_turns(&f->rig, n);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	f->rig.on_wait = on_wait;
	f->rig.ctx = &f->dev;
	rig_detach(&f->rig);
	virtio_dev_fini(&f->dev.dev);
	rig_close(&f->rig);
	return 0;
}

static uint64_t rd(struct fixture *f, uint64_t off, unsigned size)
{
	return rig_read(&f->rig, off, size);
}

static void wr(struct fixture *f, uint64_t off, unsigned size, uint64_t value)
{
	rig_write(&f->rig, off, size, value);
}

static struct virtio_mmio_stats stats(struct fixture *f)
{
	return rig_stats(&f->rig);
}

/* Interrupts since the last call. */
static uint64_t interrupts(struct fixture *f)
{
	return rig_interrupts(&f->rig);
}

static void start(struct fixture *f)
{
	fake_driver_start(&f->driver, RING_FEATURES, 2, SIZE);
	turns(f, 2);
	assert_int_equal(f->dev.n_starts, 1);
}

static void add(struct fixture *f, int n)
{
	struct fake_seg seg = { GPA(BUF), 16, false };

	while (n-- > 0)
		assert_true(fake_driver_add(&f->driver, 0, &seg, 1) >= 0);
}

static int take_used(struct fixture *f)
{
	uint16_t head;
	uint32_t len;
	int n = 0;

	while (fake_driver_get_used(&f->driver, 0, &head, &len))
		n++;
	return n;
}

static struct rig_vcpu vcpu_write(struct fixture *f, uint32_t reg, uint32_t value)
{
	return (struct rig_vcpu){ .rig = &f->rig, .off = reg, .value = value };
}

static void wait_for_stop(struct fixture *f)
{
	uint64_t deadline_ns = rig_deadline();

	while (f->dev.n_stops == 0)
		rig_wait(&f->rig, deadline_ns);
}

/* Registers. */

static void test_read_identity_is_version_2(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rd(f, VIRTIO_MMIO_MAGIC_VALUE, 4), 0x74726976);
	assert_int_equal(rd(f, VIRTIO_MMIO_VERSION, 4), 2);
	assert_int_equal(rd(f, VIRTIO_MMIO_DEVICE_ID, 4), 77);
	assert_int_not_equal(rd(f, VIRTIO_MMIO_VENDOR_ID, 4), 0);
	assert_int_equal(rd(f, VIRTIO_MMIO_STATUS, 4), 0);
	wr(f, VIRTIO_MMIO_SHM_SEL, 4, 0);
	for (uint64_t off = VIRTIO_MMIO_SHM_LEN_LOW; off <= VIRTIO_MMIO_SHM_BASE_HIGH; off += 4)
		assert_int_equal(rd(f, off, 4), UINT32_MAX);
}

static void test_access_of_odd_width_or_place_does_nothing(void **state)
{
	struct fixture *f = *state;
	static const unsigned widths[] = { 1, 2, 8 };

	for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
		assert_int_equal(rd(f, VIRTIO_MMIO_MAGIC_VALUE, widths[i]), 0);
		assert_int_equal(rd(f, VIRTIO_MMIO_INTERRUPT_STATUS, widths[i]), 0);
		wr(f, VIRTIO_MMIO_STATUS, widths[i], VIRTIO_CONFIG_S_ACKNOWLEDGE);
	}
	assert_int_equal(rd(f, VIRTIO_MMIO_MAGIC_VALUE + 2, 4), 0);
	assert_int_equal(rd(f, 0x028, 4), 0); /* legacy GuestPageSize */
	assert_int_equal(rd(f, 0x0f8, 4), 0);
	assert_int_equal(rd(f, VIRTIO_MMIO_STATUS, 4), 0);
}

static void test_features_offered_are_the_devices_and_the_cores(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_driver_offered(&f->driver),
			 FEATURE | RING_FEATURES | 1ull << VIRTIO_F_VERSION_1);
	fake_driver_write(&f->driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(fake_driver_read(&f->driver, VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

static void test_features_ok_with_unknown_feature_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_driver_negotiate(&f->driver, 1u << 6),
			 OK & ~VIRTIO_CONFIG_S_FEATURES_OK);
	/* The driver may try again with less. */
	assert_int_equal(fake_driver_negotiate(&f->driver, FEATURE), OK);
}

static void test_features_ok_without_version_1_is_refused(void **state)
{
	struct fixture *f = *state;

	wr(f, VIRTIO_MMIO_STATUS, 4, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	wr(f, VIRTIO_MMIO_DRIVER_FEATURES, 4, FEATURE);
	wr(f, VIRTIO_MMIO_STATUS, 4, OK);
	assert_int_equal(rd(f, VIRTIO_MMIO_STATUS, 4), OK & ~VIRTIO_CONFIG_S_FEATURES_OK);
}

static void test_driver_ok_without_features_ok_needs_reset(void **state)
{
	struct fixture *f = *state;

	wr(f, VIRTIO_MMIO_STATUS, 4,
	   VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK);
	turns(f, 2);
	assert_int_equal(rd(f, VIRTIO_MMIO_STATUS, 4), VIRTIO_CONFIG_S_ACKNOWLEDGE |
							   VIRTIO_CONFIG_S_DRIVER |
							   VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(f->dev.n_starts, 0);
	assert_int_equal(interrupts(f), 0); /* it is not running */
	assert_int_equal(stats(f).n_guest_faults, 1);
	/* Nothing helps but a reset. */
	wr(f, VIRTIO_MMIO_STATUS, 4, OK);
	wr(f, VIRTIO_MMIO_STATUS, 4, OK | VIRTIO_CONFIG_S_DRIVER_OK);
	turns(f, 2);
	assert_int_equal(f->dev.n_starts, 0);
	fake_driver_reset(&f->driver);
	assert_int_equal(rd(f, VIRTIO_MMIO_STATUS, 4), 0);
	start(f);
}

static void test_status_bits_are_never_cleared_by_a_write(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_driver_negotiate(&f->driver, 0), OK);
	wr(f, VIRTIO_MMIO_STATUS, 4, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(rd(f, VIRTIO_MMIO_STATUS, 4), OK);
	wr(f, VIRTIO_MMIO_STATUS, 4,
	   VIRTIO_CONFIG_S_NEEDS_RESET | 0x30); /* not the driver's to set */
	assert_int_equal(rd(f, VIRTIO_MMIO_STATUS, 4), OK);
	wr(f, VIRTIO_MMIO_STATUS, 4, VIRTIO_CONFIG_S_FAILED);
	assert_int_equal(rd(f, VIRTIO_MMIO_STATUS, 4), OK | VIRTIO_CONFIG_S_FAILED);
}

/* Queues. */

static void test_queue_changed_after_ready_is_ignored(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_driver_negotiate(&f->driver, RING_FEATURES), OK);
	for (uint32_t q = 0; q < 2; q++) {
		fake_driver_layout(&f->driver, q, SIZE);
		fake_driver_set_queue(&f->driver, q);
		wr(f, VIRTIO_MMIO_QUEUE_NUM, 4, 3);
		wr(f, VIRTIO_MMIO_QUEUE_DESC_HIGH, 4, 0xffff);
		wr(f, VIRTIO_MMIO_QUEUE_READY, 4, 1);
	}
	wr(f, VIRTIO_MMIO_STATUS, 4, OK | VIRTIO_CONFIG_S_DRIVER_OK);
	wr(f, VIRTIO_MMIO_QUEUE_DESC_HIGH, 4, 0xffff);
	turns(f, 2);
	add(f, 3);
	assert_true(fake_driver_kick(&f->driver, 0));
	turns(f, 2);
	assert_int_equal(take_used(f), 3);
}

static void test_queue_not_ready_can_be_set_again_before_driver_ok(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_driver_negotiate(&f->driver, RING_FEATURES), OK);
	fake_driver_layout(&f->driver, 0, SIZE);
	fake_driver_set_queue(&f->driver, 0);
	assert_int_equal(rd(f, VIRTIO_MMIO_QUEUE_READY, 4), 1);
	wr(f, VIRTIO_MMIO_QUEUE_READY, 4, 0);
	assert_int_equal(rd(f, VIRTIO_MMIO_QUEUE_READY, 4), 0);
	fake_driver_layout(&f->driver, 0, SIZE / 2);
	fake_driver_set_queue(&f->driver, 0);
	wr(f, VIRTIO_MMIO_STATUS, 4, OK | VIRTIO_CONFIG_S_DRIVER_OK);
	turns(f, 2);
	add(f, 1);
	assert_true(fake_driver_kick(&f->driver, 0));
	turns(f, 2);
	assert_int_equal(take_used(f), 1);
}

static void test_queue_ready_after_driver_ok_is_ignored(void **state)
{
	struct fixture *f = *state;

	fake_driver_start(&f->driver, RING_FEATURES, 1, SIZE);
	turns(f, 2);
	fake_driver_layout(&f->driver, 1, SIZE);
	fake_driver_set_queue(&f->driver, 1);
	assert_int_equal(rd(f, VIRTIO_MMIO_QUEUE_READY, 4), 0);
	assert_int_equal(stats(f).n_guest_faults, 0);
}

/* Configuration space: six bytes. */

static void test_config_of_any_width_inside_is_served(void **state)
{
	struct fixture *f = *state;

	memcpy(f->dev.config, "\x01\x02\x03\x04\x05\x06", 6);
	assert_int_equal(rd(f, VIRTIO_MMIO_CONFIG + 5, 1), 6);
	assert_int_equal(rd(f, VIRTIO_MMIO_CONFIG + 2, 2), 0x0403);
	assert_int_equal(rd(f, VIRTIO_MMIO_CONFIG + 2, 4), 0x06050403);
	wr(f, VIRTIO_MMIO_CONFIG + 4, 2, 0xbeef);
	assert_int_equal(rd(f, VIRTIO_MMIO_CONFIG + 4, 2), 0xbeef);
}

static void test_config_outside_reads_zero_and_drops_writes(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint64_t off;
		unsigned size;
	} cases[] = {
		{ 6, 1 }, { 5, 2 }, { 3, 4 }, { 0, 8 }, { 0xeff, 1 }, { 0xef8, 8 }, { 6, 4 }
	};

	memset(f->dev.config, 0x55, 6);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(rd(f, VIRTIO_MMIO_CONFIG + cases[i].off, cases[i].size), 0);
		wr(f, VIRTIO_MMIO_CONFIG + cases[i].off, cases[i].size, 0);
	}
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(f->dev.config[i], 0x55);
}

static void test_config_change_interrupts_a_running_driver(void **state)
{
	struct fixture *f = *state;
	uint64_t generation = rd(f, VIRTIO_MMIO_CONFIG_GENERATION, 4);

	virtio_dev_enter(&f->dev.dev);
	virtio_dev_config_changed(&f->dev.dev);
	virtio_dev_leave(&f->dev.dev);
	assert_int_equal(rd(f, VIRTIO_MMIO_CONFIG_GENERATION, 4), generation + 1);
	assert_int_equal(interrupts(f), 0);
	start(f);
	virtio_dev_enter(&f->dev.dev);
	virtio_dev_config_changed(&f->dev.dev);
	virtio_dev_leave(&f->dev.dev);
	assert_int_equal(interrupts(f), 1);
	assert_int_equal(rd(f, VIRTIO_MMIO_INTERRUPT_STATUS, 4), VIRTIO_MMIO_INT_CONFIG);
}

/* Life. */

static void test_chains_queued_before_driver_ok_are_served(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_driver_negotiate(&f->driver, RING_FEATURES), OK);
	fake_driver_layout(&f->driver, 0, SIZE);
	fake_driver_set_queue(&f->driver, 0);
	add(f, 2);
	wr(f, VIRTIO_MMIO_STATUS, 4, OK | VIRTIO_CONFIG_S_DRIVER_OK);
	turns(f, 2);
	assert_int_equal(take_used(f), 2);
}

static void test_many_chains_in_a_turn_make_one_interrupt(void **state)
{
	struct fixture *f = *state;

	start(f);
	fake_driver_want_interrupt(&f->driver, 0, 0);
	add(f, 10);
	assert_true(fake_driver_kick(&f->driver, 0));
	turns(f, 2);
	assert_int_equal(take_used(f), 10);
	assert_int_equal(interrupts(f), 1);
	assert_int_equal(rd(f, VIRTIO_MMIO_INTERRUPT_STATUS, 4), VIRTIO_MMIO_INT_VRING);
	wr(f, VIRTIO_MMIO_INTERRUPT_ACK, 4, VIRTIO_MMIO_INT_VRING);
	assert_int_equal(rd(f, VIRTIO_MMIO_INTERRUPT_STATUS, 4), 0);
	fake_driver_want_no_interrupt(&f->driver, 0);
	add(f, 10);
	assert_true(fake_driver_kick(&f->driver, 0));
	turns(f, 2);
	assert_int_equal(take_used(f), 10);
	assert_int_equal(interrupts(f), 0);
	assert_int_equal(stats(f).n_interrupts_suppressed, 1);
}

/* A hostile guest: it makes the same chain available again while the device still works on it. */
static void refill(void *ctx)
{
	struct fixture *f = ctx;

	fake_driver_raw_avail(&f->driver, 0, 0);
}

static void test_guest_that_refills_forever_yields_each_turn(void **state)
{
	struct fixture *f = *state;

	start(f);
	f->dev.on_pop = refill;
	f->dev.ctx = f;
	fake_driver_raw_desc(&f->driver, 0, 0, BUF, 16, 0, 0);
	fake_driver_raw_avail(&f->driver, 0, 0);
	assert_true(fake_driver_kick(&f->driver, 0));
	unsigned before = f->dev.n_notifies[1];
	turns(f, 1);
	assert_int_equal(f->dev.n_pops, SIZE);
	turns(f, 3);
	assert_int_equal(f->dev.n_pops, 4 * SIZE);
	assert_int_equal(f->dev.n_notifies[1], before + 4); /* the other queue had its turns */
	f->dev.on_pop = NULL;
	turns(f, 4);
	assert_int_equal(f->dev.n_pops, 4 * SIZE + 1);
	assert_int_equal(stats(f).n_guest_faults, 0);
}

static void test_reset_with_io_in_flight_returns_after_the_last(void **state)
{
	struct fixture *f = *state;

	start(f);
	f->dev.is_holding = true;
	add(f, 5);
	assert_true(fake_driver_kick(&f->driver, 0));
	turns(f, 2);
	assert_int_equal(f->dev.n_held, 5);
	struct rig_vcpu w = vcpu_write(f, VIRTIO_MMIO_STATUS, 0);
	rig_vcpu_begin(&w);
	wait_for_stop(f);
	for (int i = 0; i < 20; i++)
		reactor_turn(f->rig.reactor, NS_PER_MS);
	assert_false(w.is_done);
	/* The register file is not locked meanwhile. */
	assert_int_equal(rd(f, VIRTIO_MMIO_STATUS, 4), OK | VIRTIO_CONFIG_S_DRIVER_OK);
	dev_complete(&f->dev);
	rig_vcpu_end(&w);
	assert_int_equal(rd(f, VIRTIO_MMIO_STATUS, 4), 0);
	assert_int_equal(rd(f, VIRTIO_MMIO_QUEUE_READY, 4), 0);
	assert_int_equal(take_used(f), 5);
	f->dev.n_starts = 0;
	f->dev.is_holding = false;
	start(f);
}

static void test_reset_before_the_reactor_started_it_needs_no_stop(void **state)
{
	struct fixture *f = *state;

	fake_driver_start(&f->driver, RING_FEATURES, 2, SIZE);
	fake_driver_reset(&f->driver); /* no turn since DRIVER_OK: must not wait for one */
	turns(f, 3);
	assert_int_equal(f->dev.n_starts + f->dev.n_stops, 0);
	start(f);
}

static void test_queue_taken_from_running_device_stops_it(void **state)
{
	struct fixture *f = *state;

	start(f);
	f->dev.is_holding = true;
	add(f, 1);
	assert_true(fake_driver_kick(&f->driver, 0));
	turns(f, 2);
	wr(f, VIRTIO_MMIO_QUEUE_SEL, 4, 0);
	struct rig_vcpu w = vcpu_write(f, VIRTIO_MMIO_QUEUE_READY, 0);
	rig_vcpu_begin(&w);
	wait_for_stop(f);
	assert_false(w.is_done);
	dev_complete(&f->dev);
	rig_vcpu_end(&w);
	assert_int_equal(rd(f, VIRTIO_MMIO_QUEUE_READY, 4), 0);
	assert_true(rd(f, VIRTIO_MMIO_STATUS, 4) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void test_vm_stop_releases_a_vcpu_that_waits_in_reset(void **state)
{
	struct fixture *f = *state;

	start(f);
	f->dev.is_holding = true;
	add(f, 1);
	assert_true(fake_driver_kick(&f->driver, 0));
	turns(f, 2);
	struct rig_vcpu w = vcpu_write(f, VIRTIO_MMIO_STATUS, 0);
	rig_vcpu_begin(&w);
	wait_for_stop(f);
	rig_stop_begin(&f->rig);
	rig_vcpu_end(&w); /* though the device still holds a chain */
	turns(f, 4);
	assert_false(f->rig.is_stopped);
	assert_int_equal(rd(f, VIRTIO_MMIO_MAGIC_VALUE, 4), 0);
	wr(f, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
	dev_complete(&f->dev);
	assert_false(f->rig.is_stopped);
	turns(f, 4);
	assert_true(f->rig.is_stopped);
	assert_int_equal(f->dev.n_stops, 1);
}

static void test_vm_stop_of_a_device_never_started_ends(void **state)
{
	struct fixture *f = *state;

	fake_driver_start(&f->driver, RING_FEATURES, 2, SIZE); /* and no turn: still starting */
	rig_stop_begin(&f->rig);
	assert_false(f->rig.is_stopped);
	turns(f, 4);
	assert_true(f->rig.is_stopped);
	assert_int_equal(f->dev.n_starts, 0);
}

static void test_drain_serves_what_was_queued_without_a_kick(void **state)
{
	struct fixture *f = *state;

	start(f);
	add(f, SIZE);
	virtio_mmio_drain(f->rig.mmio);
	turns(f, 1);
	assert_int_equal(take_used(f), SIZE);
}

static void test_drain_starts_a_device_whose_driver_was_just_ready(void **state)
{
	struct fixture *f = *state;

	fake_driver_start(&f->driver, RING_FEATURES, 2, SIZE);
	add(f, 3);
	virtio_mmio_drain(f->rig.mmio);
	turns(f, 1);
	assert_int_equal(take_used(f), 3);
}

/* Doorbell. */

static void test_doorbell_is_attached_from_driver_ok_to_reset(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_driver_negotiate(&f->driver, 0), OK);
	assert_int_equal(f->n_attached, 0);
	start(f);
	assert_int_equal(f->n_attached, 1);
	assert_int_equal(f->doorbell_gpa.addr, 0xc0000000 + VIRTIO_MMIO_QUEUE_NOTIFY);
	f->driver.doorbell_fd = f->doorbell_fd;
	for (int i = 0; i < 3; i++) {
		add(f, 4);
		assert_true(fake_driver_kick(&f->driver, 0));
		turns(f, 3);
		assert_int_equal(take_used(f), 4);
	}
	assert_int_equal(stats(f).n_notify_exits, 0);
	assert_int_equal(stats(f).n_kicks, 3);
	rig_reset(&f->rig);
	assert_int_equal(f->n_detached, 1);
}

static void test_doorbell_refused_falls_back_to_exits(void **state)
{
	struct fixture *f = *state;

	f->attach_result = -ENOSPC;
	start(f);
	add(f, 4);
	assert_true(fake_driver_kick(&f->driver, 0));
	turns(f, 2);
	assert_int_equal(take_used(f), 4);
	assert_int_equal(stats(f).n_notify_exits, 1);
	rig_reset(&f->rig);
	assert_int_equal(f->n_detached, 0);
}

static int run_group(const char *name)
{
#define MMIO_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
#define BELL_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_doorbell, tear_down)
	const struct CMUnitTest tests[] = {
		MMIO_TEST(test_read_identity_is_version_2),
		MMIO_TEST(test_access_of_odd_width_or_place_does_nothing),
		MMIO_TEST(test_features_offered_are_the_devices_and_the_cores),
		MMIO_TEST(test_features_ok_with_unknown_feature_is_refused),
		MMIO_TEST(test_features_ok_without_version_1_is_refused),
		MMIO_TEST(test_driver_ok_without_features_ok_needs_reset),
		MMIO_TEST(test_status_bits_are_never_cleared_by_a_write),
		MMIO_TEST(test_queue_changed_after_ready_is_ignored),
		MMIO_TEST(test_queue_not_ready_can_be_set_again_before_driver_ok),
		MMIO_TEST(test_queue_ready_after_driver_ok_is_ignored),
		MMIO_TEST(test_config_of_any_width_inside_is_served),
		MMIO_TEST(test_config_outside_reads_zero_and_drops_writes),
		MMIO_TEST(test_config_change_interrupts_a_running_driver),
		MMIO_TEST(test_chains_queued_before_driver_ok_are_served),
		MMIO_TEST(test_many_chains_in_a_turn_make_one_interrupt),
		MMIO_TEST(test_guest_that_refills_forever_yields_each_turn),
		MMIO_TEST(test_reset_with_io_in_flight_returns_after_the_last),
		MMIO_TEST(test_reset_before_the_reactor_started_it_needs_no_stop),
		MMIO_TEST(test_queue_taken_from_running_device_stops_it),
		MMIO_TEST(test_vm_stop_releases_a_vcpu_that_waits_in_reset),
		MMIO_TEST(test_vm_stop_of_a_device_never_started_ends),
		MMIO_TEST(test_drain_serves_what_was_queued_without_a_kick),
		MMIO_TEST(test_drain_starts_a_device_whose_driver_was_just_ready),
		BELL_TEST(test_doorbell_is_attached_from_driver_ok_to_reset),
		BELL_TEST(test_doorbell_refused_falls_back_to_exits),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
	int n_failed = 0;

	backend = REACTOR_AUTO;
	n_failed += run_group("virtio/mmio, best backend");
	backend = REACTOR_EPOLL;
	n_failed += run_group("virtio/mmio, epoll");
	return n_failed;
}
