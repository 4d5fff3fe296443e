/* The command line of a test program, in both of its roles: on the host it lists, in the guest it runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktstr_declaration.h"
#include "ktstr_level.h"

static void usage(FILE *f, const char *program)
{
	fprintf(f,
		"usage: %s --ktstr-list        print the tests, one JSON object per line\n"
		"       %s --ktstr-run NAME    run one test here; exit status 0 passed, 1 failed,\n"
		"                              77 skipped, 78 inconclusive\n"
		"       ktstr run -- %s --ktstr-run NAME    run it in a virtual machine\n",
		program, program, program);
}

/* Exit status of --ktstr-list: a list that did not get through must not look like a short one. */
static int list(const struct ktstr_test *tests)
{
	ktstr_declaration_list(tests, stdout);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return TEST_EXIT_PASS;
	fprintf(stderr, "ktstr: cannot write the list: %m\n");
	return TEST_EXIT_FAIL;
}

/* A test that calls exit(0) must not pass for one that came to its end. */
static void on_early_exit(int status, void *arg)
{
	struct ktstr_session *s = arg;

	if (s->is_over || getpid() != s->pid)
		return;
	s->is_over = true;
	ktstr_fail(&s->levels[0], "the test called exit(%d)", status);
	(void)ktstr_level_end(&s->levels[0]);
	(void)fflush(NULL);
	_exit(TEST_EXIT_FAIL);
}

static int run(const struct ktstr_test *test)
{
	struct ktstr_session *s = ktstr_session_new(test);

	if (!s)
		return TEST_EXIT_USAGE;
	if (on_exit(on_early_exit, s) != 0) {
		fprintf(stderr, "ktstr: no memory for the test\n");
		return TEST_EXIT_FAIL;
	}
	/* What was printed before a panic is what tells how it came. */
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	struct ktstr *t = &s->levels[0];
	ktstr_level_begin(t, test->name);
	if (test->vm_only && !ktstr_session_is_vm())
		ktstr_skip(t, "it would harm this machine: it runs in a virtual machine only");
	else
		test->run(t);
	ktstr_level_leave_if_forked(t, s->pid);
	enum outcome outcome = ktstr_level_end(t);
	s->is_over = true;
	return test_exit_of(outcome);
}

int ktstr_main(int argc, char **argv, const struct ktstr_test *tests)
{
	const char *program = argc > 0 ? argv[0] : "test";

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		usage(stdout, program);
		return TEST_EXIT_PASS;
	}
	if (!ktstr_declaration_check(tests, stderr))
		return TEST_EXIT_USAGE;
	if (argc == 2 && strcmp(argv[1], "--ktstr-list") == 0)
		return list(tests);
	if (argc != 3 || strcmp(argv[1], "--ktstr-run") != 0) {
		usage(stderr, program);
		return TEST_EXIT_USAGE;
	}
	const struct ktstr_test *test = ktstr_declaration_find(tests, argv[2]);
	if (!test) {
		fprintf(stderr, "ktstr: there is no test '%s' in %s; --ktstr-list prints all\n",
			argv[2], program);
		return TEST_EXIT_USAGE;
	}
	return run(test);
}
