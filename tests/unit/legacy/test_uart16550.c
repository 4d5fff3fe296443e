/* The UART as Linux' 8250 driver meets it: detection, interrupts, both rings and their limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/serial_reg.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "legacy/uart16550.h"

enum { BASE = 0x3F8, SECOND_NS = 1000 * 1000 * 1000 };

struct fixture {
	struct reactor *reactor;
	struct uart16550 *uart;
	struct io_bus ports;
	int irq_fd;
	struct buf output;
};

static void on_output(void *ctx, const uint8_t *data, size_t n)
{
	struct fixture *f = ctx;

	buf_append(&f->output, data, n);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct error err;

	assert_int_equal(
	    reactor_new(&(struct reactor_config){ .backend = REACTOR_EPOLL }, &f->reactor, &err),
	    0);
	f->irq_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct uart16550_config config = { .base = BASE,
					   .name = "com1",
					   .reactor = f->reactor,
					   .irq_fd = f->irq_fd,
					   .output = on_output,
					   .ctx = f };
	assert_int_equal(uart16550_new(&config, &f->uart, &err), 0);
	assert_int_equal(io_bus_add(&f->ports, uart16550_region(f->uart)), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	reactor_turn(f->reactor, 0);
	f->uart = uart16550_free(f->uart);
	f->reactor = reactor_free(f->reactor);
	fd_close(f->irq_fd);
	buf_fini(&f->output);
	freep(state);
	return 0;
}

static uint8_t in(struct fixture *f, unsigned reg)
{
	uint64_t v;

	assert_true(io_bus_read(&f->ports, BASE + reg, 1, &v));
	return (uint8_t)v;
}

static void out(struct fixture *f, unsigned reg, uint8_t v)
{
	assert_true(io_bus_write(&f->ports, BASE + reg, 1, v));
}

/* Pulses since the last call. */
static uint64_t pulses(struct fixture *f)
{
	uint64_t n = 0;

	return read(f->irq_fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

/* The steps of Linux' autoconfig() up to and including autoconfig_16550a() with all variants, but
 * its delay. */

static void test_autoconfig_ier_test_register_is_there(void **state)
{
	struct fixture *f = *state;

	out(f, UART_IER, 0);
	assert_int_equal(in(f, UART_IER) & 0x0F, 0);
	out(f, UART_IER, 0x0F);
	assert_int_equal(in(f, UART_IER) & 0x0F, 0x0F);
}

static void test_autoconfig_loopback_modem_outputs_show_as_inputs(void **state)
{
	struct fixture *f = *state;

	out(f, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	assert_int_equal(in(f, UART_MSR) & 0xF0, UART_MSR_DCD | UART_MSR_CTS);
	out(f, UART_MCR, UART_MCR_LOOP | UART_MCR_DTR | UART_MCR_OUT1);
	assert_int_equal(in(f, UART_MSR) & 0xF0, UART_MSR_DSR | UART_MSR_RI);
	out(f, UART_MCR, 0);
	assert_int_equal(in(f, UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
}

static void test_autoconfig_fifo_enable_iir_says_16550a(void **state)
{
	struct fixture *f = *state;

	out(f, UART_LCR, UART_LCR_CONF_MODE_B);
	out(f, UART_EFR, 0);
	out(f, UART_LCR, 0);
	assert_int_equal(in(f, UART_IIR) & 0xC0, 0);
	out(f, UART_FCR, UART_FCR_ENABLE_FIFO);
	assert_int_equal(in(f, UART_IIR) & 0xC0, 0xC0);
}

static void test_autoconfig_variants_none_is_recognised(void **state)
{
	struct fixture *f = *state;

	out(f, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(f, UART_LCR, UART_LCR_CONF_MODE_A);
	assert_int_not_equal(in(f, UART_EFR), 0); /* no EFR behind DLAB */
	out(f, UART_LCR, UART_LCR_CONF_MODE_B);
	assert_int_not_equal(in(f, UART_EFR), 0); /* nor behind 0xBF */

	/* National's bank switch: register 2 does not follow MCR's loop bit. */
	out(f, UART_LCR, 0);
	uint8_t mcr = in(f, UART_MCR);
	out(f, UART_LCR, 0xE0);
	assert_int_equal((in(f, 2) ^ mcr) & UART_MCR_LOOP, 0);
	out(f, UART_LCR, 0);
	out(f, UART_MCR, mcr ^ UART_MCR_LOOP);
	out(f, UART_LCR, 0xE0);
	uint8_t exr = in(f, 2);
	out(f, UART_LCR, 0);
	out(f, UART_MCR, mcr);
	assert_int_equal((exr ^ mcr) & UART_MCR_LOOP, 0);

	/* 16750: bit 5 of IIR with 64-byte FIFOs. */
	out(f, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
	assert_int_equal(in(f, UART_IIR) & 0xE0, 0xC0);
	out(f, UART_LCR, UART_LCR_CONF_MODE_A);
	out(f, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
	assert_int_equal(in(f, UART_IIR) & 0xE0, 0xC0);
	out(f, UART_LCR, 0);

	/* XScale: UUE sticks. */
	out(f, UART_IER, UART_IER_UUE);
	assert_int_equal(in(f, UART_IER), 0);
}

/* Linux' size_fifo(): 256 bytes in loop mode, then count what arrived. */
static void test_autoconfig_fifo_size_is_16(void **state)
{
	struct fixture *f = *state;
	int n = 0;

	out(f, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT);
	out(f, UART_MCR, UART_MCR_LOOP);
	for (int i = 0; i < 256; i++)
		out(f, UART_TX, (uint8_t)i);
	while ((in(f, UART_LSR) & UART_LSR_DR) && n < 256)
		assert_int_equal(in(f, UART_RX), n++);
	assert_int_equal(n, 16);
	out(f, UART_MCR, 0);
	reactor_turn(f->reactor, 0);
	assert_int_equal(f->output.len, 0); /* loop mode sends nothing */
}

/* Linux' startup: is the THR interrupt raised again when it is enabled again? If not, it polls with
 * a timer. */
static void test_startup_thre_test_interrupt_is_reasserted(void **state)
{
	struct fixture *f = *state;

	assert_int_not_equal(in(f, UART_LSR), 0xFF);
	out(f, UART_IER, UART_IER_THRI);
	uint8_t first = in(f, UART_IIR);
	out(f, UART_IER, 0);
	out(f, UART_IER, UART_IER_THRI);
	uint8_t second = in(f, UART_IIR);
	out(f, UART_IER, 0);
	assert_int_equal(first, UART_IIR_THRI);
	assert_int_equal(second, UART_IIR_THRI);
	assert_int_equal(in(f, UART_IIR), UART_IIR_NO_INT);
}

static void test_divisor_dlab_selects_its_latches(void **state)
{
	struct fixture *f = *state;

	out(f, UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
	out(f, UART_DLL, 0x34);
	out(f, UART_DLM, 0x12);
	assert_int_equal(in(f, UART_DLL), 0x34);
	assert_int_equal(in(f, UART_DLM), 0x12);
	out(f, UART_LCR, UART_LCR_WLEN8);
	assert_int_equal(in(f, UART_IER), 0);
	reactor_turn(f->reactor, 0);
	assert_int_equal(f->output.len, 0);
}

static void test_scratch_keeps_its_value(void **state)
{
	struct fixture *f = *state;

	out(f, UART_SCR, 0xA5);
	assert_int_equal(in(f, UART_SCR), 0xA5);
}

static void test_transmit_polled_bytes_arrive_in_order_and_lsr_stays_empty(void **state)
{
	struct fixture *f = *state;
	const char *text = "last words";

	for (const char *p = text; *p; p++) {
		assert_int_equal(in(f, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
		out(f, UART_TX, (uint8_t)*p);
	}
	assert_int_equal(f->output.len, 0); /* not on the vCPU's thread */
	reactor_turn(f->reactor, SECOND_NS);
	assert_string_equal(buf_str(&f->output), text);
	assert_int_equal(pulses(f), 0);
}

/* A driver that only ever acts in its interrupt handler gets one for every byte it writes. */
static void test_transmit_interrupt_driven_never_stalls(void **state)
{
	struct fixture *f = *state;
	int sent = 0;

	out(f, UART_IER, UART_IER_THRI);
	while (sent < 100) {
		assert_true(pulses(f) > 0);
		assert_int_equal(in(f, UART_IIR) & 0x0F, UART_IIR_THRI);
		out(f, UART_TX, (uint8_t)('0' + sent++ % 10));
	}
	reactor_turn(f->reactor, SECOND_NS);
	assert_int_equal(f->output.len, 100);
}

static void test_transmit_handler_that_skips_iir_never_stalls(void **state)
{
	struct fixture *f = *state;

	out(f, UART_IER, UART_IER_THRI);
	for (int i = 0; i < 20; i++) {
		assert_true(pulses(f) > 0);
		out(f, UART_TX, 'x');
	}
}

static void test_thri_iir_read_acknowledges(void **state)
{
	struct fixture *f = *state;

	out(f, UART_IER, UART_IER_THRI);
	assert_int_equal(pulses(f), 1);
	assert_int_equal(in(f, UART_IIR), UART_IIR_THRI);
	assert_int_equal(in(f, UART_IIR), UART_IIR_NO_INT);
	assert_int_equal(pulses(f), 0);
	out(f, UART_IER, UART_IER_THRI); /* not newly enabled: nothing */
	assert_int_equal(in(f, UART_IIR), UART_IIR_NO_INT);
}

static void test_receive_enabled_interrupt_pulses_once_per_arrival(void **state)
{
	struct fixture *f = *state;

	out(f, UART_IER, UART_IER_RDI);
	assert_int_equal(uart16550_input(f->uart, "ab", 2), 2);
	assert_int_equal(pulses(f), 1);
	assert_int_equal(in(f, UART_IIR), UART_IIR_RDI);
	assert_int_equal(pulses(f), 0); /* named what there is */
	assert_int_equal(in(f, UART_LSR) & UART_LSR_DR, UART_LSR_DR);
	assert_int_equal(in(f, UART_RX), 'a');
	assert_int_equal(pulses(f), 1); /* one is left */
	assert_int_equal(in(f, UART_RX), 'b');
	assert_int_equal(pulses(f), 0);
	assert_int_equal(in(f, UART_LSR) & UART_LSR_DR, 0);
	assert_int_equal(in(f, UART_IIR), UART_IIR_NO_INT);
}

static void test_receive_before_enable_pulses_at_enable(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(uart16550_input(f->uart, "a", 1), 1);
	assert_int_equal(pulses(f), 0);
	out(f, UART_IER, UART_IER_RDI);
	assert_int_equal(pulses(f), 1);
}

static void test_iir_two_conditions_highest_first_and_the_other_pulses(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(uart16550_input(f->uart, "a", 1), 1);
	out(f, UART_IER, UART_IER_RDI | UART_IER_THRI);
	(void)pulses(f);
	assert_int_equal(in(f, UART_IIR), UART_IIR_RDI);
	assert_int_equal(pulses(f), 1);
	(void)in(f, UART_RX);
	assert_int_equal(pulses(f), 1);
	assert_int_equal(in(f, UART_IIR), UART_IIR_THRI);
	assert_int_equal(pulses(f), 0);
}

static void test_loopback_overrun_is_a_line_status_interrupt_until_lsr_is_read(void **state)
{
	struct fixture *f = *state;

	out(f, UART_MCR, UART_MCR_LOOP);
	out(f, UART_IER, UART_IER_RLSI);
	out(f, UART_TX, 1);
	assert_int_equal(pulses(f), 0);
	out(f, UART_TX, 2); /* without FIFOs there is room for one */
	assert_int_equal(pulses(f), 1);
	assert_int_equal(in(f, UART_IIR), UART_IIR_RLSI);
	assert_int_equal(in(f, UART_LSR) & UART_LSR_OE, UART_LSR_OE);
	assert_int_equal(in(f, UART_LSR) & UART_LSR_OE, 0);
	assert_int_equal(in(f, UART_IIR), UART_IIR_NO_INT);
}

static void test_input_loop_mode_takes_nothing(void **state)
{
	struct fixture *f = *state;

	out(f, UART_MCR, UART_MCR_LOOP);
	assert_int_equal(uart16550_input(f->uart, "a", 1), 0);
}

static void test_input_more_than_4_kib_takes_what_fits(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[5000];

	assert_int_equal(uart16550_input(f->uart, bytes, sizeof(bytes)), 4096);
	assert_int_equal(uart16550_input(f->uart, bytes, 1), 0);
	(void)in(f, UART_RX);
	assert_int_equal(uart16550_input(f->uart, bytes, 2), 1);
}

static void test_fcr_clear_receiver_drops_a_fifo_and_keeps_what_was_typed_ahead(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(uart16550_input(f->uart, "0123456789abcdefX", 17), 17);
	out(f, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	assert_int_equal(in(f, UART_RX), 'X');
	assert_int_equal(in(f, UART_LSR) & UART_LSR_DR, 0);
}

static void test_transmit_ring_overflow_counts_drops_and_keeps_the_first(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < UART_RING_SIZE; i++)
		out(f, UART_TX, (uint8_t)i);
	assert_int_equal(uart16550_dropped(f->uart), 0);
	for (int i = 0; i < 10; i++)
		out(f, UART_TX, 'z');
	assert_int_equal(uart16550_dropped(f->uart), 10);
	uart16550_drain(f->uart);
	assert_int_equal(f->output.len, UART_RING_SIZE);
	for (size_t i = 0; i < f->output.len; i++)
		assert_int_equal(f->output.data[i], (uint8_t)i);
	out(f, UART_TX, 'n');
	uart16550_drain(f->uart);
	assert_int_equal(f->output.data[UART_RING_SIZE], 'n');
	assert_int_equal(uart16550_dropped(f->uart), 10);
}

static void test_wide_access_is_one_byte_per_register(void **state)
{
	struct fixture *f = *state;
	uint64_t v;

	assert_true(
	    io_bus_write(&f->ports, BASE + UART_MSR, 2, 0x5AFF)); /* MSR ignores it, SCR keeps it */
	assert_true(io_bus_read(&f->ports, BASE + UART_MSR, 2, &v));
	assert_int_equal(v, 0x5A00 | UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	assert_false(io_bus_read(&f->ports, BASE + UART_SCR, 2, &v)); /* beyond the window */
}

static void test_free_with_its_post_pending_is_safe(void **state)
{
	struct fixture *f = *state;

	out(f, UART_TX, 'x');
	f->uart = uart16550_free(f->uart);
	reactor_turn(f->reactor, SECOND_NS); /* frees the memory: the leak checker says when not */
	assert_int_equal(f->output.len, 0);
}

enum { WRITERS = 2, PER_WRITER = 5000 };

static void *writer(void *arg)
{
	struct fixture *f = arg;

	for (int i = 0; i < PER_WRITER; i++)
		(void)io_bus_write(&f->ports, BASE + UART_TX, 1, 'w');
	return NULL;
}

static void test_transmit_two_vcpus_while_draining_loses_nothing(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[WRITERS];

	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, writer, f), 0);
	while (f->output.len < WRITERS * PER_WRITER)
		reactor_turn(f->reactor, SECOND_NS);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(f->output.len, WRITERS * PER_WRITER);
	assert_int_equal(uart16550_dropped(f->uart), 0);
}

#define UART_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UART_TEST(test_autoconfig_ier_test_register_is_there),
		UART_TEST(test_autoconfig_loopback_modem_outputs_show_as_inputs),
		UART_TEST(test_autoconfig_fifo_enable_iir_says_16550a),
		UART_TEST(test_autoconfig_variants_none_is_recognised),
		UART_TEST(test_autoconfig_fifo_size_is_16),
		UART_TEST(test_startup_thre_test_interrupt_is_reasserted),
		UART_TEST(test_divisor_dlab_selects_its_latches),
		UART_TEST(test_scratch_keeps_its_value),
		UART_TEST(test_transmit_polled_bytes_arrive_in_order_and_lsr_stays_empty),
		UART_TEST(test_transmit_interrupt_driven_never_stalls),
		UART_TEST(test_transmit_handler_that_skips_iir_never_stalls),
		UART_TEST(test_thri_iir_read_acknowledges),
		UART_TEST(test_receive_enabled_interrupt_pulses_once_per_arrival),
		UART_TEST(test_receive_before_enable_pulses_at_enable),
		UART_TEST(test_iir_two_conditions_highest_first_and_the_other_pulses),
		UART_TEST(test_loopback_overrun_is_a_line_status_interrupt_until_lsr_is_read),
		UART_TEST(test_input_loop_mode_takes_nothing),
		UART_TEST(test_input_more_than_4_kib_takes_what_fits),
		UART_TEST(test_fcr_clear_receiver_drops_a_fifo_and_keeps_what_was_typed_ahead),
		UART_TEST(test_transmit_ring_overflow_counts_drops_and_keeps_the_first),
		UART_TEST(test_wide_access_is_one_byte_per_register),
		UART_TEST(test_free_with_its_post_pending_is_safe),
		UART_TEST(test_transmit_two_vcpus_while_draining_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
