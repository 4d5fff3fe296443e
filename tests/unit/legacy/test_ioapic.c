/* The I/O APIC through its window, with a router that records. */
#include "legacy/ioapic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

enum {
	SELECT = 0x00,
	WINDOW = 0x10,
	EOI = 0x40,
	MASKED = 1 << 16,
	LEVEL = 1 << 15,
	REMOTE_IRR = 1 << 14,
	LOGICAL = 1 << 11,
	VECTOR = 0x31,
};

struct fixture {
	struct ioapic a;
	unsigned n_sent;
	struct ioapic_message last;
	unsigned n_watched;
	unsigned watched_pin;
	bool is_watched[IOAPIC_N_PINS];
	struct ioapic_message watched;
};

static void on_send(void *ctx, const struct ioapic_message *message)
{
	struct fixture *f = ctx;

	f->n_sent++;
	f->last = *message;
}

static void on_watch(void *ctx, unsigned pin, const struct ioapic_message *message)
{
	struct fixture *f = ctx;

	f->n_watched++;
	f->watched_pin = pin;
	f->is_watched[pin] = message != NULL;
	if (message)
		f->watched = *message;
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	ioapic_init(&f->a, &(struct ioapic_config){
			       .base = 0xFEC00000, .send = on_send, .watch = on_watch, .ctx = f });
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ioapic_fini(&f->a);
	free(f);
	return 0;
}

static uint32_t window_read(struct fixture *f, uint64_t off)
{
	return (uint32_t)f->a.region.ops->read(&f->a.region, off, 4);
}

static void window_write(struct fixture *f, uint64_t off, uint32_t v)
{
	f->a.region.ops->write(&f->a.region, off, 4, v);
}

static uint32_t reg_read(struct fixture *f, unsigned index)
{
	window_write(f, SELECT, index);
	return window_read(f, WINDOW);
}

static void reg_write(struct fixture *f, unsigned index, uint32_t v)
{
	window_write(f, SELECT, index);
	window_write(f, WINDOW, v);
}

static void set_low(struct fixture *f, unsigned pin, uint32_t low)
{
	reg_write(f, 0x10 + 2 * pin, low);
}

static uint32_t low_of(struct fixture *f, unsigned pin)
{
	return reg_read(f, 0x10 + 2 * pin);
}

static void pulse(struct fixture *f, unsigned pin)
{
	struct irq_sink sink = ioapic_sink(&f->a, pin);

	sink.pulse(sink.ctx, sink.pin);
}

static void test_reset_every_pin_is_masked_and_quiet(void **state)
{
	struct fixture *f = *state;

	for (unsigned pin = 0; pin < IOAPIC_N_PINS; pin++) {
		assert_int_equal(low_of(f, pin), MASKED);
		assert_int_equal(reg_read(f, 0x11 + 2 * pin), 0);
		pulse(f, pin);
	}
	assert_int_equal(f->n_sent, 0);
	assert_int_equal(f->n_watched, 0);
}

static void test_registers_version_tells_24_pins_and_an_eoi_register(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(reg_read(f, 1), 0x00170020);
	reg_write(f, 1, 0);
	assert_int_equal(reg_read(f, 1), 0x00170020);
	reg_write(f, 0, UINT32_MAX);
	assert_int_equal(reg_read(f, 0), 0x0F000000);
	assert_int_equal(reg_read(f, 2), 0x0F000000);
}

static void test_registers_unknown_and_narrow_accesses_do_nothing(void **state)
{
	static const unsigned sizes[] = { 1, 2, 8 };
	struct fixture *f = *state;

	for (unsigned index = 0; index < 256; index++) {
		if (index < 3 || (index >= 0x10 && index < 0x40))
			continue;
		reg_write(f, index, UINT32_MAX);
		assert_int_equal(reg_read(f, index), 0);
	}
	for (uint64_t off = 0; off < 0x100; off += 4)
		if (off != SELECT && off != WINDOW && off != EOI) {
			window_write(f, off, UINT32_MAX);
			assert_int_equal(window_read(f, off), 0);
		}
	window_write(f, SELECT, 0x10);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		f->a.region.ops->write(&f->a.region, WINDOW, sizes[i], 0);
		assert_int_equal(f->a.region.ops->read(&f->a.region, WINDOW, sizes[i]), 0);
	}
	assert_int_equal(window_read(f, WINDOW), MASKED);
	assert_int_equal(f->n_sent, 0);
}

