/* Programs that list their tests, and those that hang, flood, die, leave children, or print something else. */
#include "harness/list_program.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"

#define LIST "echo '{\"ktstr_list\":1,\"n_tests\":1}'; echo '{\"name\":\"a\"}'\n"

enum { OUTPUT_MAX = 64 * 1024, LONG_S = 60 };

struct fixture {
	char dir[64];
	char *path;
	struct test_list list;
	struct error err;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/ktstr-list-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->path = xasprintf("%s/program", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *pid = xasprintf("%s/pid", f->dir);

	test_list_fini(&f->list);
	(void)unlink(pid);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	freep(&f->path);
	free(f);
	return 0;
}

static enum list_program_end run(struct fixture *f, const char *script, uint64_t timeout_ms)
{
	const struct list_program_config config = { .path = f->path,
						    .timeout_ns = timeout_ms * NS_PER_MS,
						    .output_max = OUTPUT_MAX };
	FILE *file = fopen(f->path, "w");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s", script);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(f->path, 0755), 0);
	return list_program_run(&config, &f->list, &f->err);
}

static void test_list_arrives(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
	    run(f, "[ \"$1\" = --ktstr-list ] && [ $# = 1 ] || exit 3\n" LIST, LONG_S * 1000),
	    LIST_PROGRAM_OK);
	assert_int_equal(f->list.n, 1);
	assert_string_equal(f->list.tests[0].name, "a");
}

static void need_end(struct fixture *f, const char *script, uint64_t timeout_ms,
		     enum list_program_end wanted, const char *why)
{
	assert_int_equal(run(f, script, timeout_ms), wanted);
	if (!strstr(f->err.text, why) || strncmp(f->err.text, "'/tmp/", 6) != 0)
		fail_msg("'%s' lacks '%s'", f->err.text, why);
}

static void test_program_that_hangs_is_ended(void **state)
{
	need_end(*state, LIST "exec sleep 1000\n", 300, LIST_PROGRAM_HANG, "did not end within");
}

static void test_program_that_floods_is_ended(void **state)
{
	need_end(*state, "exec yes\n", LONG_S * 1000, LIST_PROGRAM_FLOOD,
		 "prints more than 65536 bytes");
}

static void test_program_that_floods_its_error_stream_only_is_heard(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, "head -c 1000000 /dev/zero >&2\n" LIST, LONG_S * 1000),
			 LIST_PROGRAM_OK);
}

static void test_program_that_dies_is_told_with_its_last_words(void **state)
{
	need_end(*state, "kill -SEGV $$\n", LONG_S * 1000, LIST_PROGRAM_DIED,
		 "died by signal 11 (SIGSEGV)");
	need_end(*state, "echo first >&2; echo 'no such option' >&2; exit 64\n", LONG_S * 1000,
		 LIST_PROGRAM_DIED, "ended with status 64: no such option");
	need_end(*state, LIST "exit 1\n", LONG_S * 1000, LIST_PROGRAM_DIED, "ended with status 1");
}

static void test_program_that_prints_no_list_is_told(void **state)
{
	need_end(*state, "echo hello\n", LONG_S * 1000, LIST_PROGRAM_WRONG, "but with 'hello'");
	need_end(*state, "true\n", LONG_S * 1000, LIST_PROGRAM_WRONG, "prints nothing");
}

static void test_program_that_is_not_there_is_the_users_mistake(void **state)
{
	struct fixture *f = *state;
	const struct list_program_config config = { .path = "/no/such/program",
						    .timeout_ns = NS_PER_S,
						    .output_max = OUTPUT_MAX };

	assert_int_equal(list_program_run(&config, &f->list, &f->err), LIST_PROGRAM_UNUSED);
	assert_int_equal(f->err.class, ERROR_USAGE);
}

/* The process whose id a script left in the file "pid" is gone, or soon is. */
static void need_gone(struct fixture *f)
{
	CLEANUP(freep) char *pid_file = xasprintf("%s/pid", f->dir);
	char line[32];

	assert_int_equal(file_read_line(pid_file, line, sizeof(line)), 0);
	pid_t pid = (pid_t)atoi(line);
	assert_true(pid > 1);
	for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++) {
		/* Where nobody reaps orphans it stays as a zombie. */
		CLEANUP(freep) char *stat = xasprintf("/proc/%d/stat", (int)pid);
		char text[256] = "";
		if (file_read_line(stat, text, sizeof(text)) == 0 && strstr(text, ") Z "))
			return;
		usleep(10000);
	}
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

#define LEAVES_CHILD "sleep 1000 & echo $! > ${0%/*}/new; mv ${0%/*}/new ${0%/*}/pid\n"

/* A child that keeps the pipe open neither delays the list nor stays. */
static void test_child_that_is_left_behind_is_killed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, LEAVES_CHILD LIST, LONG_S * 1000), LIST_PROGRAM_OK);
	need_gone(f);
	assert_int_equal(run(f, LEAVES_CHILD "exec sleep 1000\n", 300), LIST_PROGRAM_HANG);
	need_gone(f);
}

static void test_nothing_outlives_us_when_we_are_killed(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *pid_file = xasprintf("%s/pid", f->dir);
	pid_t us = fork();

	if (us == 0) {
		(void)run(f, LEAVES_CHILD "exec sleep 1000\n", LONG_S * 1000);
		_exit(1);
	}
	for (int i = 0; i < 3000 && access(pid_file, F_OK) < 0; i++)
		usleep(10000);
	assert_int_equal(kill(us, SIGKILL), 0);
	assert_int_equal(waitpid(us, NULL, 0), us);
	need_gone(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_list_arrives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_program_that_hangs_is_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(test_program_that_floods_is_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_program_that_floods_its_error_stream_only_is_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(test_program_that_dies_is_told_with_its_last_words,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_program_that_prints_no_list_is_told, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_program_that_is_not_there_is_the_users_mistake,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_child_that_is_left_behind_is_killed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_nothing_outlives_us_when_we_are_killed, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
