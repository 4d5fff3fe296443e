/* What a test says while it runs: outcomes, subtests, metrics, from threads and forked children. */
#include "ktstr.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/frame.h"
#include "abi/test_protocol.h"
#include "program.h"

/* The last record, which is the test's result. */
static json_t *result_of(const struct program *p)
{
	return program_record(p, json_array_size(p->records) - 1, FRAME_TEST_RESULT, "t");
}

static void expect_result(const struct program *p, int status, const char *outcome,
			  const char *message)
{
	json_t *result = result_of(p);

	assert_int_equal(p->status, status);
	assert_string_equal(program_text(result, "outcome"), outcome);
	assert_string_equal(program_text(result, "message"), message);
	assert_true(json_is_number(json_object_get(result, "duration_ms")));
	assert_int_equal(json_integer_value(json_object_get(result, "depth")), 0);
	assert_string_equal(p->err, "");
}

static void run_and_expect(void (*run)(struct ktstr *t), int status, const char *outcome,
			   const char *message)
{
	struct program p = { 0 };

	program_run_test(&p, run);
	(void)program_record(&p, 0, FRAME_SCENARIO_START, "t");
	expect_result(&p, status, outcome, message);
	program_fini(&p);
}

/* Outcomes */

static void passes(struct ktstr *t)
{
	if (!KTSTR_CHECK(t, 1 + 1 == 2, "arithmetic"))
		ktstr_fail(t, "a check that holds returned false");
}

static void fails_twice(struct ktstr *t)
{
	errno = ENOENT;
	if (KTSTR_CHECK(t, t == NULL, "%s: %m", "name") || errno != ENOENT)
		ktstr_fail(t, "a check that does not hold returned true, or errno changed");
	KTSTR_CHECK(t, true, "holds");
	ktstr_fail(t, "second");
}

static void skips(struct ktstr *t)
{
	ktstr_skip(t, "needs %d disks", 3);
}

static void gets_worse(struct ktstr *t)
{
	KTSTR_CHECK(t, true, "holds");
	ktstr_skip(t, "skip");
	ktstr_inconclusive(t, "stolen");
	ktstr_skip(t, "late");
	ktstr_inconclusive(t, "noise");
}

static void gets_worst(struct ktstr *t)
{
	gets_worse(t);
	ktstr_fail(t, "failed");
	ktstr_inconclusive(t, "late");
}

static void does_nothing(struct ktstr *t UNUSED)
{
}

static void test_outcomes(void **state)
{
	run_and_expect(passes, TEST_EXIT_PASS, "PASS", "");
	run_and_expect(skips, TEST_EXIT_SKIP, "SKIP", "needs 3 disks");
	run_and_expect(gets_worse, TEST_EXIT_INCONCLUSIVE, "INCONCLUSIVE", "stolen\nnoise");
	run_and_expect(gets_worst, TEST_EXIT_FAIL, "FAIL", "failed");
}

static void test_nothing_checked_is_no_pass(void **state)
{
	run_and_expect(does_nothing, TEST_EXIT_INCONCLUSIVE, "INCONCLUSIVE",
		       "nothing was checked or measured");
}

static void test_failed_check_tells_place_condition_and_text(void **state)
{
	struct program p = { 0 };
	int line = 0;

	program_run_test(&p, fails_twice);
	const char *message = program_text(result_of(&p), "message");
	const char *file = strstr(message, "test_ktstr.c:");
	assert_non_null(file);
	assert_int_equal(sscanf(file, "test_ktstr.c:%d:", &line), 1);
	assert_true(line > 0);
	assert_non_null(strstr(message, ": t == NULL: name: No such file or directory\nsecond"));
	assert_int_equal(p.status, TEST_EXIT_FAIL);
	assert_non_null(strstr(p.out, "FAIL t ("));
	program_fini(&p);
}

static void says_a_lot(struct ktstr *t)
{
	for (int i = 0; i < 1000; i++)
		ktstr_fail(t, "number %d", i);
}