static void test_entry_fields_are_the_message(void **state)
{
	static const struct {
		uint32_t high, low;
		struct ioapic_message want;
	} cases[] = {
		{ 0, 0x31, { .vector = 0x31 } },
		{ 7u << 24, 0x20, { .destination = 7, .vector = 0x20 } },
		{ 0xFFu << 24, 0xFF, { .destination = 255, .vector = 0xFF } },
		{ 1u << 17, 0x40, { .destination = 256, .vector = 0x40 } },
		{ 0x2Cu << 24 | 1u << 17, 0x41, { .destination = 300, .vector = 0x41 } },
		{ 0xFFFE0000u, 0x42, { .destination = 32767, .vector = 0x42 } },
		{ 3u << 24, 0x43 | LOGICAL, { .destination = 3, .logical = true, .vector = 0x43 } },
		{ 0, 0x44 | 1 << 8, { .delivery_mode = 1, .vector = 0x44 } },
		{ 0, 4 << 8, { .delivery_mode = 4 } },
		{ 0, 0x45 | LEVEL, { .level = true, .vector = 0x45 } },
		{ 0, 0x46 | 1 << 13, { .vector = 0x46 } }, /* polarity: a pulse has none */
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct ioapic_message *want = &cases[i].want;

		reg_write(f, 0x11 + 2 * i, cases[i].high);
		set_low(f, i, cases[i].low);
		pulse(f, i);
		assert_int_equal(f->n_sent, i + 1);
		assert_int_equal(f->last.destination, want->destination);
		assert_int_equal(f->last.logical, want->logical);
		assert_int_equal(f->last.level, want->level);
		assert_int_equal(f->last.delivery_mode, want->delivery_mode);
		assert_int_equal(f->last.vector, want->vector);
	}
}

static void test_edge_each_pulse_is_a_message(void **state)
{
	struct fixture *f = *state;

	set_low(f, 4, VECTOR);
	for (unsigned i = 1; i <= 3; i++) {
		pulse(f, 4);
		assert_int_equal(f->n_sent, i);
	}
	assert_int_equal(f->n_watched, 0); /* nobody has to report EOIs */
	assert_int_equal(low_of(f, 4), VECTOR);
}

static void test_masked_pin_keeps_the_edge_until_it_is_unmasked(void **state)
{
	struct fixture *f = *state;

	set_low(f, 5, MASKED | VECTOR);
	pulse(f, 5);
	pulse(f, 5);
	set_low(f, 5, MASKED | 0x77); /* still masked */
	assert_int_equal(f->n_sent, 0);
	set_low(f, 5, 0x77);
	assert_int_equal(f->n_sent, 1);
	assert_int_equal(f->last.vector, 0x77);
	set_low(f, 5, MASKED | 0x77);
	set_low(f, 5, 0x77);
	assert_int_equal(f->n_sent, 1); /* once */
}

static void test_level_second_pulse_waits_for_the_eoi(void **state)
{
	struct fixture *f = *state;

	set_low(f, 9, LEVEL | VECTOR);
	pulse(f, 9);
	assert_int_equal(f->n_sent, 1);
	assert_int_equal(low_of(f, 9), LEVEL | REMOTE_IRR | VECTOR);
	pulse(f, 9);
	assert_int_equal(f->n_sent, 1);
	ioapic_eoi(&f->a, VECTOR + 1); /* another's */
	assert_int_equal(f->n_sent, 1);
	ioapic_eoi(&f->a, VECTOR);
	assert_int_equal(f->n_sent, 2);
	window_write(f, EOI, VECTOR); /* the register does the same */
	assert_int_equal(f->n_sent, 2);
	assert_int_equal(low_of(f, 9), LEVEL | VECTOR);
}

static void test_level_masked_during_eoi_sends_when_unmasked(void **state)
{
	struct fixture *f = *state;

	set_low(f, 9, LEVEL | VECTOR);
	pulse(f, 9);
	set_low(f, 9, MASKED | LEVEL | VECTOR);
	assert_int_equal(low_of(f, 9), MASKED | LEVEL | REMOTE_IRR | VECTOR);
	pulse(f, 9);
	ioapic_eoi(&f->a, VECTOR);
	assert_int_equal(f->n_sent, 1);
	set_low(f, 9, LEVEL | VECTOR);
	assert_int_equal(f->n_sent, 2);
}

