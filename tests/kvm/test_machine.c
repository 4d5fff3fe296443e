/* The machine without devices: start, serial text, boot parameters, every way to end, several CPUs. */
#include "guest_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/frame.h"

enum { LIMIT_MS = 20 * 1000, HANG_MS = 1500, WIDE_LIMIT_MS = 60 * 1000 };

static void test_flat_powers_off_without_a_word(void **state UNUSED)
{
	struct guest_vm g;
	guest_vm_run(&g, &(struct guest_vm_config){ .guest = "flat" }, LIMIT_MS);
	assert_int_equal(g.end, VM_POWER_OFF);
	assert_int_equal(g.com1.len, 0);
	guest_vm_fini(&g);
}

static void test_hello_gets_command_line_and_initrd(void **state UNUSED)
{
	uint8_t initrd[100001];
	for (size_t i = 0; i < sizeof(initrd); i++)
		initrd[i] = (uint8_t)(i * 7 + (i >> 8));
	char want[128];
	snprintf(want, sizeof(want), "\ninitrd: %zu 0x%x\n", sizeof(initrd),
		 frame_crc32(0, initrd, sizeof(initrd)));
	struct guest_vm g;
	guest_vm_run(&g,
		     &(struct guest_vm_config){ .guest = "hello",
						.cmdline = "crc word=17",
						.initrd = initrd,
						.initrd_len = sizeof(initrd) },
		     LIMIT_MS);
	assert_int_equal(g.end, VM_POWER_OFF);
	assert_non_null(strstr(buf_str(&g.com1), "hello\n"));
	assert_non_null(strstr(buf_str(&g.com1), "crc word=17"));
	assert_non_null(strstr(buf_str(&g.com1), want));
	guest_vm_fini(&g);
}

static void test_ends_each_is_told_apart(void **state UNUSED)
{
	static const struct {
		const char *word;
		enum vm_end end;
		uint64_t limit_ms;
	} cases[] = {
		{ "acpi_off", VM_POWER_OFF, LIMIT_MS }, { "reset", VM_RESET, LIMIT_MS },
		{ "i8042", VM_RESET, LIMIT_MS },        { "triple", VM_TRIPLE_FAULT, LIMIT_MS },
		{ "panic", VM_RESET, LIMIT_MS },        { "hang", VM_STOPPED, HANG_MS },
		{ "hang_hlt", VM_STOPPED, HANG_MS },    { "hang_cli", VM_STOPPED, HANG_MS },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_vm g;
		guest_vm_run(&g,
			     &(struct guest_vm_config){ .guest = "ends", .cmdline = cases[i].word },
			     cases[i].limit_ms);
		if (g.end != cases[i].end)
			print_error("case %s: %s\n", cases[i].word, g.end_text);
		assert_int_equal(g.end, cases[i].end);
		assert_non_null(
		    strstr(buf_str(&g.com1), "ends\n")); /* written before the end is not lost */
		guest_vm_fini(&g);
	}
}

static void test_smp_every_cpu_starts_with_its_apic_id(void **state UNUSED)
{
	static const struct {
		uint32_t n_cpus;
		const char *cmdline, *want;
	} cases[] = {
		{ 1, "", "cpus 1: 0\n" },
		{ 2, "cpus=2", "cpus 2: 0 1\n" },
		{ 4, "cpus=4", "cpus 4: 0 1 2 3\n" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_vm g;
		guest_vm_run(&g,
			     &(struct guest_vm_config){ .guest = "smp",
							.cmdline = cases[i].cmdline,
							.n_cpus = cases[i].n_cpus },
			     LIMIT_MS);
		assert_int_equal(g.end, VM_POWER_OFF);
		assert_string_equal(buf_str(&g.com1), cases[i].want);
		guest_vm_fini(&g);
	}
}

/*
 * 8 GiB on both sides of the gap, in three nodes that do not end at whole GiB; only what the guest touches is ever there.
 */
static void test_memory_across_the_gap_is_all_there_with_all_devices(void **state UNUSED)
{
	const struct topology nodes = topology_uniform(3, 3, 1, 1);
	struct virtio_blk_config disk = { .fd = memfd_create("disk", MFD_CLOEXEC),
					  .file = { .capacity = 1 << 20,
						    .block_size = VIRTIO_BLK_SECTOR },
					  .limits = { .depth = VIRTIO_BLK_DEPTH_MAX },
					  .id = "disk" };
	const struct virtio_net_config net = { .mac = { 2, 0, 0, 0, 0, 1 } };
	struct guest_vm g;
	char want[64];
	assert_int_equal(ftruncate(disk.fd, (off_t)disk.file.capacity), 0);
	guest_vm_run(&g,
		     &(struct guest_vm_config){ .guest = "memory",
						.cmdline = "disk net",
						.topology = &nodes,
						.memory_mib = 8192,
						.disk = &disk,
						.net = &net },
		     WIDE_LIMIT_MS);
	if (g.end != VM_POWER_OFF)
		print_error("%s; %s\n", g.end_text, buf_str(&g.com1));
	assert_int_equal(g.end, VM_POWER_OFF);
	/* The hole below 1 MiB is all that is missing. */
	snprintf(want, sizeof(want), "RAM %d KiB, ", 8192 * 1024 - (0x100000 - 0x9fc00) / 1024);
	assert_memory_equal(buf_str(&g.com1), want, strlen(want));
	guest_vm_fini(&g);
	close(disk.fd);
}

/* Ids above 255 with few CPUs: three fields, each wider than its count. */
static void test_wide_ids_interrupts_reach_the_highest_id(void **state UNUSED)
{
	const struct topology sparse = topology_uniform(1, 5, 5, 5);
	struct guest_vm g;
	guest_vm_run(&g,
		     &(struct guest_vm_config){
			 .guest = "wide", .cmdline = "cpus=125", .topology = &sparse },
		     WIDE_LIMIT_MS);
	if (g.end != VM_POWER_OFF)
		print_error("%s; %s\n", g.end_text, buf_str(&g.com1));
	assert_int_equal(g.end, VM_POWER_OFF);
	assert_string_equal(buf_str(&g.com1), "highest id: 292\ninterrupts: 5\nat id: 292\n");
	guest_vm_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flat_powers_off_without_a_word),
		cmocka_unit_test(test_hello_gets_command_line_and_initrd),
		cmocka_unit_test(test_ends_each_is_told_apart),
		cmocka_unit_test(test_smp_every_cpu_starts_with_its_apic_id),
		cmocka_unit_test(test_memory_across_the_gap_is_all_there_with_all_devices),
		cmocka_unit_test(test_wide_ids_interrupts_reach_the_highest_id),
	};
	guest_vm_skip_without_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
