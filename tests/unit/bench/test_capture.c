/* Commands run to their end: output, looks at it, and every way to fail. */
#include "bench/capture.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

struct seen {
	pid_t pid;
	bool has_mark_early;
};

static void on_text(void *ctx, pid_t pid, const char *text)
{
	struct seen *s = ctx;

	s->pid = pid;
	if (strcmp(text, "mark\n") == 0)
		s->has_mark_early = true;
}

#define SHELL(script) ((const char *const[]){ "/bin/sh", "-c", script, NULL })

static struct capture_config config_of(const char *const *argv)
{
	return (struct capture_config){ .spawn = { .argv = argv, .mark_fd = -1 },
					.timeout_ns = 60 * NS_PER_S,
					.signal_fd = -1 };
}

static int run(const struct capture_config *config, struct capture *c, struct error *err)
{
	return capture_run(config, c, err);
}

static void test_output_is_kept_and_looked_at_as_it_comes(void **state UNUSED)
{
	struct capture_config config = config_of(SHELL("echo mark; sleep 0.3; echo more"));
	struct seen seen = { 0 };
	struct capture c;
	struct error err;

	config.on_text = on_text;
	config.ctx = &seen;
	assert_int_equal(run(&config, &c, &err), 0);
	assert_string_equal((const char *)c.out.data, "mark\nmore\n");
	assert_true(seen.pid > 0 && seen.has_mark_early);
	assert_true(c.wall_ms >= 300);
	capture_fini(&c);
}

static void test_failure_tells_status_and_last_words(void **state UNUSED)
{
	struct capture_config config =
	    config_of(SHELL("echo first >&2; echo 'no disk' >&2; exit 7"));
	struct capture c;
	struct error err;

	assert_int_equal(run(&config, &c, &err), -ECHILD);
	assert_non_null(strstr(err.text, "status 7: no disk"));
	assert_null(strstr(err.text, "first"));
	capture_fini(&c);
	config.spawn.wanted_status = 7;
	assert_int_equal(run(&config, &c, &err), 0);
	capture_fini(&c);
}

static void test_a_missing_program_is_named(void **state UNUSED)
{
	const struct capture_config config =
	    config_of((const char *const[]){ "/nowhere/program", NULL });
	struct capture c;
	struct error err;

	assert_int_equal(run(&config, &c, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/program"));
	capture_fini(&c);
}

static void test_what_runs_too_long_is_killed(void **state UNUSED)
{
	struct capture_config config = config_of((const char *const[]){ "sleep", "1000", NULL });
	struct capture c;
	struct error err;

	config.timeout_ns = 100 * NS_PER_MS;
	assert_int_equal(run(&config, &c, &err), -ETIMEDOUT);
	capture_fini(&c);
}

static void test_a_signal_ends_it(void **state UNUSED)
{
	struct capture_config config = config_of((const char *const[]){ "sleep", "1000", NULL });
	struct capture c;
	struct error err;
	sigset_t set, old;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &set, &old), 0);
	config.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	assert_int_equal(raise(SIGTERM), 0);
	assert_int_equal(run(&config, &c, &err), -EINTR);
	assert_int_equal(c.signal, SIGTERM);
	capture_fini(&c);
	(void)close(config.signal_fd);
	assert_int_equal(sigprocmask(SIG_SETMASK, &old, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output_is_kept_and_looked_at_as_it_comes),
		cmocka_unit_test(test_failure_tells_status_and_last_words),
		cmocka_unit_test(test_a_missing_program_is_named),
		cmocka_unit_test(test_what_runs_too_long_is_killed),
		cmocka_unit_test(test_a_signal_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
