/*
 * Every preset and thousands of other topologies, on processors of each kind, read as Linux reads
 * them (support/linux_cpuid.c) and compared with the declaration; and whole tables written by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/cpuid_topology.h"
#include "base/topology_text.h"
#include "cpuid_tables.h"
#include "support/linux_cpuid.h"
#include "support/topologies.h"

static const struct host {
	const char *name;
	bool amd;
	struct cpuid_table (*table)(void);
} hosts[] = {
	{ "Intel", false, cpuid_of_intel },        { "unknown vendor", false, cpuid_of_unknown },
	{ "Zen 3", true, cpuid_of_zen3 },          { "Zen 1", true, cpuid_of_zen1 },
	{ "Bulldozer", true, cpuid_of_bulldozer }, { "software AMD", true, cpuid_of_software_amd },
	{ "Hygon", true, cpuid_of_hygon },
};

/* --- as Linux reads it --- */

/* Leaf 1 has ids of 8 bits, and leaf 4 core ids of 6; 0x80000008 and 0x8000001E have counts of 8. */
static bool path_has_room(const struct linux_path *p, const struct topology *t)
{
	uint32_t cores = 1u << (topology_core_bits(t) - topology_thread_bits(t));

	if (strcmp(p->name, "Intel, 1 and 4") == 0)
		return cores <= 64 && topology_core_bits(t) < 8 &&
		       topology_apic_id(t, topology_n_cpus(t) - 1) < 256;
	if (strcmp(p->name, "AMD, 0x80000008") == 0)
		return topology_cpus_per_llc(t) <= 256;
	return true;
}

static bool is_exact(const struct linux_path *p)
{
	return strcmp(p->name, "Intel, 1 and 4") != 0; /* rounds counts to powers of two */
}

static void check_caches(const struct linux_cpu *c, const struct topology *t)
{
	static const struct {
		uint32_t level, type;
	} want[] = { { 1, 1 }, { 1, 2 }, { 2, 3 }, { 3, 3 } };

	assert_int_equal(c->n_caches, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(c->caches[i].level, want[i].level);
		assert_int_equal(c->caches[i].type, want[i].type);
		assert_true(c->caches[i].size >= 16 << 10);
		assert_true(i < 2 || c->caches[i].size > c->caches[i - 1].size);
		assert_int_equal(c->caches[i].shift,
				 i == 3 ? topology_core_bits(t) : topology_thread_bits(t));
	}
}

static void check_cpu(const struct linux_path *p, const struct topology *t, uint32_t cpu,
		      const struct linux_cpu *c)
{
	assert_int_equal(c->apic_id, topology_apic_id(t, cpu));
	assert_int_equal(c->pkg_id, topology_cpu_llc(t, cpu));
	assert_int_equal(c->core_id, topology_cpu_core(t, cpu));
	assert_int_equal(c->llc_id, topology_cpu_llc(t, cpu));
	assert_int_equal(c->apic_id & ((1u << c->smt_shift) - 1), cpu % t->threads_per_core);
	if (is_exact(p)) {
		assert_int_equal(c->threads, t->threads_per_core);
		assert_int_equal(c->pkg_cpus, topology_cpus_per_llc(t));
	}
	check_caches(c, t);
}

static void check_path(const struct host *h, const struct linux_path *p, const struct topology *t,
		       uint32_t step)
{
	struct cpuid_table vm = h->table();

	cpuid_set_topology(&vm, t);
	for (uint32_t cpu = 0; cpu < topology_n_cpus(t); cpu += step) {
		struct linux_cpu c = { 0 };
		struct cpuid_table one = vm;

		cpuid_set_cpu(&one, t, cpu);
		if (!p->read(&one, &c))
			fail_msg("%s, %s: CPU %u is not readable", h->name, p->name, cpu);
		check_cpu(p, t, cpu, &c);
	}
}

/* Each @step-th CPU. A host that says that it cannot is not asked. */
static void check_topology(const struct topology *t, uint32_t step)
{
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct cpuid_table table = hosts[i].table();
		struct error err;

		if (cpuid_check_topology(&table, t, &err) < 0)
			continue;
		for (size_t k = 0; k < linux_n_paths; k++)
			if (linux_paths[k].amd == hosts[i].amd && path_has_room(&linux_paths[k], t))
				check_path(&hosts[i], &linux_paths[k], t, step);
	}
}

static void test_linux_finds_every_preset_on_every_host(void **state)
{
	for (size_t i = 0; i < topology_n_presets; i++) {
		struct topology t;
		struct error err;

		assert_int_equal(topology_parse(topology_presets[i].name, &t, &err), 0);
		check_topology(&t, 1);
	}
}

