/* Promises against what /proc would say: each that is broken is named, what is promised less is not asked for. */
#include "harness/verify.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "harness/host_caveats.h"

enum { PID = 100 };

static uint32_t pins[] = { 2, 4 };
static struct id_set mems[] = { { { 1 } }, { { 2 } } };
static const struct placement perf = { .cpus = { { 1 << 2 | 1 << 4 | 1 << 5 } },
				       .is_performance = true,
				       .n_vcpus = 2,
				       .vcpu_cpus = pins,
				       .service_cpu = 5,
				       .node_mems = mems,
				       .n_nodes = 2 };
static const struct placement budget = { .cpus = { { 1 << 2 | 1 << 4 } }, .n_vcpus = 2 };

static void test_threads_have_to_be_where_they_were_promised(void **state UNUSED)
{
	static const struct {
		const char *what;
		const struct placement *p;
		struct verify_thread t;
		uint32_t applied;
		const char *wrong; /* NULL: as promised */
	} cases[] = {
		{ "vcpu",
		  &perf,
		  { 101, "vcpu1", { { 1 << 4 } }, SCHED_FIFO, 1 },
		  APPLIED_FIFO,
		  NULL },
		{ "io",
		  &perf,
		  { PID, "ktstr-vm", { { 1 << 5 } }, SCHED_FIFO, 2 },
		  APPLIED_FIFO,
		  NULL },
		{ "worker",
		  &perf,
		  { 103, "iou-wrk-100", { { 1 << 5 } }, SCHED_OTHER, 0 },
		  APPLIED_FIFO,
		  NULL },
		{ "no fifo", &perf, { 101, "vcpu1", { { 1 << 4 } }, SCHED_OTHER, 0 }, 0, NULL },
		{ "wider",
		  &perf,
		  { 101, "vcpu1", { { 1 << 4 | 1 << 5 } }, SCHED_FIFO, 1 },
		  APPLIED_FIFO,
		  "vcpu1 of the VM may run on CPU 4-5, it was promised CPU 4" },
		{ "other's",
		  &perf,
		  { 101, "vcpu0", { { 1 << 4 } }, SCHED_FIFO, 1 },
		  APPLIED_FIFO,
		  "promised CPU 2" },
		{ "policy",
		  &perf,
		  { 101, "vcpu1", { { 1 << 4 } }, SCHED_OTHER, 0 },
		  APPLIED_FIFO,
		  "promised SCHED_FIFO (1), priority 1" },
		{ "priority",
		  &perf,
		  { PID, "ktstr-vm", { { 1 << 5 } }, SCHED_FIFO, 1 },
		  APPLIED_FIFO,
		  "priority 2" },
		{ "io elsewhere",
		  &perf,
		  { PID, "ktstr-vm", { { 1 << 4 } }, SCHED_FIFO, 2 },
		  APPLIED_FIFO,
		  "promised CPU 5" },
		{ "worker elsewhere",
		  &perf,
		  { 103, "iou-wrk-100", { { 1 } }, SCHED_OTHER, 0 },
		  APPLIED_FIFO,
		  "promised CPU 5" },
		{ "no such vcpu",
		  &perf,
		  { 104, "vcpu7", { { 1 << 4 } }, SCHED_FIFO, 1 },
		  APPLIED_FIFO,
		  "promised CPU 5" },
		{ "budget", &budget, { 101, "vcpu1", { { 1 << 4 } }, SCHED_OTHER, 0 }, 0, NULL },
		{ "budget io",
		  &budget,
		  { PID, "ktstr-vm", { { 1 << 2 | 1 << 4 } }, SCHED_OTHER, 0 },
		  0,
		  NULL },
		{ "budget left",
		  &budget,
		  { 101, "vcpu1", { { 1 << 4 | 1 << 6 } }, SCHED_OTHER, 0 },
		  0,
		  "may run on CPU 4,6, it was promised CPU 2,4" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = { 0 };
		int res = verify_thread(&cases[i].t, PID, cases[i].p, cases[i].applied, &err);
		if (!cases[i].wrong == !!res ||
		    (cases[i].wrong && !strstr(err.text, cases[i].wrong)))
			fail_msg("case '%s': %d, %s", cases[i].what, res, err.text);
	}
}

static void test_memory_has_to_be_where_it_was_promised(void **state UNUSED)
{
	static const struct {
		const char *text;
		uint32_t applied;
		uint64_t n_pages;
		const char *wrong;
	} cases[] = {
		{ "10000 bind:0 anon=2 N0=2 kernelpagesize_kB=4\n11000 bind:1 anon=3 N1=3\n", 0, 5,
		  NULL },
		{ "5000 default N7=9\n10000 bind:0 N0=2\n30000 default N5=1\n", 0, 2, NULL },
		{ "10000 bind:0 huge dirty=4 N0=4 kernelpagesize_kB=2048\n", APPLIED_HUGEPAGES, 4,
		  NULL },
		{ "10000 bind:0 anon=2 N0=1 N1=1\n", 0, 0,
		  "1 pages of guest memory are on node 1" },
		{ "10000 default anon=2 N0=2\n", 0, 0, "policy 'default'" },
		{ "10000 bind:0-1 anon=2 N0=2\n", 0, 0, "policy 'bind:0-1'" },
		{ "10000 prefer:0 anon=2 N0=2\n", 0, 0, "policy 'prefer:0'" },
		{ "10000 bind:0 anon=2 N0=2 kernelpagesize_kB=4\n", APPLIED_HUGEPAGES, 0, "2 MiB" },
		{ "20000 bind:0 anon=2 N0=2\n", 0, 0, "no guest memory" },
		{ "", 0, 0, "no guest memory" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct frame_started started = { .memory_base = 0x10000,
						       .memory_len = 0x10000,
						       .applied = cases[i].applied };
		struct error err = { 0 };
		uint64_t n_pages = 0;
		int res = verify_memory(cases[i].text, &perf, &started, &n_pages, &err);
		if (!cases[i].wrong == !!res || n_pages != cases[i].n_pages ||
		    (cases[i].wrong && !strstr(err.text, cases[i].wrong)))
			fail_msg("case %zu: %d, %s", i, res, err.text);
	}
}

static void test_state_of_the_host_is_told_where_it_disturbs(void **state UNUSED)
{
	static const struct {
		struct host_state s;
		const char *text;
	} cases[] = {
		{ { 3, 8, -1, 1000000 }, NULL },
		{ { 0, 8, -1, 1000000 }, NULL }, /* unknown */
		{ { 7, 8, -1, 1000000 },
		  "6 other tasks want to run now and the VM leaves this host 5 of" },
		{ { 6, 8, -1, 1000000 }, NULL },
		{ { 1, 8, 950000, 1000000 }, "stopped for 50000 us of each 1000000 us" },
		{ { 1, 8, 1000000, 1000000 }, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_fini) struct buf text = { 0 };
		host_caveats(&cases[i].s, 3, &text);
		if (cases[i].text ? !strstr(buf_str(&text), cases[i].text) : text.len != 0)
			fail_msg("case %zu: %s", i, buf_str(&text));
	}
	assert_int_equal(host_state_parse_running("cpu 1\nprocs_running 12\nprocs_blocked 0\n"),
			 12);
	assert_int_equal(host_state_parse_running("cpu 1\n"), 0);
}

static void test_what_performance_mode_lacks_is_told(void **state UNUSED)
{
	const uint32_t all = APPLIED_FIFO | APPLIED_HUGEPAGES | APPLIED_LOCKED | APPLIED_PAUSE |
			     APPLIED_HLT | APPLIED_CLOCK;
	CLEANUP(buf_fini) struct buf text = { 0 };

	missing_caveats(all, &text);
	assert_int_equal(text.len, 0);
	missing_caveats(all & ~(uint32_t)APPLIED_HLT, &text);
	assert_string_equal(
	    buf_str(&text),
	    "performance mode: this KVM cannot halt in the guest: each HLT exits\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_have_to_be_where_they_were_promised),
		cmocka_unit_test(test_memory_has_to_be_where_it_was_promised),
		cmocka_unit_test(test_what_performance_mode_lacks_is_told),
		cmocka_unit_test(test_state_of_the_host_is_told_where_it_disturbs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
