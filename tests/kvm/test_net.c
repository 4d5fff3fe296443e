/* The network device under a real driver in a real guest: every frame comes back, whatever its size, and nothing after a reset. */
#include "guest_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT_MS = 60 * 1000, N_BATCHES = 50, PER_BATCH = 8, BATCH_BYTES = 8 * 100 + 28 * 100 };

static const struct virtio_net_config net = { .mac = { 2, 0, 0, 0, 0, 1 } };

static struct vm_stats run(const char *cmdline)
{
	struct guest_vm g;
	guest_vm_run(&g,
		     &(struct guest_vm_config){ .guest = "net", .cmdline = cmdline, .net = &net },
		     LIMIT_MS);
	if (g.end != VM_POWER_OFF)
		print_error("%s: end %d %s, COM1: %s\n", cmdline, (int)g.end, g.end_text,
			    buf_str(&g.com1));
	assert_int_equal(g.end, VM_POWER_OFF);
	assert_true(g.stats.has_net);
	assert_int_equal(g.stats.net_mmio.n_guest_faults, 0);
	assert_int_equal(g.stats.net_mmio.n_notify_exits, 0);
	assert_int_equal(g.stats.net.n_dropped_header + g.stats.net.n_dropped_size +
			     g.stats.net.n_dropped_no_fit,
			 0);
	struct vm_stats stats = g.stats;
	guest_vm_fini(&g);
	return stats;
}

static void test_frames_of_every_size_come_back_exactly(void **state UNUSED)
{
	static const char *const how[] = { "sizes", "sizes irq event_idx", "sizes merge",
					   "sizes merge irq event_idx" };
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		struct vm_stats s = run(how[i]);
		assert_true(s.net.n_frames > 60);
		assert_true(s.net.bytes > 300 * 1000);
		if (strstr(how[i], "merge"))
			assert_true(s.net.n_rx_buffers > s.net.n_frames + 16);
		else
			assert_int_equal(s.net.n_rx_buffers, s.net.n_frames);
	}
}

static void test_batches_cost_few_kicks_and_interrupts(void **state UNUSED)
{
	static const char *const how[] = { "batch", "batch irq", "batch merge irq event_idx" };
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		struct vm_stats s = run(how[i]);
		assert_int_equal(s.net.n_frames, N_BATCHES * PER_BATCH);
		assert_int_equal(s.net.bytes, N_BATCHES * BATCH_BYTES);
		assert_int_equal(s.net.n_dropped_no_buffer, 0);
		if (strstr(how[i], "irq"))
			assert_true(s.net_mmio.n_interrupts > 0);
		else
			assert_int_equal(s.net_mmio.n_interrupts, 0);
	}
}

static void test_reset_in_flight_nothing_is_written_after_it(void **state UNUSED)
{
	(void)run("reset_inflight=5");
	(void)run("reset_inflight=20 merge event_idx");
}

static void test_power_off_with_a_frame_that_waits_is_counted(void **state UNUSED)
{
	struct vm_stats s = run("starve");
	assert_int_equal(s.net.n_frames, 0);
	assert_int_equal(s.net.n_stalls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_of_every_size_come_back_exactly),
		cmocka_unit_test(test_batches_cost_few_kicks_and_interrupts),
		cmocka_unit_test(test_reset_in_flight_nothing_is_written_after_it),
		cmocka_unit_test(test_power_off_with_a_frame_that_waits_is_counted),
	};
	guest_vm_skip_without_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