static void says_one_long_thing(struct ktstr *t)
{
	char text[10000];

	memset(text, '"', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ktstr_fail(t, "%s", text);
}

static void test_long_messages_are_cut_and_say_so(void **state)
{
	struct program p = { 0 };

	program_run_test(&p, says_a_lot);
	const char *message = program_text(result_of(&p), "message");
	int n = 0, kept = 0;
	for (const char *s = message; (s = strstr(s, "number ")) != NULL; s++)
		kept++;
	assert_int_equal(sscanf(strstr(message, "(and "), "(and %d more)", &n), 1);
	assert_int_equal(n + kept, 1000);
	program_fini(&p);

	program_run_test(&p, says_one_long_thing);
	assert_true(strlen(program_text(result_of(&p), "message")) > 1000);
	program_fini(&p);
}

/* Subtests */

static void sub_pass(struct ktstr *t, void *arg)
{
	KTSTR_CHECK(t, *(const int *)arg == 5, "the argument arrives");
}

static void sub_fail(struct ktstr *t, void *arg UNUSED)
{
	ktstr_fail(t, "because");
}

static void sub_skip(struct ktstr *t, void *arg UNUSED)
{
	ktstr_skip(t, "not here");
}

static void sub_nested(struct ktstr *t, void *arg)
{
	ktstr_subtest(t, "inner", sub_fail, arg);
}

static void has_subtests(struct ktstr *t)
{
	int five = 5;

	if (!ktstr_subtest(t, "good", sub_pass, &five) || ktstr_subtest(t, "bad", sub_nested, NULL))
		ktstr_fail(t, "a subtest's return value is wrong");
	ktstr_subtest(t, "absent", sub_skip, NULL);
}

static void test_subtests_nest_and_fail_their_test(void **state)
{
	static const struct {
		int type, depth;
		const char *name, *outcome;
	} wanted[] = {
		{ FRAME_SCENARIO_START, 0, "t", NULL },
		{ FRAME_SCENARIO_START, 1, "good", NULL },
		{ FRAME_SCENARIO_END, 1, "good", "PASS" },
		{ FRAME_SCENARIO_START, 1, "bad", NULL },
		{ FRAME_SCENARIO_START, 2, "inner", NULL },
		{ FRAME_SCENARIO_END, 2, "inner", "FAIL" },
		{ FRAME_SCENARIO_END, 1, "bad", "FAIL" },
		{ FRAME_SCENARIO_START, 1, "absent", NULL },
		{ FRAME_SCENARIO_END, 1, "absent", "SKIP" },
		{ FRAME_TEST_RESULT, 0, "t", "FAIL" },
	};
	struct program p = { 0 };

	program_run_test(&p, has_subtests);
	assert_int_equal(json_array_size(p.records), ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		json_t *r = program_record(&p, i, wanted[i].type, wanted[i].name);
		assert_int_equal(json_integer_value(json_object_get(r, "depth")), wanted[i].depth);
		if (wanted[i].outcome)
			assert_string_equal(program_text(r, "outcome"), wanted[i].outcome);
	}
	expect_result(&p, TEST_EXIT_FAIL, "FAIL", "bad: inner: because");
	program_fini(&p);
}

static void skips_all(struct ktstr *t)
{
	ktstr_subtest(t, "a", sub_skip, NULL);
	ktstr_subtest(t, "b", sub_skip, NULL);
}

static void skips_one(struct ktstr *t)
{
	int five = 5;

	ktstr_subtest(t, "a", sub_skip, NULL);
	ktstr_subtest(t, "b", sub_pass, &five);
}

static void test_skipped_subtests_count_as_nothing(void **state)
{
	run_and_expect(skips_all, TEST_EXIT_SKIP, "SKIP", "every subtest was skipped");
	run_and_expect(skips_one, TEST_EXIT_PASS, "PASS", "");
}

static void sub_deeper(struct ktstr *t, void *arg)
{
	int *n_deep = arg;

	KTSTR_CHECK(t, true, "here");
	if (++*n_deep < 100)
		ktstr_subtest(t, "deeper", sub_deeper, arg);
}

static void goes_deep(struct ktstr *t)
{
	int n_deep = 0;

	ktstr_subtest(t, "deep", sub_deeper, &n_deep);
}

static void test_too_deep_a_subtest_fails(void **state)
{
	struct program p = { 0 };

	program_run_test(&p, goes_deep);
	assert_int_equal(p.status, TEST_EXIT_FAIL);
	assert_non_null(strstr(program_text(result_of(&p), "message"), "too deep"));
	assert_int_equal(json_array_size(p.records), 2 * TEST_DEPTH_MAX);
	program_fini(&p);
}

/* Metrics */

static void measures(struct ktstr *t)
{
	ktstr_metric(t, "wake \"up\"", 12.5, "us", KTSTR_LOWER_IS_BETTER);
	ktstr_metric(t, "rate", 1e9, "1/s", KTSTR_HIGHER_IS_BETTER);
	ktstr_metric(t, "count", 0, "", KTSTR_NEITHER_IS_BETTER);
}

static void test_metrics(void **state)
{
	struct program p = { 0 };

	program_run_test(&p, measures);
	json_t *m = program_record(&p, 1, FRAME_PAYLOAD_METRICS, "wake \"up\"");
	assert_true(json_number_value(json_object_get(m, "value")) == 12.5);
	assert_string_equal(program_text(m, "unit"), "us");
	assert_string_equal(program_text(m, "better"), "lower");
	m = program_record(&p, 2, FRAME_PAYLOAD_METRICS, "rate");
	assert_true(json_number_value(json_object_get(m, "value")) == 1e9);
	assert_string_equal(program_text(m, "better"), "higher");
	m = program_record(&p, 3, FRAME_PAYLOAD_METRICS, "count");
	assert_string_equal(program_text(m, "better"), "neither");
	expect_result(&p, TEST_EXIT_PASS, "PASS", "");
	assert_non_null(strstr(p.out, "12.5 us (lower is better)"));
	program_fini(&p);
}

static void measures_nothing(struct ktstr *t)
{
	ktstr_metric(t, "rate", NAN, "1/s", KTSTR_HIGHER_IS_BETTER);
	ktstr_metric(t, "ratio", INFINITY, "", KTSTR_HIGHER_IS_BETTER);
}

static void test_metric_that_is_no_number_is_inconclusive(void **state)
{
	run_and_expect(measures_nothing, TEST_EXIT_INCONCLUSIVE, "INCONCLUSIVE",
		       "metric 'rate' is no finite number\nmetric 'ratio' is no finite number");
}

/* Threads and children */

enum { N_THREADS = 4, N_CHECKS = 200 };

static void *fail_often(void *arg)
{
	struct ktstr *t = arg;

	for (int i = 0; i < N_CHECKS; i++) {
		KTSTR_CHECK(t, true, "holds");
		ktstr_metric(t, "m", i, "", KTSTR_NEITHER_IS_BETTER);
	}
	ktstr_fail(t, "thread");
	return NULL;
}

static void has_threads(struct ktstr *t)
{
	pthread_t threads[N_THREADS];

	for (int i = 0; i < N_THREADS; i++)
		if (pthread_create(&threads[i], NULL, fail_often, t) != 0)
			abort();
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void test_threads_may_speak(void **state)
{
	struct program p = { 0 };

	/* More than the channel holds: nobody reads while the program runs. */
	p.no_channel = true;
	program_run_test(&p, has_threads);
	assert_int_equal(p.status, TEST_EXIT_FAIL);
	assert_non_null(strstr(p.out, "FAIL t ("));
	program_fini(&p);
}

static void wait_for_children(void)
{
	while (wait(NULL) > 0)
		;
}

static void fails_in_a_child(struct ktstr *t)
{
	KTSTR_CHECK(t, true, "holds");
	if (fork() == 0) {
		ktstr_fail(t, "in a child");
		_exit(0);
	}
	wait_for_children();
}

static void checks_in_a_child(struct ktstr *t)
{
	if (fork() == 0)
		_exit(KTSTR_CHECK(t, true, "holds") ? 0 : 1);
	wait_for_children();
}

static void test_children_may_speak(void **state)
{
	run_and_expect(fails_in_a_child, TEST_EXIT_FAIL, "FAIL", "in a child");
	run_and_expect(checks_in_a_child, TEST_EXIT_PASS, "PASS", "");
}

static void kills_children_that_speak(struct ktstr *t)
{
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();
		if (pid == 0)
			for (;;)
				ktstr_skip(t, "s");
		usleep(2000);
		kill(pid, SIGKILL);
		wait_for_children();
	}
	ktstr_fail(t, "the end");
}

static void test_child_killed_while_it_speaks_leaves_the_test_usable(void **state)
{
	const struct ktstr_test tests[] = { { .name = "t", .run = kills_children_that_speak },
					    { 0 } };
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct program p = { .no_channel = true, .tests = tests, .stdout_fd = null_fd };

	program_run(&p, "--ktstr-run", "t");
	assert_int_equal(p.status, TEST_EXIT_FAIL);
	program_fini(&p);
	close(null_fd);
}

/* Ends that are none */

static void exits(struct ktstr *t)
{
	KTSTR_CHECK(t, true, "holds");
	exit(0);
}

static void child_exits(struct ktstr *t)
{
	KTSTR_CHECK(t, true, "holds");
	if (fork() == 0)
		exit(0);
	wait_for_children();
}

static void child_returns(struct ktstr *t)
{
	KTSTR_CHECK(t, true, "holds");
	if (fork() == 0)
		return;
	wait_for_children();
}

static void sub_child_returns(struct ktstr *t, void *arg UNUSED)
{
	child_returns(t);
}

static void child_returns_from_subtest(struct ktstr *t)
{
	ktstr_subtest(t, "sub", sub_child_returns, NULL);
}

static void test_exit_inside_of_a_test_is_no_pass(void **state)
{
	run_and_expect(exits, TEST_EXIT_FAIL, "FAIL", "the test called exit(0)");
	run_and_expect(child_exits, TEST_EXIT_PASS, "PASS", "");
}

static void test_child_that_returns_fails_the_test_once(void **state)
{
	struct program p = { 0 };

	program_run_test(&p, child_returns);
	assert_int_equal(json_array_size(p.records), 2);
	assert_non_null(strstr(program_text(result_of(&p), "message"), "a forked child returned"));
	program_fini(&p);
	program_run_test(&p, child_returns_from_subtest);
	assert_int_equal(json_array_size(p.records), 4);
	assert_non_null(strstr(program_text(result_of(&p), "message"), "of 'sub'"));
	assert_int_equal(p.status, TEST_EXIT_FAIL);
	program_fini(&p);
}

static void crashes(struct ktstr *t)
{
	KTSTR_CHECK(t, true, "holds");
	ktstr_metric(t, "before", 1, "", KTSTR_NEITHER_IS_BETTER);
	kill(getpid(), SIGKILL);
}

static void test_what_was_said_before_a_death_has_arrived(void **state)
{
	struct program p = { 0 };

	program_run_test(&p, crashes);
	assert_int_equal(p.status, -SIGKILL);
	assert_int_equal(json_array_size(p.records), 2);
	(void)program_record(&p, 1, FRAME_PAYLOAD_METRICS, "before");
	assert_string_equal(p.out, "RUN  t\n  metric before: 1 \n");
	program_fini(&p);
}

static void is_known(struct ktstr *t, void *n_started)
{
	KTSTR_CHECK(t, program_n_receipts() == *(unsigned int *)n_started, "nobody knows it");
}

static void starts_twice(struct ktstr *t)
{
	is_known(t, &(unsigned int){ 1 });
	ktstr_subtest(t, "sub", is_known, &(unsigned int){ 2 });
}

/* Or the host would not know what a kernel was doing when it died. */
static void test_nothing_runs_before_its_start_is_known(void **state)
{
	struct program p = { .slow_host = true };

	program_run_test(&p, starts_twice);
	expect_result(&p, TEST_EXIT_PASS, "PASS", "");
	program_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_nothing_checked_is_no_pass),
		cmocka_unit_test(test_failed_check_tells_place_condition_and_text),
		cmocka_unit_test(test_long_messages_are_cut_and_say_so),
		cmocka_unit_test(test_subtests_nest_and_fail_their_test),
		cmocka_unit_test(test_skipped_subtests_count_as_nothing),
		cmocka_unit_test(test_too_deep_a_subtest_fails),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_metric_that_is_no_number_is_inconclusive),
		cmocka_unit_test(test_threads_may_speak),
		cmocka_unit_test(test_children_may_speak),
		cmocka_unit_test(test_child_killed_while_it_speaks_leaves_the_test_usable),
		cmocka_unit_test(test_exit_inside_of_a_test_is_no_pass),
		cmocka_unit_test(test_child_that_returns_fails_the_test_once),
		cmocka_unit_test(test_what_was_said_before_a_death_has_arrived),
		cmocka_unit_test(test_nothing_runs_before_its_start_is_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
