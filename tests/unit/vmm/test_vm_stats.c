/* The counters' text: every key once, a disk's and a network's only where there is one. */
#include "vmm/vm_stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static bool has_line(struct buf *text, const char *line)
{
	CLEANUP(freep) char *wanted = xasprintf("\n%s\n", line);
	CLEANUP(freep) char *whole = xasprintf("\n%s", buf_str(text));

	return strstr(whole, wanted);
}

static void test_console_and_exits_are_told(void **state UNUSED)
{
	struct vm_stats st = { .n_io_exits = 3, .n_unclaimed = 7, .console_mmio.n_kicks = 11 };
	struct buf text = { 0 };

	st.console.port[2].bytes_in = UINT64_MAX;
	vm_stats_format(&st, &text);
	assert_true(has_line(&text, "exits.io 3"));
	assert_true(has_line(&text, "exits.unclaimed 7"));
	assert_true(has_line(&text, "console.kicks 11"));
	assert_true(has_line(&text, "console.port2.bytes_in 18446744073709551615"));
	assert_null(strstr(buf_str(&text), "disk"));
	assert_null(strstr(buf_str(&text), "net."));
	buf_fini(&text);
}

static void test_disk_is_told_where_there_is_one(void **state UNUSED)
{
	struct vm_stats st = { .has_disk = true, .disk_mmio.n_interrupts = 5 };
	struct buf text = { 0 };

	st.disk =
	    (struct virtio_blk_stats){ .n_reads = 1,
				       .n_write_zeroes = 2,
				       .bytes_written = 1024,
				       .n_errors = 4,
				       .gate = { .n_inside_max = 256, .n_throttled_bps = 6 } };
	vm_stats_format(&st, &text);
	assert_true(has_line(&text, "disk.reads 1"));
	assert_true(has_line(&text, "disk.write_zeroes 2"));
	assert_true(has_line(&text, "disk.bytes_written 1024"));
	assert_true(has_line(&text, "disk.errors 4"));
	assert_true(has_line(&text, "disk.in_flight_max 256"));
	assert_true(has_line(&text, "disk.throttled_iops 0"));
	assert_true(has_line(&text, "disk.throttled_bps 6"));
	assert_true(has_line(&text, "disk.interrupts 5"));
	assert_true(has_line(&text, "disk.flushes 0"));
	buf_fini(&text);
}

static void test_net_is_told_where_there_is_one(void **state UNUSED)
{
	struct vm_stats st = { .has_net = true, .net_mmio.n_interrupts_suppressed = 5 };
	struct buf text = { 0 };

	st.net = (struct virtio_net_stats){ .n_frames = 1,
					    .bytes = 2,
					    .n_gso_frames = 3,
					    .n_rx_buffers = 4,
					    .n_stalls = 5,
					    .n_dropped_header = 6,
					    .n_dropped_size = 7,
					    .n_dropped_no_fit = 8,
					    .n_dropped_no_buffer = 9 };
	vm_stats_format(&st, &text);
	assert_true(has_line(&text, "net.interrupts_suppressed 5"));
	assert_true(has_line(&text, "net.frames 1"));
	assert_true(has_line(&text, "net.bytes 2"));
	assert_true(has_line(&text, "net.gso_frames 3"));
	assert_true(has_line(&text, "net.rx_buffers 4"));
	assert_true(has_line(&text, "net.stalls 5"));
	assert_true(has_line(&text, "net.dropped_header 6"));
	assert_true(has_line(&text, "net.dropped_size 7"));
	assert_true(has_line(&text, "net.dropped_no_fit 8"));
	assert_true(has_line(&text, "net.dropped_no_buffer 9"));
	buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_console_and_exits_are_told),
		cmocka_unit_test(test_disk_is_told_where_there_is_one),
		cmocka_unit_test(test_net_is_told_where_there_is_one),
	};

	return cmocka_run_group_tests_name("vmm/vm_stats", tests, NULL, NULL);
}
