/* Reads the tables as an OS does: from the RSDP along the addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/acpi.h"
#include "base/num.h"
#include "base/topology_text.h"
#include "table_bytes.h"

enum { AT = 0xE0000 };

static struct buf build(const char *topology)
{
	struct memory_layout memory;
	struct topology t;
	struct error err;
	struct buf image;

	assert_int_equal(topology_parse(topology, &t, &err), 0);
	assert_int_equal(memory_layout_make(&t, GIB, &arch_memory_space, &memory, &err), 0);
	struct arch_boot boot = { .topology = &t, .memory = &memory, .console = true };
	acpi_build(&boot, AT, &image);
	return image;
}

/* Checks address, signature, length and checksum on the way. */
static const uint8_t *table_at(const struct buf *image, uint64_t addr, const char *signature)
{
	assert_in_range(addr, AT, AT + image->len - 36);
	assert_int_equal(addr % 16, 0);
	const uint8_t *t = image->data + (addr - AT);
	assert_memory_equal(t, signature, 4);
	assert_in_range(table_number(t, 4, 4), 36, AT + image->len - addr);
	assert_int_equal(table_sum(t, table_number(t, 4, 4)), 0);
	return t;
}

static const uint8_t *xsdt_of(const struct buf *image)
{
	return table_at(image, table_number(image->data, 24, 8), "XSDT");
}

static const uint8_t *fadt_of(const struct buf *image)
{
	return table_at(image, table_number(xsdt_of(image), 36, 8), "FACP");
}

static const uint8_t *madt_of(const struct buf *image)
{
	return table_at(image, table_number(xsdt_of(image), 44, 8), "APIC");
}

static void test_rsdp_both_checksums_hold(void **state)
{
	struct buf image = build("1,1,1,1");

	assert_memory_equal(image.data, "RSD PTR ", 8);
	assert_int_equal(table_sum(image.data, 20), 0);
	assert_int_equal(table_sum(image.data, 36), 0);
	assert_int_equal(table_number(image.data, 15, 1), 2);
	assert_int_equal(table_number(xsdt_of(&image), 4, 4), 36 + 2 * 8);
	assert_int_equal(table_number(xsdt_of(&image), 8, 1), 1);
	buf_fini(&image);
}

static void test_fadt_hardware_reduced_with_reset_and_sleep_ports(void **state)
{
	struct buf image = build("1,1,1,1");
	const uint8_t *fadt = fadt_of(&image);
	uint64_t flags = table_number(fadt, 112, 4);

	assert_int_equal(table_number(fadt, 4, 4), 276);
	assert_true(flags & 1u << 20);
	assert_true(flags & 1u << 10);
	assert_int_equal(table_number(fadt, 109, 2),
			 1 << 2 | 1 << 5); /* no VGA, no RTC; no 8042, no legacy devices */
	assert_int_equal(table_number(fadt, 116, 1), 1);
	assert_int_equal(table_number(fadt, 120, 8), 0x600);
	assert_int_equal(table_number(fadt, 128, 1), 1);
	assert_int_equal(table_number(fadt, 248, 8), 0x601);
	assert_int_equal(table_number(fadt, 260, 8), 0x602);
	(void)table_at(&image, table_number(fadt, 140, 8), "DSDT");
	buf_fini(&image);
}

static bool contains(const uint8_t *table, const void *bytes, size_t n)
{
	return memmem(table, table_number(table, 4, 4), bytes, n) != NULL;
}

static void test_dsdt_announces_only_the_devices_that_exist(void **state)
{
	static const uint8_t console[] = { 0x86, 9,    0, 1, 0x00, 0x00, 0x00, 0xC0, 0x00, 0x10, 0,
					   0,    0x89, 6, 0, 3,    1,    5,    0,    0,    0 };
	static const uint8_t blk[] = { 0x00, 0x10, 0x00, 0xC0, 0x00, 0x10, 0, 0, 0x89,
				       6,    0,    3,    1,    6,    0,    0, 0 };
	static const uint8_t net[] = { 0x00, 0x20, 0x00, 0xC0, 0x00, 0x10, 0, 0, 0x89,
				       6,    0,    3,    1,    7,    0,    0, 0 };
	const struct topology t = topology_uniform(1, 1, 1, 1);

	for (unsigned bits = 0; bits < 8; bits++) {
		struct arch_boot boot = {
			.topology = &t, .console = bits & 1, .blk = bits & 2, .net = bits & 4
		};
		struct buf image;

		acpi_build(&boot, AT, &image);
		const uint8_t *dsdt =
		    table_at(&image, table_number(fadt_of(&image), 140, 8), "DSDT");
		assert_int_equal(contains(dsdt, console, sizeof(console)), boot.console);
		assert_int_equal(contains(dsdt, blk, sizeof(blk)), boot.blk);
		assert_int_equal(contains(dsdt, net, sizeof(net)), boot.net);
		assert_true(contains(dsdt, "COM1", 4));
		assert_true(contains(dsdt, "COM2", 4));
		assert_true(contains(dsdt, "_S5_", 4));
		buf_fini(&image);
	}
}

