/* JUnit, TAP and the summary of batches as hostile guests make them: whole, clean, and in their bounds. */
#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/text.h"
#include "harness/batch_details.h"
#include "harness/batch_junit.h"
#include "harness/batch_summary.h"
#include "harness/batch_tap.h"
#include "support/random_batch.h"

enum { SEEDS = 40 };

/* 127: there is no xmllint. */
static int validate(char *path)
{
	char *argv[] = { "xmllint", "--noout", "--huge", "--schema", JUNIT_XSD, path, NULL };
	pid_t child;
	int status;

	if (posix_spawnp(&child, argv[0], NULL, NULL, argv, environ) != 0)
		return 127;
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_junit_of_any_batch_is_valid(void **state UNUSED)
{
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		CLEANUP(batch_result_fini) struct batch_result b = { 0 };
		CLEANUP(buf_fini) struct buf text = { 0 };
		char path[] = "/tmp/test_junit.XXXXXX";
		CLEANUP(fd_closep) int fd = mkostemp(path, O_CLOEXEC);
		assert_true(fd >= 0);
		batch_result_init(&b);
		random_batch(&b, seed, 8);
		batch_junit_write(&b, &text);
		assert_true(text_is_clean(text.data, text.len));
		assert_int_equal(fd_write_all(fd, text.data, text.len), 0);
		int status = validate(path);
		unlink(path);
		if (status == 127)
			skip();
		assert_int_equal(status, 0);
	}
}

static void test_tap_of_any_batch_has_a_point_per_test(void **state UNUSED)
{
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		CLEANUP(batch_result_fini) struct batch_result b = { 0 };
		CLEANUP(buf_fini) struct buf text = { 0 };
		size_t n = 0;
		batch_result_init(&b);
		random_batch(&b, seed, 8);
		batch_tap_write(&b, &text);
		assert_true(text_is_clean(text.data, text.len));
		char *save = NULL, *line = strtok_r((char *)(uintptr_t)buf_str(&text), "\n", &save);
		assert_string_equal(line, "TAP version 14");
		while ((line = strtok_r(NULL, "\n", &save))) {
			n += strncmp(line, "ok ", 3) == 0 || strncmp(line, "not ok ", 7) == 0;
			assert_true(*line == ' ' || strncmp(line, "ok ", 3) == 0 ||
				    strncmp(line, "not ok ", 7) == 0 ||
				    strncmp(line, "1..", 3) == 0 ||
				    strncmp(line, "Bail out!", 9) == 0);
		}
		assert_int_equal(n, b.n_tests);
	}
}

/* Columns of the longest line that begins with @indent blanks or more. */
static size_t widest(const char *text)
{
	size_t most = 0, columns = 0;

	for (; *text; text++) {
		columns = *text == '\n' ? 0 : columns + ((*text & 0xc0) != 0x80);
		most = columns > most ? columns : most;
	}
	return most;
}

static struct batch_test *failure(struct batch_result *b, const char *why)
{
	struct batch_test *t = batch_result_add(b, "prog", "t", 0);

	t->outcome = OUTCOME_PANIC;
	batch_set_why(&t->why, why, strlen(why));
	return t;
}

static void test_summary_fits_its_width(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b = { 0 };
	CLEANUP(buf_fini) struct buf log = { 0 };

	for (int i = 0; i < 60; i++)
		buf_append_str(&log, "gr\xc3\xbc"
				     "n word");
	batch_result_init(&b);
	struct batch_test *t = failure(&b, buf_str(&log));
	batch_set_text(&t->evidence.panic, log.data, log.len);
	for (unsigned width = 40; width < 200; width += 7) {
		CLEANUP(buf_fini) struct buf text = { 0 };
		const struct batch_summary_style style = { .width = width };
		batch_summary_test(t, &style, &text);
		assert_true(widest(buf_str(&text)) <= width);
		assert_true(text_is_clean(text.data, text.len));
	}
	CLEANUP(buf_fini) struct buf plain = { 0 };
	batch_summary_test(t, &(struct batch_summary_style){ 0 }, &plain);
	assert_non_null(strstr(buf_str(&plain), (const char *)log.data));
}

static void test_summary_tells_each_failure_once_and_counts(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b = { 0 };
	CLEANUP(buf_fini) struct buf text = { 0 };

	batch_result_init(&b);
	failure(&b, "BUG: cause\nBacktrace");
	for (uint32_t i = 1; i <= 30; i++)
		batch_result_add(&b, "prog", "skipped", i)->outcome = OUTCOME_SKIP;
	batch_result_add(&b, "prog", "good", 0)->outcome = OUTCOME_PASS;
	b.duration_us = 200000000;
	batch_summary_write(&b, &(struct batch_summary_style){ 0 }, &text);
	assert_memory_equal(buf_str(&text), "PANIC prog/t\n    BUG: cause\n      Backtrace\n", 44);
	assert_non_null(strstr(buf_str(&text), "... and 10 more skipped\n"));
	assert_non_null(
	    strstr(buf_str(&text), "32 tests: 1 passed, 30 skipped, 1 panicked, in 3 min 20 s\n"));
}

static void test_details_keep_the_end_of_the_log(void **state UNUSED)
{
	CLEANUP(batch_result_fini) struct batch_result b = { 0 };
	CLEANUP(buf_fini) struct buf text = { 0 };

	batch_result_init(&b);
	struct batch_test *t = failure(&b, "why");
	batch_set_tail(&t->evidence.log_tail, "1\n2\n3\n4\n", 8);
	batch_details(t, 2, &text);
	assert_string_equal(buf_str(&text), "kernel log, its end:\n  3\n  4\n");
	text.len = 0;
	batch_details(t, 0, &text);
	assert_string_equal(buf_str(&text), "");
	batch_details(t, 9, &text);
	assert_string_equal(buf_str(&text), "kernel log, its end:\n  1\n  2\n  3\n  4\n");
}

static void expect_log(const char *log, const char *shown)
{
	CLEANUP(batch_result_fini) struct batch_result b = { 0 };
	CLEANUP(buf_fini) struct buf text = { 0 };

	batch_result_init(&b);
	struct batch_test *t = failure(&b, "why");
	batch_set_tail(&t->evidence.log_tail, log, strlen(log));
	batch_details(t, 9, &text);
	assert_string_equal(buf_str(&text), shown);
}

#define BOOTED                                                                                     \
	"[    1.0] Run /init as init process\n"                                                    \
	"[    1.0]   with arguments:\n"                                                            \
	"[    1.0]     /init\n"

static void test_details_leave_the_boot_out(void **state UNUSED)
{
	expect_log("[    0.1] one\n" BOOTED, "");
	expect_log("[    0.1] one\n" BOOTED "[    2.0] two\n[    2.1]   three\n",
		   "kernel log, its end:\n  [    2.0] two\n  [    2.1]   three\n");
	expect_log(BOOTED "[    2.0]", "kernel log, its end:\n  [    2.0]\n");
	expect_log(BOOTED "[    2.0]   ", "");
	expect_log("[    0.1] one\n", "kernel log, its end:\n  [    0.1] one\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_junit_of_any_batch_is_valid),
		cmocka_unit_test(test_tap_of_any_batch_has_a_point_per_test),
		cmocka_unit_test(test_summary_fits_its_width),
		cmocka_unit_test(test_summary_tells_each_failure_once_and_counts),
		cmocka_unit_test(test_details_keep_the_end_of_the_log),
		cmocka_unit_test(test_details_leave_the_boot_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
