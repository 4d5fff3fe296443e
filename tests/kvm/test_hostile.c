/* The hostile guest (guests/hostile.c) on the real KVM: its devices ask for their resets, the VM lives and ends as it should. */
#include "guest_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { LIMIT_MS = 100 * 1000, DISK_SIZE = 1 << 20 };

static void run(struct guest_vm *g, const char *cmdline, uint32_t n_cpus)
{
	static const struct virtio_net_config net = { .mac = { 2, 0, 0, 0, 0, 1 } };
	int fd = memfd_create("disk", MFD_CLOEXEC);
	const struct virtio_blk_config disk = {
		.fd = fd,
		.file = { .capacity = DISK_SIZE, .block_size = VIRTIO_BLK_SECTOR },
		.limits = { .depth = VIRTIO_BLK_DEPTH_MAX },
		.id = "hostile",
	};

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_SIZE), 0);
	guest_vm_run(g,
		     &(struct guest_vm_config){ .guest = "hostile",
						.cmdline = cmdline,
						.n_cpus = n_cpus,
						.disk = &disk,
						.net = &net },
		     LIMIT_MS);
	close(fd);
	if (g->end != VM_POWER_OFF)
		print_error("end %d %s, COM1: %s\n", (int)g->end, g->end_text, buf_str(&g->com1));
	assert_int_equal(g->end, VM_POWER_OFF);
	assert_non_null(strstr(buf_str(&g->com1), "survived\n"));
}

static void test_broken_rules_each_needs_reset_then_works_again(void **state UNUSED)
{
	static const char *const rules[] = { "zero", "loop",  "head",     "next",
					     "jump", "order", "address",  "registers",
					     "huge", "wrap",  "indirect", "taken" };
	static const char *const devices[] = { "console", "disk", "net" };
	struct guest_vm g;
	char line[64];

	run(&g, "rules", 1);
	for (size_t i = 0; i < ARRAY_SIZE(rules) * ARRAY_SIZE(devices); i++) {
		snprintf(line, sizeof(line), "needs reset: %s %s\n", devices[i / ARRAY_SIZE(rules)],
			 rules[i % ARRAY_SIZE(rules)]);
		assert_non_null(strstr(buf_str(&g.com1), line));
	}
	assert_int_equal(g.stats.console_mmio.n_guest_faults, ARRAY_SIZE(rules));
	assert_int_equal(g.stats.disk_mmio.n_guest_faults, ARRAY_SIZE(rules));
	assert_int_equal(g.stats.net_mmio.n_guest_faults, ARRAY_SIZE(rules));
	guest_vm_fini(&g);
}

static void test_resets_with_reads_in_flight_write_nothing_after(void **state UNUSED)
{
	struct guest_vm g;

	run(&g, "resets=200", 1);
	assert_int_equal(g.stats.disk_mmio.n_guest_faults, 0);
	assert_true(g.stats.disk.n_reads > 200); /* many had begun */
	guest_vm_fini(&g);
}

static void test_registers_touched_by_another_cpu_disturb_nothing(void **state UNUSED)
{
	struct guest_vm g;

	run(&g, "touch=100", 2);
	assert_int_equal(g.stats.disk_mmio.n_guest_faults, 0);
	assert_int_equal(g.stats.console_mmio.n_guest_faults, 0);
	assert_int_equal(g.stats.net_mmio.n_guest_faults, 0);
	assert_int_equal(g.stats.disk.n_errors, 0);
	guest_vm_fini(&g);
}

static void test_registers_hammered_by_two_cpus_are_survived(void **state UNUSED)
{
	struct guest_vm g;

	run(&g, "hammer=2000", 2);
	guest_vm_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_broken_rules_each_needs_reset_then_works_again),
		cmocka_unit_test(test_resets_with_reads_in_flight_write_nothing_after),
		cmocka_unit_test(test_registers_touched_by_another_cpu_disturb_nothing),
		cmocka_unit_test(test_registers_hammered_by_two_cpus_are_survived),
	};
	guest_vm_skip_without_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