/* Every processor exactly once with its own id, then one IOAPIC and nothing else. */
static void check_madt(const char *text)
{
	struct buf image = build(text);
	const uint8_t *madt = madt_of(&image);
	struct topology t;
	struct error err;
	uint32_t cpu = 0, n_ioapics = 0;

	assert_int_equal(topology_parse(text, &t, &err), 0);
	assert_int_equal(table_number(madt, 36, 4), 0xFEE00000);
	for (size_t off = 44; off < table_number(madt, 4, 4); off += madt[off + 1]) {
		const uint8_t *e = madt + off;
		uint32_t id = cpu < topology_n_cpus(&t) ? topology_apic_id(&t, cpu) : UINT32_MAX;

		if (e[0] == 0) {
			assert_in_range(id, 0, 254);
			assert_int_equal(e[2], cpu++);
			assert_int_equal(e[3], id);
			assert_int_equal(table_number(e, 4, 4), 1);
		} else if (e[0] == 9) {
			assert_in_range(id, 255, 65535);
			assert_int_equal(table_number(e, 4, 4), id);
			assert_int_equal(table_number(e, 8, 4), 1);
			assert_int_equal(table_number(e, 12, 4), cpu++);
		} else {
			assert_int_equal(e[0], 1);
			assert_int_equal(table_number(e, 4, 4), 0xFEC00000);
			assert_int_equal(table_number(e, 8, 4), 0);
			n_ioapics++;
		}
	}
	assert_int_equal(cpu, topology_n_cpus(&t));
	assert_int_equal(n_ioapics, 1);
	buf_fini(&image);
}

static void test_madt_topology_table_has_every_processor_once(void **state)
{
	static const char *const topologies[] = { "1,1,1,1", "1,1,4,1",  "1,1,255,1", "1,3,3,1",
						  "2,4,5,3", "1,14,9,2", "1,1,256,1" };

	for (size_t i = 0; i < ARRAY_SIZE(topologies); i++)
		check_madt(topologies[i]);
}

static void check_madt_body(const char *topology, const uint8_t *want, size_t n)
{
	struct buf image = build(topology);
	const uint8_t *madt = madt_of(&image);

	assert_int_equal(table_number(madt, 4, 4), 36 + n);
	assert_memory_equal(madt + 36, want, n);
	buf_fini(&image);
}

/* LAPIC address, PC-AT flag, processors, the I/O APIC. */
static void test_madt_by_hand_four_presets(void **state)
{
	static const uint8_t tiny_1llc[] = {
		0, 0,  0xE0, 0xFE, 1, 0, 0,    0,                            /* */
		0, 8,  0,    0,    1, 0, 0,    0,    0, 8, 1, 1, 1, 0, 0, 0, /* */
		0, 8,  2,    2,    1, 0, 0,    0,    0, 8, 3, 3, 1, 0, 0, 0, /* */
		1, 12, 0,    0,    0, 0, 0xC0, 0xFE, 0, 0, 0, 0,
	};
	static const uint8_t odd_3llc[] = {
		0, 0,  0xE0, 0xFE, 1, 0, 0,    0, /* */
		0, 8,  0,    0,    1, 0, 0,    0,    0, 8, 1, 1,
		1, 0,  0,    0,    0, 8, 2,    2,    1, 0, 0, 0, /* LLC 0 */
		0, 8,  3,    4,    1, 0, 0,    0,    0, 8, 4, 5,
		1, 0,  0,    0,    0, 8, 5,    6,    1, 0, 0, 0, /* LLC 1 */
		0, 8,  6,    8,    1, 0, 0,    0,    0, 8, 7, 9,
		1, 0,  0,    0,    0, 8, 8,    10,   1, 0, 0, 0, /* LLC 2 */
		1, 12, 0,    0,    0, 0, 0xC0, 0xFE, 0, 0, 0, 0,
	};
	static const uint8_t smt_2llc[] = {
		0, 0,  0xE0, 0xFE, 1, 0, 0,    0,                            /* */
		0, 8,  0,    0,    1, 0, 0,    0,    0, 8, 1, 1, 1, 0, 0, 0, /* LLC 0, core 0 */
		0, 8,  2,    2,    1, 0, 0,    0,    0, 8, 3, 3, 1, 0, 0, 0, /* core 1 */
		0, 8,  4,    4,    1, 0, 0,    0,    0, 8, 5, 5, 1, 0, 0, 0, /* LLC 1 */
		0, 8,  6,    6,    1, 0, 0,    0,    0, 8, 7, 7, 1, 0, 0, 0, /* */
		1, 12, 0,    0,    0, 0, 0xC0, 0xFE, 0, 0, 0, 0,
	};
	static const uint8_t odd_7llc[] = {
		0, 0,  0xE0, 0xFE, 1, 0, 0,    0,                              /* */
		0, 8,  0,    0,    1, 0, 0,    0,    0, 8, 1,  1,  1, 0, 0, 0, /* */
		0, 8,  2,    2,    1, 0, 0,    0,    0, 8, 3,  3,  1, 0, 0, 0, /* */
		0, 8,  4,    4,    1, 0, 0,    0,    0, 8, 5,  5,  1, 0, 0, 0, /* */
		0, 8,  6,    6,    1, 0, 0,    0,    0, 8, 7,  7,  1, 0, 0, 0, /* */
		0, 8,  8,    8,    1, 0, 0,    0,    0, 8, 9,  9,  1, 0, 0, 0, /* */
		0, 8,  10,   10,   1, 0, 0,    0,    0, 8, 11, 11, 1, 0, 0, 0, /* */
		0, 8,  12,   12,   1, 0, 0,    0,    0, 8, 13, 13, 1, 0, 0, 0, /* */
		1, 12, 0,    0,    0, 0, 0xC0, 0xFE, 0, 0, 0,  0,
	};

	check_madt_body("tiny-1llc", tiny_1llc, sizeof(tiny_1llc));
	check_madt_body("odd-3llc", odd_3llc, sizeof(odd_3llc));
	check_madt_body("smt-2llc", smt_2llc, sizeof(smt_2llc));
	check_madt_body("odd-7llc", odd_7llc, sizeof(odd_7llc));
}

