/* The text of the benchmark's guest: what it says, and what it cannot have said. */
#include "bench/guest_text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct guest_text text;
	const char *rest;
	struct error err;
};

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static int parse(struct fixture *f, const char *text)
{
	return guest_text_parse(text, &f->text, &f->rest, &f->err);
}

static void test_a_whole_text_is_read(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "begin\nend\nticks 1000\nrequests 5\nbytes 20480\nerrors 1\n"
				  "kicks 3\ninterrupts 2\nhist latency 7 4\nhist latency 9 1\n"
				  "hist kick 100 400\ndone\n{\"rest\": 1}\n"),
			 0);
	assert_int_equal(f->text.ticks, 1000);
	assert_int_equal(f->text.n_requests, 5);
	assert_int_equal(f->text.n_bytes, 20480);
	assert_int_equal(f->text.n_errors, 1);
	assert_int_equal(f->text.n_kicks, 3);
	assert_int_equal(f->text.n_interrupts, 2);
	assert_int_equal(f->text.latency.n, 5);
	assert_true(hist_percentile(&f->text.latency, 50) == 7);
	assert_int_equal(f->text.costs[GUEST_COST_KICK].count[100], 400);
	assert_string_equal(f->rest, "{\"rest\": 1}\n");
}

static void test_the_guests_own_reason_is_passed_on(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "begin\nerror the disk is too small\n"), -EPROTO);
	assert_non_null(strstr(f->err.text, "the disk is too small"));
}

static void test_lines_that_cannot_be_are_named(void **state)
{
	static const char *const lines[] = {
		"",
		"tick 5",
		"ticks",
		"ticks x",
		"ticks 5 6",
		"ticks -5",
		"hist",
		"hist latency",
		"hist latency 7",
		"hist nothing 7 1",
		"begin 5",
		"ticks 5x",
		"hist latency 999999 1",
		"ticks 99999999999999999999",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct fixture *f = *state;
		char text[128] = "";
		strncat(text, lines[i], sizeof(text) - 8);
		strncat(text, "\ndone\n", 7);
		assert_int_equal(parse(f, text), -EPROTO);
		assert_non_null(strstr(f->err.text, lines[i]));
	}
}

static void test_a_cut_text_is_an_error(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, ""), -EPROTO);
	assert_int_equal(parse(f, "begin\nend\nticks 10"), -EPROTO);
	assert_int_equal(parse(f, "begin\nend\nticks 10\n"), -EPROTO);
	assert_int_equal(parse(f, "begin\nend\nticks 10\ndone"), -EPROTO);
}

static void test_marks_are_whole_lines(void **state UNUSED)
{
	assert_true(guest_text_has("begin\n", "begin"));
	assert_true(guest_text_has("x\nend\n", "end"));
	assert_false(guest_text_has("begin", "begin"));
	assert_false(guest_text_has("trend\nendx\n", "end"));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_whole_text_is_read),
		TEST(test_the_guests_own_reason_is_passed_on),
		TEST(test_lines_that_cannot_be_are_named),
		TEST(test_a_cut_text_is_an_error),
		TEST(test_marks_are_whole_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
