/* See irq_line.h. */
#include "bus/irq_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

static void test_pulse_with_descriptor_signals_and_counts(void **state)
{
	struct irq_line line = { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	uint64_t n;

	assert_true(line.fd >= 0);
	irq_line_pulse(&line);
	irq_line_pulse(&line);
	assert_int_equal(read(line.fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 2);
	assert_int_equal(line.n_raised, 2);
	close(line.fd);
}

static void test_pulse_without_descriptor_only_counts(void **state)
{
	struct irq_line line = { .fd = -1 };

	irq_line_pulse(&line);
	assert_int_equal(line.n_raised, 1);
}

static void count_pin(void *ctx, unsigned pin)
{
	((unsigned *)ctx)[pin]++;
}

static void test_pulse_with_sink_reaches_its_pin(void **state)
{
	unsigned n[3] = { 0 };
	struct irq_line line = { .fd = -1, .sink = { count_pin, n, 2 } };

	irq_line_pulse(&line);
	irq_line_pulse(&line);
	assert_int_equal(n[2], 2);
	assert_int_equal(n[0] + n[1], 0);
	assert_int_equal(line.n_raised, 2);
}

static void test_pulse_with_full_counter_does_not_block(void **state)
{
	struct irq_line line = { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	uint64_t n = UINT64_MAX - 1;

	assert_int_equal(write(line.fd, &n, sizeof(n)), sizeof(n));
	irq_line_pulse(&line);
	assert_int_equal(line.n_raised, 1);
	close(line.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pulse_with_descriptor_signals_and_counts),
		cmocka_unit_test(test_pulse_without_descriptor_only_counts),
		cmocka_unit_test(test_pulse_with_sink_reaches_its_pin),
		cmocka_unit_test(test_pulse_with_full_counter_does_not_block),
	};

	return cmocka_run_group_tests_name("bus/irq_line", tests, NULL, NULL);
}