static void test_xsdt_numa_tables_only_where_there_is_something_to_tell(void **state)
{
	static const struct {
		const char *topology;
		size_t n;
	} cases[] = {
		{ "1,2,4,2", 2 },
		{ "node=llcs:2,memory:1G", 2 },
		{ "2,2,1,1", 5 },
		{ "node=llcs:1,latency_ns:90", 5 },
		{ "node=llcs:1,bandwidth_mbs:90", 5 },
		{ "node=llcs:1,cache:16M", 5 },
	};
	static const char *const signatures[] = { "FACP", "APIC", "SRAT", "SLIT", "HMAT" };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf image = build(cases[i].topology);
		const uint8_t *xsdt = xsdt_of(&image);

		assert_int_equal(table_number(xsdt, 4, 4), 36 + 8 * cases[i].n);
		for (size_t k = 0; k < cases[i].n; k++)
			(void)table_at(&image, table_number(xsdt, 36 + 8 * k, 8), signatures[k]);
		buf_fini(&image);
	}
}

static void test_madt_pcat_compat_only_with_a_pic(void **state)
{
	struct buf small = build("1,1,255,1"), large = build("1,1,256,1");

	assert_int_equal(table_number(madt_of(&small), 40, 4), 1);
	assert_int_equal(table_number(madt_of(&large), 40, 4), 0);
	buf_fini(&small);
	buf_fini(&large);
}

/* Writes the tables of @t with 4 GiB of memory; returns where the RSDP is. */
static uint64_t write_tables(const struct topology *t)
{
	struct memory_layout memory;
	struct guest_mem mem = { 0 };
	struct error err;
	gpa_t rsdp;
	uint8_t signature[8];

	assert_int_equal(memory_layout_make(t, 4 * GIB, &arch_memory_space, &memory, &err), 0);
	struct arch_boot boot = {
		.topology = t, .memory = &memory, .console = true, .blk = true, .net = true
	};
	assert_int_equal(guest_mem_map_anonymous(&mem, GPA(0), MIB), 0);
	assert_int_equal(acpi_write(&mem, &boot, &rsdp, &err), 0);
	assert_int_equal(guest_mem_read(&mem, rsdp, signature, 8), 0);
	assert_memory_equal(signature, "RSD PTR ", 8);
	guest_mem_fini(&mem);
	assert_int_equal(acpi_write(&mem, &boot, &rsdp, &err), -EFAULT);
	return rsdp.addr;
}

/* Up to a thousand CPUs with all their nodes where any kernel looks; every machine somewhere. */
static void test_write_tables_fit_below_1_mib(void **state)
{
	const struct topology flat = topology_uniform(1, 1, TOPOLOGY_MAX_CPUS, 1);
	const struct topology wide = topology_uniform(TOPOLOGY_MAX_NODES, 1024, 1, 1);
	struct topology widest = topology_uniform(TOPOLOGY_MAX_NODES, TOPOLOGY_MAX_CPUS, 1, 1);

	assert_int_equal(write_tables(&flat), 0xE0000);
	assert_int_equal(write_tables(&wide), 0xE0000);
	for (uint32_t i = 0; i < widest.n_nodes; i++) {
		widest.nodes[i].latency_ns = 100;
		widest.nodes[i].bandwidth_mbs = 20000;
		widest.nodes[i].cache = (struct topology_cache){ .size = MIB, .line = 64 };
	}
	assert_int_equal(write_tables(&widest), 0xC0000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rsdp_both_checksums_hold),
		cmocka_unit_test(test_fadt_hardware_reduced_with_reset_and_sleep_ports),
		cmocka_unit_test(test_dsdt_announces_only_the_devices_that_exist),
		cmocka_unit_test(test_madt_by_hand_four_presets),
		cmocka_unit_test(test_xsdt_numa_tables_only_where_there_is_something_to_tell),
		cmocka_unit_test(test_madt_topology_table_has_every_processor_once),
		cmocka_unit_test(test_madt_pcat_compat_only_with_a_pic),
		cmocka_unit_test(test_write_tables_fit_below_1_mib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