static void test_level_turned_to_edge_forgets_remote_irr(void **state)
{
	struct fixture *f = *state;

	set_low(f, 9, LEVEL | VECTOR);
	pulse(f, 9);
	set_low(f, 9, MASKED | VECTOR);
	set_low(f, 9, MASKED | LEVEL | VECTOR);
	assert_int_equal(low_of(f, 9), MASKED | LEVEL | VECTOR);
}

static void test_read_only_bits_cannot_be_written(void **state)
{
	struct fixture *f = *state;

	set_low(f, 3, MASKED | LEVEL | REMOTE_IRR | 1 << 12 | VECTOR);
	assert_int_equal(low_of(f, 3), MASKED | LEVEL | VECTOR);
}

static void test_watch_follows_level_entries_only(void **state)
{
	struct fixture *f = *state;

	set_low(f, 2, MASKED | LEVEL | VECTOR);
	assert_int_equal(f->n_watched, 1);
	assert_int_equal(f->watched_pin, 2);
	assert_int_equal(f->watched.vector, VECTOR);
	set_low(f, 2, LEVEL | VECTOR); /* the mask is no news */
	pulse(f, 2);
	set_low(f, 2, LEVEL | VECTOR);
	assert_int_equal(f->n_watched, 1);
	reg_write(f, 0x11 + 2 * 2, 5u << 24);
	assert_int_equal(f->n_watched, 2);
	assert_int_equal(f->watched.destination, 5);
	set_low(f, 2, MASKED | VECTOR);
	assert_int_equal(f->n_watched, 3);
	assert_false(f->is_watched[2]);
}

/*
 * Random guests and devices against what a pin owes: after every step, a pin that was pulsed since its last message
 * has that pulse pending, or nothing holds it back.
 */
static void test_random_sequences_lose_no_pulse(void **state)
{
	struct fixture *f = *state;
	bool owed[IOAPIC_N_PINS] = { false }, in_service[IOAPIC_N_PINS] = { false };
	bool masked[IOAPIC_N_PINS], level[IOAPIC_N_PINS] = { false };
	unsigned want = 0;

	memset(masked, true, sizeof(masked));
	srandom(1);
	for (unsigned step = 0; step < 200000; step++) {
		long r = random();
		unsigned pin = (unsigned)(r >> 8) % IOAPIC_N_PINS;

		switch (r % 4) {
		case 0:
			owed[pin] = true;
			pulse(f, pin);
			break;
		case 1:
			in_service[pin] = false;
			ioapic_eoi(&f->a, (uint8_t)(0x30 + pin));
			break;
		default:
			masked[pin] = r & 0x40;
			level[pin] = r & 0x20;
			in_service[pin] = in_service[pin] && level[pin];
			set_low(f, pin,
				(uint32_t)(0x30 + pin) | (masked[pin] ? MASKED : 0) |
				    (level[pin] ? LEVEL : 0));
		}
		if (owed[pin] && !masked[pin] && !in_service[pin]) {
			owed[pin] = false;
			in_service[pin] = level[pin];
			want++;
			assert_int_equal(f->last.vector, 0x30 + pin);
		}
		assert_int_equal(f->n_sent, want);
	}
	assert_true(want > 10000);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_reset_every_pin_is_masked_and_quiet),
		CASE(test_registers_version_tells_24_pins_and_an_eoi_register),
		CASE(test_registers_unknown_and_narrow_accesses_do_nothing),
		CASE(test_entry_fields_are_the_message),
		CASE(test_edge_each_pulse_is_a_message),
		CASE(test_masked_pin_keeps_the_edge_until_it_is_unmasked),
		CASE(test_level_second_pulse_waits_for_the_eoi),
		CASE(test_level_masked_during_eoi_sends_when_unmasked),
		CASE(test_level_turned_to_edge_forgets_remote_irr),
		CASE(test_read_only_bits_cannot_be_written),
		CASE(test_watch_follows_level_entries_only),
		CASE(test_random_sequences_lose_no_pulse),
	};

	return cmocka_run_group_tests_name("legacy/ioapic", tests, NULL, NULL);
}
