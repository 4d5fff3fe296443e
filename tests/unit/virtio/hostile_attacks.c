/* See hostile_attacks.h. */
#include "hostile_attacks.h"

#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

enum { CONFIG_SPACE = VIRTIO_MMIO_LEN - VIRTIO_MMIO_CONFIG };

static void write_reg(struct subject *s, uint32_t reg, uint32_t value)
{
	fake_driver_write(&s->driver, reg, value);
}

static uint32_t read_reg(struct subject *s, uint32_t reg)
{
	return fake_driver_read(&s->driver, reg);
}

void attack_kick_all(struct subject *s)
{
	for (uint32_t i = 0; i < s->kind->n_queues; i++)
		write_reg(s, VIRTIO_MMIO_QUEUE_NOTIFY, i);
}

static void set_queues(struct subject *s)
{
	for (uint32_t i = 0; i < s->kind->n_queues; i++) {
		fake_driver_layout(&s->driver, i, HOSTILE_QUEUE);
		fake_driver_set_queue(&s->driver, i);
	}
}

/* Before FEATURES_OK. */

static void driver_ok_without_features_ok(struct subject *s)
{
	write_reg(s, VIRTIO_MMIO_STATUS, ACKNOWLEDGED | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_false(read_reg(s, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK);
}

static void all_status_bits_at_once(struct subject *s)
{
	write_reg(s, VIRTIO_MMIO_STATUS, UINT32_MAX);
	assert_false(read_reg(s, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK);
}

static void features_that_were_not_offered(struct subject *s)
{
	assert_int_equal(fake_driver_negotiate(&s->driver, UINT64_MAX), ACKNOWLEDGED);
}

static void queues_before_features_ok(struct subject *s)
{
	write_reg(s, VIRTIO_MMIO_STATUS, ACKNOWLEDGED);
	set_queues(s);
	for (uint32_t i = 0; i < s->kind->n_queues; i++) {
		write_reg(s, VIRTIO_MMIO_QUEUE_SEL, i);
		assert_int_equal(read_reg(s, VIRTIO_MMIO_QUEUE_READY), 0);
	}
}

static void kicks_before_anything(struct subject *s)
{
	attack_kick_all(s);
	write_reg(s, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
}

static void registers_of_any_width_and_place(struct subject *s)
{
	static const unsigned sizes[] = { 1, 2, 8, 4 };

	for (uint64_t off = 0; off < 0x120; off++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			if (sizes[i] == 4 && off % 4 == 0)
				continue; /* a real one */
			(void)rig_read(&s->rig, off, sizes[i]);
			rig_write(&s->rig, off, sizes[i], UINT64_MAX);
		}
	assert_int_equal(read_reg(s, VIRTIO_MMIO_STATUS), 0);
	assert_int_equal(read_reg(s, VIRTIO_MMIO_MAGIC_VALUE), VIRTIO_WIRE_MAGIC);
}

/* Before DRIVER_OK. */

static void features_changed_after_features_ok(struct subject *s)
{
	uint64_t before = s->dev->features;

	for (uint32_t sel = 0; sel < 3; sel++) {
		write_reg(s, VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
		write_reg(s, VIRTIO_MMIO_DRIVER_FEATURES, sel ? 0 : UINT32_MAX);
	}
	write_reg(s, VIRTIO_MMIO_STATUS, FEATURES_OK);
	assert_int_equal(s->dev->features, before);
}

static void queues_changed_after_ready(struct subject *s)
{
	set_queues(s);
	for (uint32_t i = 0; i < s->kind->n_queues; i++) {
		write_reg(s, VIRTIO_MMIO_QUEUE_SEL, i);
		for (uint32_t reg = VIRTIO_MMIO_QUEUE_DESC_LOW; reg <= VIRTIO_MMIO_QUEUE_USED_HIGH;
		     reg += 4)
			write_reg(s, reg, UINT32_MAX);
		write_reg(s, VIRTIO_MMIO_QUEUE_NUM, 3);
		write_reg(s, VIRTIO_MMIO_QUEUE_READY, 1);
		assert_int_equal(read_reg(s, VIRTIO_MMIO_QUEUE_READY), 1);
	}
	write_reg(s, VIRTIO_MMIO_STATUS, FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	s->kind->load(s); /* on the rings that it had first */
}

static void queues_that_there_are_not(struct subject *s)
{
	static const uint32_t beyond[] = { 0, 1, 0xffff, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(beyond); i++) {
		uint32_t sel = beyond[i] < 2 ? s->kind->n_queues + beyond[i] : beyond[i];

		write_reg(s, VIRTIO_MMIO_QUEUE_SEL, sel);
		assert_int_equal(read_reg(s, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
		write_reg(s, VIRTIO_MMIO_QUEUE_NUM, 8);
		write_reg(s, VIRTIO_MMIO_QUEUE_READY, 1);
		assert_int_equal(read_reg(s, VIRTIO_MMIO_QUEUE_READY), 0);
		write_reg(s, VIRTIO_MMIO_QUEUE_NOTIFY, sel);
	}
}

static void driver_ok_without_a_queue(struct subject *s)
{
	write_reg(s, VIRTIO_MMIO_STATUS, FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	rig_turns(&s->rig, 2);
	attack_kick_all(s);
}

/* At work: registers. */

static void status_written_again(struct subject *s)
{
	s->kind->load(s);
	write_reg(s, VIRTIO_MMIO_STATUS, FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	write_reg(s, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FAILED);
	write_reg(s, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_NEEDS_RESET); /* the device's bit */
}

static void queues_set_up_again(struct subject *s)
{
	s->kind->load(s);
	for (uint32_t i = 0; i < s->kind->n_queues; i++)
		fake_driver_set_queue(&s->driver, i);
}

static void queue_taken_with_io_in_flight(struct subject *s)
{
	s->kind->load(s);
	write_reg(s, VIRTIO_MMIO_QUEUE_SEL, s->kind->output_queue);
	rig_write_any(&s->rig, VIRTIO_MMIO_QUEUE_READY, 4, 0);
	assert_int_equal(read_reg(s, VIRTIO_MMIO_QUEUE_READY), 0);
}

static void config_space_of_any_width_and_place(struct subject *s)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	uint32_t n = s->dev->ops->config_size;
	uint8_t before[256], after[256];

	assert_true(n <= sizeof(before));
	for (uint32_t i = 0; i < n; i++)
		before[i] = (uint8_t)rig_read(&s->rig, VIRTIO_MMIO_CONFIG + i, 1);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (uint64_t off = 0; off <= CONFIG_SPACE - sizes[i]; off++) {
			uint64_t got = rig_read(&s->rig, VIRTIO_MMIO_CONFIG + off, sizes[i]);

			if (off + sizes[i] > n)
				assert_int_equal(got, 0);
			else
				assert_memory_equal(&got, before + off, sizes[i]);
			rig_write(&s->rig, VIRTIO_MMIO_CONFIG + off, sizes[i], UINT64_MAX);
		}
	for (uint32_t i = 0; i < n; i++)
		after[i] = (uint8_t)rig_read(&s->rig, VIRTIO_MMIO_CONFIG + i, 1);
	assert_memory_equal(before, after, n); /* none of ours has a writable field */
}

/* At work: rings. */

/* A chain that each device takes: a block request, or some bytes to put out. */
static void write_good_chain(struct subject *s, gpa_t buffer, uint32_t n)
{
	uint32_t q_idx = s->kind->output_queue;

	fake_driver_raw_desc(&s->driver, q_idx, 0, HOSTILE_BUF, 16, VRING_DESC_F_NEXT, 1);
	fake_driver_raw_desc(&s->driver, q_idx, 1, buffer.addr, n, VRING_DESC_F_WRITE, 0);
}

/* No status byte of a block request, no whole header of a frame; to a console it is some bytes. */
static void chain_shorter_than_any_header(struct subject *s)
{
	fake_driver_raw_desc(&s->driver, s->kind->output_queue, 0, HOSTILE_BUF, 11, 0, 0);
	fake_driver_raw_avail(&s->driver, s->kind->output_queue, 0);
	subject_kick(s, s->kind->output_queue);
}

static void one_chain_in_every_slot(struct subject *s)
{
	write_good_chain(s, GPA(HOSTILE_BUF + 512), 513);
	for (int i = 0; i < HOSTILE_QUEUE; i++)
		fake_driver_raw_avail(&s->driver, s->kind->output_queue, 0);
	subject_kick(s, s->kind->output_queue);
}

static void more_available_than_the_queue_has(struct subject *s)
{
	s->kind->load(s);
	for (int i = 0; i < HOSTILE_QUEUE; i++)
		fake_driver_raw_avail(&s->driver, s->kind->output_queue, 0);
	subject_kick(s, s->kind->output_queue);
}

/* What the device writes over the rings is what it then reads from them. */
static void buffer_over_the_rings(struct subject *s)
{
	const struct fake_queue *q = &s->driver.queues[s->kind->output_queue];

	write_good_chain(s, q->desc_gpa, 513);
	fake_driver_raw_avail(&s->driver, s->kind->output_queue, 0);
	subject_kick(s, s->kind->output_queue);
	for (uint32_t i = 0; i < s->kind->n_queues; i++) {
		fake_driver_raw_desc(&s->driver, i, 0, s->driver.queues[i].desc_gpa.addr, 513,
				     VRING_DESC_F_WRITE, 0);
		fake_driver_raw_avail(&s->driver, i, 0);
		subject_kick(s, i);
	}
}

static void used_rings_scribbled_over(struct subject *s)
{
	for (uint32_t i = 0; i < s->kind->n_queues; i++) {
		struct guest_slice used = s->driver.queues[i].used;

		assert_int_equal(guest_slice_fill(used, 0, 0xff, used.len), 0);
	}
	s->kind->load(s);
}

static void buffer_that_is_all_of_memory(struct subject *s)
{
	const uint32_t all = HOSTILE_MEM + HOSTILE_MEM_NEXT;
	uint32_t q_idx = s->kind->output_queue;

	fake_driver_raw_desc(&s->driver, q_idx, 0, 0, all, VRING_DESC_F_NEXT, 1);
	fake_driver_raw_desc(&s->driver, q_idx, 1, 0, all, VRING_DESC_F_WRITE, 0);
	fake_driver_raw_avail(&s->driver, q_idx, 0);
	subject_kick(s, q_idx);
}

static void collect(struct subject *s)
{
	uint16_t head;
	uint32_t len;

	for (uint32_t i = 0; i < s->kind->n_queues; i++)
		while (fake_driver_get_used(&s->driver, i, &head, &len))
			;
}

static void flood(struct subject *s)
{
	enum { ROUNDS = 400, SETTLED = 50 };
	size_t before = 0;

	for (int i = 0; i < ROUNDS; i++) {
		s->kind->load(s);
		rig_turns(&s->rig, 2);
		collect(s);
		if (i == SETTLED)
			before = mallinfo2().uordblks;
	}
	assert_true(mallinfo2().uordblks <= before + 4096);
}

/* At work: other vCPUs. */

static void poison(void *ctx)
{
	struct subject *s = ctx;
	struct guest_slice all;

	int res = guest_mem_slice(&s->rig.mem, GPA(0), HOSTILE_MEM, &all);
	assert_int_equal(res, 0);
	assert_int_equal(guest_slice_fill(all, 0, 0xaa, all.len), 0);
}

static bool is_poisoned(struct subject *s)
{
	static uint8_t bytes[HOSTILE_MEM];

	assert_int_equal(guest_mem_read(&s->rig.mem, GPA(0), bytes, sizeof(bytes)), 0);
	return bytes[0] == 0xaa && memcmp(bytes, bytes + 1, sizeof(bytes) - 1) == 0;
}

/* A driver gives its memory away the moment that the reset returns. */
static void resets_with_io_in_flight(struct subject *s)
{
	for (int i = 0; i < 20; i++) {
		struct rig_vcpu v = {
			.rig = &s->rig, .off = VIRTIO_MMIO_STATUS, .after = poison, .ctx = s
		};

		s->kind->load(s);
		rig_turns(&s->rig, i % 3);
		rig_vcpu_begin(&v);
		rig_vcpu_end(&v);
		rig_turns(&s->rig, 3);
		assert_true(is_poisoned(s));
		subject_attack(s, RING_FEATURES);
	}
}

struct flipper {
	struct subject *s;
	pthread_t thread;
	_Atomic bool is_over;
};

/* Not seen by the thread sanitizer: that a guest races is the point. */
__attribute__((no_sanitize("thread"))) static void *flip(void *arg)
{
	struct flipper *f = arg;
	struct subject *s = f->s;
	volatile struct vring_desc *d =
	    guest_slice_iovec(s->driver.queues[s->kind->output_queue].desc).iov_base;

	for (uint32_t i = 0; !atomic_load(&f->is_over); i++) {
		d[1].len = i % 3 ? 513 : UINT32_MAX;
		d[1].addr = i % 5 ? HOSTILE_BUF : UINT64_MAX - 7;
		d[0].next = i % 7 ? 1 : UINT16_MAX;
		d[1].len = 513;
		d[1].addr = HOSTILE_BUF;
		d[0].next = 1;
	}
	return NULL;
}

static void descriptors_changed_while_the_device_reads_them(struct subject *s)
{
	struct flipper f = { .s = s };

	write_good_chain(s, GPA(HOSTILE_BUF), 513);
	assert_int_equal(pthread_create(&f.thread, NULL, flip, &f), 0);
	for (int i = 0; i < 300; i++) {
		if (rig_needs_reset(&s->rig)) {
			rig_reset(&s->rig);
			subject_attack(s, RING_FEATURES);
		}
		fake_driver_raw_avail(&s->driver, s->kind->output_queue, 0);
		subject_kick(s, s->kind->output_queue);
		rig_turns(&s->rig, 2);
	}
	atomic_store(&f.is_over, true);
	assert_int_equal(pthread_join(f.thread, NULL), 0);
}

struct hammer {
	struct subject *s;
	pthread_t thread;
	uint64_t random;
	_Atomic bool is_over;
};

/* Values that often mean something, and some that do not. */
static uint32_t hammer_value(uint64_t z)
{
	static const uint32_t values[] = { 0,  1,  3,      8,      11,     15,        64,
					   16, 32, 0x1000, 0x2000, 0x3000, UINT32_MAX };

	return values[(z >> 8) % ARRAY_SIZE(values)];
}

static void *hammer_run(void *arg)
{
	struct hammer *h = arg;

	for (int i = 0; i < 3000; i++) {
		/* Knuth's 64-bit linear congruence; its high bits are the good ones. */
		h->random = h->random * 6364136223846793005 + 1442695040888963407;
		uint64_t z = h->random >> 24;
		uint64_t reg = (z >> 16) % 4 ? z % 0x30 * 4 : VIRTIO_MMIO_STATUS;

		rig_write(&h->s->rig, reg, 4, hammer_value(z));
		(void)rig_read(&h->s->rig, z % 0xff8, 1u << z % 4);
	}
	atomic_store(&h->is_over, true);
	return NULL;
}

static void registers_hammered_by_two_vcpus(struct subject *s)
{
	struct hammer h[2] = { { .s = s, .random = 1 }, { .s = s, .random = 2 } };
	uint64_t deadline_ns = rig_deadline();

	s->kind->load(s);
	for (size_t i = 0; i < ARRAY_SIZE(h); i++)
		assert_int_equal(pthread_create(&h[i].thread, NULL, hammer_run, &h[i]), 0);
	while (!atomic_load(&h[0].is_over) || !atomic_load(&h[1].is_over))
		rig_wait(&s->rig, deadline_ns);
	for (size_t i = 0; i < ARRAY_SIZE(h); i++)
		assert_int_equal(pthread_join(h[i].thread, NULL), 0);
}

const struct attack attacks[] = {
	{ "DRIVER_OK without FEATURES_OK", driver_ok_without_features_ok, AT_RESET, REFUSES },
	{ "all status bits at once", all_status_bits_at_once, AT_RESET, REFUSES },
	{ "features that were not offered", features_that_were_not_offered, AT_RESET, IGNORES },
	{ "queues before FEATURES_OK", queues_before_features_ok, AT_RESET, IGNORES },
	{ "kicks before anything", kicks_before_anything, AT_RESET, IGNORES },
	{ "registers of any width and place", registers_of_any_width_and_place, AT_RESET, IGNORES },
	{ "features changed after FEATURES_OK", features_changed_after_features_ok, AT_FEATURES_OK,
	  IGNORES },
	{ "queues changed after ready", queues_changed_after_ready, AT_FEATURES_OK, IGNORES },
	{ "queues that there are not", queues_that_there_are_not, AT_FEATURES_OK, IGNORES },
	{ "DRIVER_OK without a queue", driver_ok_without_a_queue, AT_FEATURES_OK, IGNORES },
	{ "features changed at work", features_changed_after_features_ok, AT_WORK, IGNORES },
	{ "queues that there are not, at work", queues_that_there_are_not, AT_WORK, IGNORES },
	{ "status written again", status_written_again, AT_WORK, IGNORES },
	{ "queues set up again", queues_set_up_again, AT_WORK, IGNORES },
	{ "queue taken with I/O in flight", queue_taken_with_io_in_flight, AT_WORK, FAILS },
	{ "configuration space of any width and place", config_space_of_any_width_and_place,
	  AT_WORK, IGNORES },
	{ "chain shorter than its header", chain_shorter_than_any_header, AT_WORK, FAILS,
	  .with = SUBJECT_HAS_HEADERS },
	{ "chain shorter than any header", chain_shorter_than_any_header, AT_WORK, IGNORES,
	  .without = SUBJECT_HAS_HEADERS },
	{ "one chain in every slot, in flight", one_chain_in_every_slot, AT_WORK, FAILS,
	  .with = SUBJECT_HOLDS_CHAINS },
	{ "one chain in every slot, in turn", one_chain_in_every_slot, AT_WORK, IGNORES,
	  .without = SUBJECT_HOLDS_CHAINS },
	{ "more available than the queue has", more_available_than_the_queue_has, AT_WORK, FAILS },
	{ "buffer over the rings", buffer_over_the_rings, AT_WORK, SURVIVES },
	{ "used rings scribbled over", used_rings_scribbled_over, AT_WORK, IGNORES },
	{ "buffer that is all of memory", buffer_that_is_all_of_memory, AT_WORK, IGNORES },
	{ "flood", flood, AT_WORK, IGNORES },
	{ "resets with I/O in flight", resets_with_io_in_flight, AT_WORK, IGNORES },
	{ "descriptors changed while the device reads them",
	  descriptors_changed_while_the_device_reads_them, AT_WORK, SURVIVES },
	{ "registers hammered by two vCPUs", registers_hammered_by_two_vcpus, AT_WORK, SURVIVES },
};

const size_t n_attacks = ARRAY_SIZE(attacks);
