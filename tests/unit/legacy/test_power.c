/* Each way to end the guest, the near misses, and what a kernel's probes read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "legacy/power.h"

struct fixture {
	struct power power;
	struct io_bus ports;
	int n_events;
	enum power_event last;
};

static void on_power(void *ctx, enum power_event event)
{
	struct fixture *f = ctx;

	f->n_events++;
	f->last = event;
}

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){ 0 };
	power_init(&f->power, on_power, f);
	assert_int_equal(power_add(&f->power, &f->ports), 0);
}

static uint64_t in(struct fixture *f, uint64_t port, unsigned size)
{
	uint64_t v = 0;

	assert_true(io_bus_read(&f->ports, port, size, &v));
	return v;
}

static void test_write_table_each_port_and_value_gives_its_event(void **state)
{
	static const struct {
		uint64_t port, value;
		unsigned size;
		int n_events;
		enum power_event event;
	} cases[] = {
		{ 0x64, 0xFE, 1, 1, POWER_RESET },
		{ 0x64, 0xFF, 1, 0, POWER_RESET },
		{ 0x60, 0xFE, 1, 0, POWER_RESET },
		{ 0x61, 0xFE, 1, 0, POWER_RESET },
		{ 0x600, 0x01, 1, 1, POWER_RESET },
		{ 0x600, 0x00, 1, 0, POWER_RESET },
		{ 0x601, 5 << 2 | 0x20, 1, 1, POWER_OFF },
		{ 0x601, 5 << 2, 1, 0, POWER_OFF },        /* without SLP_EN */
		{ 0x601, 3 << 2 | 0x20, 1, 0, POWER_OFF }, /* another sleep state */
		{ 0x602, 5 << 2 | 0x20, 1, 0, POWER_OFF }, /* the status register */
		{ 0x600, (5 << 2 | 0x20) << 8, 2, 1, POWER_OFF },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f;

		fixture_init(&f);
		assert_true(io_bus_write(&f.ports, cases[i].port, cases[i].size, cases[i].value));
		assert_int_equal(f.n_events, cases[i].n_events);
		if (f.n_events)
			assert_int_equal(f.last, cases[i].event);
	}
}

static void test_i8042_status_input_buffer_is_empty(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(in(&f, 0x64, 1) & 0x02, 0); /* what reboot=k waits for */
}

/* Linux reads data while the output buffer is full and calls the controller absent after 16 bytes.
 */
static void test_i8042_flush_as_linux_does_it_finds_no_controller(void **state)
{
	struct fixture f;
	int n = 0;

	fixture_init(&f);
	while ((in(&f, 0x64, 1) & 0x01) && n <= 16) {
		(void)in(&f, 0x60, 1);
		n++;
	}
	assert_int_equal(n, 17);
}

static void test_port_b_read_timer_output_is_set(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(in(&f, 0x61, 1), 0x20);
	assert_int_equal(in(&f, 0x60, 4), 0x2000);
}

static void test_sleep_status_read_has_no_wake_bit(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(in(&f, 0x602, 1), 0);
}

static void test_add_twice_overlap_is_refused(void **state)
{
	struct fixture f;
	struct power second;

	fixture_init(&f);
	power_init(&second, on_power, &f);
	assert_true(power_add(&second, &f.ports) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_table_each_port_and_value_gives_its_event),
		cmocka_unit_test(test_i8042_status_input_buffer_is_empty),
		cmocka_unit_test(test_i8042_flush_as_linux_does_it_finds_no_controller),
		cmocka_unit_test(test_port_b_read_timer_output_is_set),
		cmocka_unit_test(test_sleep_status_read_has_no_wake_bit),
		cmocka_unit_test(test_add_twice_overlap_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