static void test_linux_finds_thousands_of_topologies(void **state)
{
	struct random r = { 4 };

	for (int i = 0; i < 3000; i++) {
		const struct topology t = random_topology(&r, 1024);
		check_topology(&t, topology_n_cpus(&t) / 4 + 1);
	}
}

static void test_linux_finds_the_largest_topologies(void **state)
{
	static const char *const largest[] = { "1,1,4096,1", "64,4096,1,1", "1,1,1,4096",
					       "1,2,64,32",  "1,16,16,16",  "1,1365,1,3" };

	for (size_t i = 0; i < ARRAY_SIZE(largest); i++) {
		struct topology t;
		struct error err;

		assert_int_equal(topology_parse(largest[i], &t, &err), 0);
		check_topology(&t, 97);
	}
}

/* --- what a host cannot --- */

static void test_check_old_processors_name_what_they_cannot(void **state)
{
	static const struct {
		struct cpuid_table (*table)(void);
		const char *topology, *says; /* NULL: it can */
	} cases[] = {
		{ cpuid_of_hygon, "1,1,4,2", NULL },
		{ cpuid_of_hygon, "1,3,5,1", NULL },
		{ cpuid_of_hygon, "1,2,4,1", "Hygon" },
		{ cpuid_of_hygon, "1,1,9,1", "Hygon" },
		{ cpuid_of_bulldozer, "1,256,1,1", NULL },
		{ cpuid_of_bulldozer, "1,257,1,1", "257 LLCs" },
		{ cpuid_of_zen1, "1,257,1,1", NULL },
		{ cpuid_of_intel, "1,257,9,1", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpuid_table table = cases[i].table();
		struct topology t;
		struct error err;

		assert_int_equal(topology_parse(cases[i].topology, &t, &err), 0);
		int res = cpuid_check_topology(&table, &t, &err);
		assert_int_equal(res < 0, cases[i].says != NULL);
		if (res == 0)
			continue;
		assert_int_equal(err.class, ERROR_SKIP);
		assert_non_null(strstr(err.text, cases[i].says));
	}
}

static void test_first_zen_models_become_the_next_ones_of_the_same_core(void **state)
{
	const struct topology t = topology_uniform(1, 2, 2, 1);
	struct cpuid_table c = cpuid_of_zen1();

	cpuid_set_topology(&c, &t);
	assert_int_equal(cpuid_family(&c), 0x17);
	assert_int_equal(cpuid_model(&c), 0x21);
	assert_int_equal(cpuid_find(&c, 1, 0)->eax, 0x00820F12);
	assert_int_equal(cpuid_find(&c, 0x80000001, 0)->eax, 0x00820F12);
	c = cpuid_of_zen3();
	cpuid_set_topology(&c, &t);
	assert_int_equal(cpuid_find(&c, 1, 0)->eax, 0x00A20F10);
}

static void test_intel_has_nothing_of_amd_and_the_other_way_round(void **state)
{
	const struct topology t = topology_uniform(1, 2, 2, 2);
	struct cpuid_table c = cpuid_of_intel();

	cpuid_set_topology(&c, &t);
	assert_int_equal(cpuid_find(&c, 0x80000008, 0)->ecx, 0);
	assert_int_equal(cpuid_find(&c, 0x80000001, 0)->ecx, 0x21);
	assert_null(cpuid_find(&c, 0x8000001D, 0));
	assert_null(cpuid_find(&c, 0x8000001E, 0));
	assert_null(cpuid_find(&c, 0x80000026, 0));
	assert_int_equal(cpuid_find(&c, 0, 0)->eax, 0x1F);
	assert_int_equal(cpuid_find(&c, 0x80000000, 0)->eax, 0x80000008);
	c = cpuid_of_zen3();
	cpuid_set_topology(&c, &t);
	assert_null(cpuid_find(&c, 4, 0));
	assert_null(cpuid_find(&c, 0x1F, 0));
	assert_int_equal(cpuid_find(&c, 0, 0)->eax, 0x10);
	assert_int_equal(cpuid_find(&c, 0x80000000, 0)->eax, 0x80000026);
}

/* --- by hand --- */

struct expected {
	uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

static void check_table(struct cpuid_table c, const char *topology, uint32_t cpu,
			const struct expected *want, size_t n)
{
	struct topology t;
	struct error err;

	assert_int_equal(topology_parse(topology, &t, &err), 0);
	cpuid_set_topology(&c, &t);
	cpuid_set_cpu(&c, &t, cpu);
	for (size_t i = 0; i < n; i++) {
		const struct kvm_cpuid_entry2 *e = cpuid_find(&c, want[i].leaf, want[i].subleaf);
		if (!e || e->eax != want[i].eax || e->ebx != want[i].ebx || e->ecx != want[i].ecx ||
		    e->edx != want[i].edx)
			fail_msg("%s, CPU %u: leaf %x.%u is %x %x %x %x", topology, cpu,
				 want[i].leaf, want[i].subleaf, e ? e->eax : 0, e ? e->ebx : 0,
				 e ? e->ecx : 0, e ? e->edx : 0);
	}
}

#define CHECK_TABLE(host, topology, cpu, ...)                                                      \
	do {                                                                                       \
		static const struct expected want[] = { __VA_ARGS__ };                             \
		check_table(host(), topology, cpu, want, ARRAY_SIZE(want));                        \
	} while (0)

/* One LLC of 4 cores; CPU 3 has id 3. 2 id bits below the package. */
static void test_tables_by_hand_tiny_1llc(void **state)
{
	CHECK_TABLE(
	    cpuid_of_intel, "tiny-1llc", 3,
	    { 1, 0, 0x000C06F2, 0x03040800, 0x0020A000, 0x1F8BFBFF },
	    { 4, 0, 0x0C000121, 0x02C0003F, 0x3F, 0 }, { 4, 1, 0x0C000122, 0x01C0003F, 0x3F, 0 },
	    { 4, 2, 0x0C000143, 0x03C0003F, 0x7FF, 0 },
	    { 4, 3, 0x0C00C163, 0x04C0003F, 0x33FFF, 4 }, { 4, 4, 0, 0, 0, 0 },
	    { 0xB, 0, 0, 1, 0x100, 3 }, { 0xB, 1, 2, 4, 0x201, 3 }, { 0xB, 2, 0, 0, 2, 3 },
	    { 0x1F, 0, 0, 1, 0x100, 3 }, { 0x1F, 1, 2, 4, 0x201, 3 }, { 0x1F, 2, 0, 0, 2, 3 });
	CHECK_TABLE(
	    cpuid_of_zen3, "tiny-1llc", 3, { 1, 0, 0x00A20F10, 0x03040800, 0x00002000, 0x178BFBFF },
	    { 0xB, 0, 0, 1, 0x100, 3 }, { 0xB, 1, 2, 4, 0x201, 3 }, { 0xB, 2, 0, 0, 2, 3 },
	    { 0x80000001, 0, 0x00A20F10, 0, 0x00C00003, 0x2FD3FBFF },
	    { 0x80000006, 0, 0x48002200, 0x68004200, 0x02006140, 0x01008140 },
	    { 0x80000008, 0, 0x3030, 0, 0x2003, 0 }, { 0x8000001D, 0, 0x121, 0x01C0003F, 0x3F, 0 },
	    { 0x8000001D, 1, 0x122, 0x01C0003F, 0x3F, 0 },
	    { 0x8000001D, 2, 0x143, 0x01C0003F, 0x3FF, 2 },
	    { 0x8000001D, 3, 0xC163, 0x03C0003F, 0x7FFF, 1 }, { 0x8000001D, 4, 0, 0, 0, 0 },
	    { 0x8000001E, 0, 3, 0x003, 0, 0 }, { 0x80000026, 0, 0, 1, 0x100, 3 },
	    { 0x80000026, 1, 2, 4, 0x201, 3 }, { 0x80000026, 2, 2, 4, 0x302, 3 },
	    { 0x80000026, 3, 2, 4, 0x403, 3 }, { 0x80000026, 4, 0, 0, 4, 3 });
}

/* Three LLCs of 3 cores: 2 id bits for 3 cores. CPU 7 is LLC 2, core 1: id 2 << 2 | 1 = 9. */
static void test_tables_by_hand_odd_3llc(void **state)
{
	CHECK_TABLE(
	    cpuid_of_intel, "odd-3llc", 7, { 1, 0, 0x000C06F2, 0x09040800, 0x0020A000, 0x1F8BFBFF },
	    { 4, 0, 0x0C000121, 0x02C0003F, 0x3F, 0 }, { 4, 3, 0x0C00C163, 0x04C0003F, 0x33FFF, 4 },
	    { 0xB, 0, 0, 1, 0x100, 9 }, { 0xB, 1, 2, 3, 0x201, 9 }, { 0x1F, 1, 2, 3, 0x201, 9 });
	CHECK_TABLE(
	    cpuid_of_zen3, "odd-3llc", 7, { 1, 0, 0x00A20F10, 0x09040800, 0x00002000, 0x178BFBFF },
	    { 0x80000008, 0, 0x3030, 0, 0x2002, 0 }, { 0x8000001D, 2, 0x143, 0x01C0003F, 0x3FF, 2 },
	    { 0x8000001D, 3, 0xC163, 0x03C0003F, 0x7FFF, 1 }, { 0x8000001E, 0, 9, 0x001, 2, 0 },
	    { 0x80000026, 1, 2, 3, 0x201, 9 }, { 0x80000026, 3, 2, 3, 0x403, 9 });
}

/* Three LLCs of 2 cores with 2 threads. CPU 11 is LLC 2, core 1, thread 1: id 2 << 2 | 1 << 1 | 1. */
static void test_tables_by_hand_smt_3llc(void **state)
{
	CHECK_TABLE(cpuid_of_intel, "smt-3llc", 11,
		    { 1, 0, 0x000C06F2, 0x0B040800, 0x0020A000, 0x1F8BFBFF },
		    { 4, 0, 0x04004121, 0x02C0003F, 0x3F, 0 },
		    { 4, 3, 0x0400C163, 0x04C0003F, 0x33FFF, 4 }, { 0xB, 0, 1, 2, 0x100, 0xB },
		    { 0xB, 1, 2, 4, 0x201, 0xB }, { 0x1F, 0, 1, 2, 0x100, 0xB });
	CHECK_TABLE(cpuid_of_zen3, "smt-3llc", 11, { 0x80000008, 0, 0x3030, 0, 0x2003, 0 },
		    { 0x8000001D, 0, 0x4121, 0x01C0003F, 0x3F, 0 },
		    { 0x8000001D, 3, 0xC163, 0x03C0003F, 0x7FFF, 1 },
		    { 0x8000001E, 0, 0xB, 0x101, 2, 0 }, { 0x80000026, 0, 1, 2, 0x100, 0xB },
		    { 0x80000026, 1, 2, 4, 0x201, 0xB });
}

/*
 * 12 LLCs of 8 cores with 2 threads: 4 id bits. CPU 191, the last one, is LLC 11, core 7, thread 1:
 * id 11 << 4 | 7 << 1 | 1 = 0xBF.
 */
static void test_tables_by_hand_numa4_12llc(void **state)
{
	CHECK_TABLE(cpuid_of_intel, "numa4-12llc", 191,
		    { 1, 0, 0x000C06F2, 0xBF100800, 0x0020A000, 0x1F8BFBFF },
		    { 4, 2, 0x1C004143, 0x03C0003F, 0x7FF, 0 },
		    { 4, 3, 0x1C03C163, 0x04C0003F, 0x33FFF, 4 }, { 0xB, 0, 1, 2, 0x100, 0xBF },
		    { 0xB, 1, 4, 16, 0x201, 0xBF });
	CHECK_TABLE(cpuid_of_zen3, "numa4-12llc", 191, { 0x80000008, 0, 0x3030, 0, 0x400F, 0 },
		    { 0x8000001D, 3, 0x3C163, 0x03C0003F, 0x7FFF, 1 },
		    { 0x8000001E, 0, 0xBF, 0x107, 11, 0 }, { 0x80000026, 0, 1, 2, 0x100, 0xBF },
		    { 0x80000026, 3, 4, 16, 0x403, 0xBF });
}

/* A host that describes no caches: the usual ones, and TOPOEXT for them. */
static void test_tables_by_hand_without_caches_of_the_host(void **state)
{
	CHECK_TABLE(cpuid_of_software_amd, "tiny-2llc", 2,
		    { 0x80000001, 0, 0x00A20F10, 0, 0x00400007, 0x2191ABFF },
		    { 0x80000006, 0, 0, 0, 0x02006140, 0x00808140 },
		    { 0x8000001D, 0, 0x121, 0x01C0003F, 0x3F, 0 },
		    { 0x8000001D, 1, 0x122, 0x01C0003F, 0x3F, 0 },
		    { 0x8000001D, 2, 0x143, 0x01C0003F, 0x3FF, 0 },
		    { 0x8000001D, 3, 0x4163, 0x03C0003F, 0x3FFF, 0 },
		    { 0x8000001E, 0, 2, 0x000, 1, 0 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_linux_finds_every_preset_on_every_host),
		cmocka_unit_test(test_linux_finds_thousands_of_topologies),
		cmocka_unit_test(test_linux_finds_the_largest_topologies),
		cmocka_unit_test(test_check_old_processors_name_what_they_cannot),
		cmocka_unit_test(test_first_zen_models_become_the_next_ones_of_the_same_core),
		cmocka_unit_test(test_intel_has_nothing_of_amd_and_the_other_way_round),
		cmocka_unit_test(test_tables_by_hand_tiny_1llc),
		cmocka_unit_test(test_tables_by_hand_odd_3llc),
		cmocka_unit_test(test_tables_by_hand_smt_3llc),
		cmocka_unit_test(test_tables_by_hand_numa4_12llc),
		cmocka_unit_test(test_tables_by_hand_without_caches_of_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
