/* The text of a batch while it runs: lines of results, a block that fits any terminal. */
#include "cli/batch_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

enum { N_VMS = 40 };

static struct batch_test *entry(struct batch_result *b, uint32_t outcome, const char *why)
{
	struct batch_test *t = batch_result_add(b, "/path/of/program", "a/test", 0);

	assert_non_null(t);
	t->outcome = outcome;
	t->duration_us = 1230000;
	batch_set_why(&t->why, why, strlen(why));
	return t;
}

static void need_line(const struct batch_test *t, bool is_retry, const char *wanted)
{
	CLEANUP(buf_fini) struct buf line = { 0 };

	batch_view_format_result(t, is_retry, &line);
	assert_string_equal(buf_str(&line), wanted);
}

static void test_line_has_outcome_time_name_and_first_line_of_the_reason(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b;

	batch_result_init(&b);
	struct batch_test *t = entry(&b, OUTCOME_PASS, "");
	need_line(t, false, "PASS             1.23 s  program/a/test");
	batch_set_why(&t->why, "first\nsecond", 12);
	t->outcome = OUTCOME_INCONCLUSIVE;
	need_line(t, false, "INCONCLUSIVE     1.23 s  program/a/test: first");
	batch_test_add_attempt(t, "host trouble\nmore", 17, 500000);
	need_line(t, true, "again            0.50 s  program/a/test: host trouble");
	need_line(t, false, "INCONCLUSIVE     1.23 s  program/a/test (attempt 2): first");
}

static void make_state(struct batch_view_state *s, struct batch_view_vm vms[N_VMS],
		       const struct batch_counts *counts)
{
	for (size_t i = 0; i < N_VMS; i++)
		vms[i] =
		    (struct batch_view_vm){ .id = "program/a_name/that_is/longer_than/many_lines",
					    .phase = PHASE_COMMAND,
					    .start_ns = NS_PER_S,
					    .attempt = 1 + (i == 0) };
	*s = (struct batch_view_state){ .now_ns = 101 * NS_PER_S,
					.start_ns = NS_PER_S,
					.n_jobs = 100,
					.counts = counts,
					.vms = vms,
					.n_vms = N_VMS };
}

static void test_block_fits_every_terminal(void **state UNUSED)
{
	const struct batch_counts counts = { .n = { [OUTCOME_PASS] = 24, [OUTCOME_PANIC] = 1 },
					     .n_tests = 25 };
	struct batch_view_vm vms[N_VMS];
	struct batch_view_state s;

	make_state(&s, vms, &counts);
	for (unsigned width = 0; width < 200; width++)
		for (unsigned height = 0; height < 60; height++) {
			CLEANUP(buf_fini) struct buf block = { 0 };
			size_t n = 0;
			batch_view_format_block(&s, width, height, &block);
			for (char *p = (char *)(uintptr_t)buf_str(&block); *p; n++) {
				size_t len = strcspn(p, "\n");
				assert_true(len < (width ? width : 1));
				assert_int_equal(p[len], '\n');
				p += len + 1;
			}
			assert_true(n >= 1 && n <= (height < 3 ? 1 : height - 1));
		}
}

static void test_block_tells_counts_time_and_what_runs(void **state UNUSED)
{
	const struct batch_counts counts = { .n = { [OUTCOME_PASS] = 24, [OUTCOME_PANIC] = 1 },
					     .n_tests = 25 };
	CLEANUP(buf_fini) struct buf block = { 0 };
	struct batch_view_vm vms[N_VMS];
	struct batch_view_state s;

	make_state(&s, vms, &counts);
	s.n_vms = 2;
	vms[1].is_waiting = true;
	batch_view_format_block(&s, 80, 24, &block);
	/* 25 of 100 in 100 s: the rest takes three times as long. */
	assert_string_equal(
	    buf_str(&block),
	    "25 of 100  24 PASS  1 PANIC  2 run  1:40  ETA 5:00\n"
	    "     100.0 s  command   program/a_name/that_is/longer_than/many_lines "
	    "(attempt \n"
	    "     100.0 s  waits     program/a_name/that_is/longer_than/many_lines\n");
}

static void test_pipe_gets_lines_only(void **state UNUSED)
{
	const struct batch_counts counts = { 0 };
	const struct batch_view_state s = { .counts = &counts, .n_jobs = 1 };
	struct batch_view v;
	char text[64];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	batch_view_init(&v, fds[1]);
	batch_view_draw(&v, &s);
	batch_view_print(&v, "a line");
	batch_view_draw(&v, &s);
	batch_view_clear(&v);
	batch_view_fini(&v);
	(void)close(fds[1]);
	ssize_t n = read(fds[0], text, sizeof(text));
	assert_int_equal(n, 7);
	assert_memory_equal(text, "a line\n", 7);
	(void)close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line_has_outcome_time_name_and_first_line_of_the_reason),
		cmocka_unit_test(test_block_fits_every_terminal),
		cmocka_unit_test(test_block_tells_counts_time_and_what_runs),
		cmocka_unit_test(test_pipe_gets_lines_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
