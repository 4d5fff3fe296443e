/* hwloc's view to ours, from synthetic descriptions, XML files, and this machine. */
#include "plan/host_discover.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

static const struct host *get(struct host_source *s)
{
	const struct host *h;
	struct error err;

	if (host_source_get(s, &h, &err) < 0)
		fail_msg("%s", err.text);
	return h;
}

static void test_synthetic_hosts_have_their_shape(void **state UNUSED)
{
	static const struct {
		const char *spec;
		uint32_t nodes, llcs, cpus, threads;
	} cases[] = {
		{ "numa:2 l3:2 core:4 pu:2", 2, 4, 32, 2 },
		{ "pack:2 l2:4 core:1 pu:1", 1, 8, 8, 1 }, /* no L3: the L2 */
		{ "pack:2 core:4 pu:1", 1, 2, 8, 1 },      /* no cache at all: the package */
		{ "pu:3", 1, 1, 3, 1 },
		{ "numa:8 l3:8 core:8 pu:2", 8, 64, 1024, 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(host_source_fini) struct host_source s = { .spec = cases[i].spec };
		const struct host *h = get(&s);
		uint32_t n = 0;
		assert_int_equal(h->n_nodes, cases[i].nodes);
		assert_int_equal(h->n_llcs, cases[i].llcs);
		assert_int_equal(h->n_cpus, cases[i].cpus);
		assert_int_equal(id_set_count(&h->allowed), cases[i].cpus);
		id_set_for_each(cpu, &h->online) n += h->cpus[cpu].core == h->cpus[0].core;
		assert_int_equal(n, cases[i].threads);
	}
}

/* A hybrid processor: two cores share an L3, two small ones an L2 only; three nodes with distances, one CPU not allowed. */
static const char xml[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n"
    "<topology version=\"2.0\">\n"
    "<object type=\"Machine\" os_index=\"0\" cpuset=\"0xf\" complete_cpuset=\"0xf\" "
    "allowed_cpuset=\"0xd\" "
    "nodeset=\"0x3\" complete_nodeset=\"0x3\" allowed_nodeset=\"0x3\" gp_index=\"1\">\n"
    "<object type=\"Package\" os_index=\"0\" cpuset=\"0x3\" complete_cpuset=\"0x3\" "
    "nodeset=\"0x1\" "
    "complete_nodeset=\"0x1\" gp_index=\"2\">\n"
    "<object type=\"NUMANode\" os_index=\"0\" cpuset=\"0x3\" complete_cpuset=\"0x3\" "
    "nodeset=\"0x1\" "
    "complete_nodeset=\"0x1\" gp_index=\"3\" local_memory=\"1048576\"/>\n"
    "<object type=\"L3Cache\" cpuset=\"0x3\" complete_cpuset=\"0x3\" nodeset=\"0x1\" "
    "complete_nodeset=\"0x1\" "
    "gp_index=\"4\" cache_size=\"1048576\" depth=\"3\" cache_linesize=\"64\" "
    "cache_associativity=\"8\" "
    "cache_type=\"0\">\n"
    "<object type=\"Core\" os_index=\"0\" cpuset=\"0x1\" complete_cpuset=\"0x1\" nodeset=\"0x1\" "
    "complete_nodeset=\"0x1\" gp_index=\"5\"><object type=\"PU\" os_index=\"0\" cpuset=\"0x1\" "
    "complete_cpuset=\"0x1\" nodeset=\"0x1\" complete_nodeset=\"0x1\" gp_index=\"6\"/></object>\n"
    "<object type=\"Core\" os_index=\"1\" cpuset=\"0x2\" complete_cpuset=\"0x2\" nodeset=\"0x1\" "
    "complete_nodeset=\"0x1\" gp_index=\"7\"><object type=\"PU\" os_index=\"1\" cpuset=\"0x2\" "
    "complete_cpuset=\"0x2\" nodeset=\"0x1\" complete_nodeset=\"0x1\" gp_index=\"8\"/></object>\n"
    "</object></object>\n"
    "<object type=\"Package\" os_index=\"1\" cpuset=\"0xc\" complete_cpuset=\"0xc\" "
    "nodeset=\"0x2\" "
    "complete_nodeset=\"0x2\" gp_index=\"9\">\n"
    "<object type=\"NUMANode\" os_index=\"1\" cpuset=\"0xc\" complete_cpuset=\"0xc\" "
    "nodeset=\"0x2\" "
    "complete_nodeset=\"0x2\" gp_index=\"10\" local_memory=\"1048576\"/>\n"
    "<object type=\"L2Cache\" cpuset=\"0xc\" complete_cpuset=\"0xc\" nodeset=\"0x2\" "
    "complete_nodeset=\"0x2\" "
    "gp_index=\"11\" cache_size=\"1048576\" depth=\"2\" cache_linesize=\"64\" "
    "cache_associativity=\"8\" "
    "cache_type=\"0\">\n"
    "<object type=\"Core\" os_index=\"2\" cpuset=\"0x4\" complete_cpuset=\"0x4\" nodeset=\"0x2\" "
    "complete_nodeset=\"0x2\" gp_index=\"12\"><object type=\"PU\" os_index=\"2\" cpuset=\"0x4\" "
    "complete_cpuset=\"0x4\" nodeset=\"0x2\" complete_nodeset=\"0x2\" gp_index=\"13\"/></object>\n"
    "<object type=\"Core\" os_index=\"3\" cpuset=\"0x8\" complete_cpuset=\"0x8\" nodeset=\"0x2\" "
    "complete_nodeset=\"0x2\" gp_index=\"14\"><object type=\"PU\" os_index=\"3\" cpuset=\"0x8\" "
    "complete_cpuset=\"0x8\" nodeset=\"0x2\" complete_nodeset=\"0x2\" gp_index=\"15\"/></object>\n"
    "</object></object>\n"
    "</object>\n"
    "<distances2 type=\"NUMANode\" nbobjs=\"2\" kind=\"5\" name=\"NUMALatency\" indexing=\"os\">\n"
    "<indexes length=\"4\">0 1 </indexes>\n<u64values length=\"12\">10 32 32 10 </u64values>\n"
    "</distances2>\n</topology>\n";

static char *write_file(const char *text)
{
	char *path = xstrdup("/tmp/ktstr-host-XXXXXX.xml");
	int fd = mkstemps(path, 4);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	(void)fd_close(fd);
	return path;
}

static void test_xml_file_gives_mixed_caches_distances_and_allowed_cpus(void **state UNUSED)
{
	CLEANUP(freep) char *path = write_file(xml);
	CLEANUP(host_source_fini) struct host_source s = { .spec = path };
	CLEANUP(buf_fini) struct buf allowed = { 0 };
	const struct host *h = get(&s);

	assert_int_equal(h->n_llcs, 2);
	assert_int_equal(h->n_nodes, 2);
	assert_int_equal(host_distance(h, 0, 1), 32);
	id_set_format(&h->allowed, &allowed);
	assert_string_equal(buf_str(&allowed), "0,2-3");
	assert_int_equal(h->n_cpus, 4); /* the one that is not allowed still has its place */
	assert_int_equal(h->cpus[1].llc, 0);
	(void)unlink(path);
}

static void test_what_is_no_host_is_refused_by_name(void **state UNUSED)
{
	CLEANUP(freep) char *path = write_file("<html>no</html>\n");
	const char *const bad[] = { "numa:zwei", "", "/nowhere/host.xml", path,
				    "numa:1 pu:2(indexes=0,9000)" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CLEANUP(host_source_fini) struct host_source s = { .spec = bad[i] };
		const struct host *h;
		struct error err;
		assert_true(host_source_get(&s, &h, &err) < 0);
		if (i < 4) {
			assert_int_equal(err.class, ERROR_USAGE);
			assert_non_null(strstr(err.text, bad[i]));
		}
		assert_null(s.host);
	}
	(void)unlink(path);
}

static void test_host_is_kept_and_a_failure_is_not(void **state UNUSED)
{
	CLEANUP(freep) char *path = write_file("not yet");
	CLEANUP(host_source_fini) struct host_source s = { .spec = path };
	const struct host *first;
	const struct host *second;
	struct error err;

	assert_true(host_source_get(&s, &first, &err) < 0);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	(void)fputs(xml, f);
	(void)fclose(f);
	assert_int_equal(host_source_get(&s, &first, &err), 0);
	(void)unlink(path);
	assert_int_equal(host_source_get(&s, &second, &err), 0);
	assert_ptr_equal(first, second);
}

static void test_this_machine_is_planned_within_its_affinity(void **state UNUSED)
{
	CLEANUP(host_source_fini) struct host_source s = { 0 };
	struct id_set allowed;
	struct error err;
	cpu_set_t old;
	cpu_set_t one;

	assert_int_equal(sched_getaffinity(0, sizeof(old), &old), 0);
	assert_int_equal(host_read_allowed(NULL, &allowed, &err), 0);
	uint32_t cpu = id_set_next(&allowed, 0);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	const struct host *h = get(&s);
	assert_int_equal(sched_setaffinity(0, sizeof(old), &old), 0);
	assert_int_equal(id_set_count(&h->allowed), 1);
	assert_true(id_set_has(&h->allowed, cpu));
	assert_true(id_set_is_subset(&h->online, &allowed));
}

static void test_status_file_stands_in_and_neither_is_an_error(void **state UNUSED)
{
	CLEANUP(freep)
	char *good = write_file("Name:\tx\nCpus_allowed:\tf\nCpus_allowed_list:\t0-1,5\n"
				"Mems_allowed_list:\t0\n");
	CLEANUP(freep) char *bad = write_file("Name:\tx\nCpus_allowed_list:\tall\n");
	struct id_set set;
	struct error err;

	assert_int_equal(host_read_allowed(good, &set, &err), 0);
	assert_int_equal(id_set_count(&set), 3);
	assert_true(id_set_has(&set, 5));
	assert_true(host_read_allowed(bad, &set, &err) < 0);
	assert_non_null(strstr(err.text, "Cpus_allowed_list"));
	assert_true(host_read_allowed("/nowhere/status", &set, &err) < 0);
	(void)unlink(good);
	(void)unlink(bad);
}

static void test_hwloc_environment_cannot_pass_for_this_machine(void **state UNUSED)
{
	CLEANUP(host_source_fini) struct host_source s = { 0 };
	const struct host *h;
	struct error err;

	/* NOLINTBEGIN(concurrency-mt-unsafe): one thread */
	assert_int_equal(setenv("HWLOC_SYNTHETIC", "numa:4 pu:64", 1), 0);
	int res = host_source_get(&s, &h, &err);
	assert_int_equal(unsetenv("HWLOC_SYNTHETIC"), 0);
	/* NOLINTEND(concurrency-mt-unsafe) */
	assert_true(res < 0);
	assert_non_null(strstr(err.text, "HWLOC_SYNTHETIC"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_synthetic_hosts_have_their_shape),
		cmocka_unit_test(test_xml_file_gives_mixed_caches_distances_and_allowed_cpus),
		cmocka_unit_test(test_what_is_no_host_is_refused_by_name),
		cmocka_unit_test(test_host_is_kept_and_a_failure_is_not),
		cmocka_unit_test(test_this_machine_is_planned_within_its_affinity),
		cmocka_unit_test(test_status_file_stands_in_and_neither_is_an_error),
		cmocka_unit_test(test_hwloc_environment_cannot_pass_for_this_machine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
