/* The command line and the environment of a test program. */
#include "ktstr.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/frame.h"
#include "abi/test_protocol.h"
#include "program.h"

static void tell_topology(struct ktstr *t)
{
	struct ktstr_topology got = ktstr_topology(t);

	KTSTR_CHECK(t, true, "holds");
	ktstr_metric(t, "nodes", got.nodes, "", KTSTR_NEITHER_IS_BETTER);
	ktstr_metric(t, "llcs", got.llcs, "", KTSTR_NEITHER_IS_BETTER);
	ktstr_metric(t, "cores", got.cores_per_llc, "", KTSTR_NEITHER_IS_BETTER);
	ktstr_metric(t, "threads", got.threads_per_core, "", KTSTR_NEITHER_IS_BETTER);
}

static void tell_inheritance(struct ktstr *t)
{
	int n_channels = 0;

	KTSTR_CHECK(t, getenv("KTSTR_CHANNEL_FD") == NULL, "its number is not passed on");
	for (int fd = 3; fd < 256; fd++) {
		int type = 0;
		socklen_t n = sizeof(type);
		if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_SEQPACKET)
			continue;
		n_channels++;
		KTSTR_CHECK(t, fcntl(fd, F_GETFD) & FD_CLOEXEC, "nor is descriptor %d", fd);
	}
	KTSTR_CHECK(t, n_channels > 0, "the channel was found");
}

static void must_not_run(struct ktstr *t UNUSED)
{
	abort();
}

static const struct ktstr_test declared[] = {
	{ .name = "topology", .run = tell_topology, .topology = "1,2,3,4" },
	{ .name = "plain", .run = tell_topology },
	{ .name = "inheritance", .run = tell_inheritance },
	{ .name = "dangerous", .run = must_not_run, .vm_only = true },
	{ 0 },
};
static const struct ktstr_test misdeclared[] = { { .name = "a b", .run = must_not_run }, { 0 } };

static void test_list_is_on_standard_output(void **state)
{
	struct program p = { .tests = declared };

	program_run(&p, "--ktstr-list", NULL);
	assert_int_equal(p.status, 0);
	assert_string_equal(p.out, "{\"ktstr_list\":1,\"n_tests\":4}\n"
				   "{\"name\":\"topology\",\"topology\":\"1,2,3,4\"}\n"
				   "{\"name\":\"plain\"}\n{\"name\":\"inheritance\"}\n"
				   "{\"name\":\"dangerous\",\"vm_only\":true}\n");
	assert_string_equal(p.err, "");
	assert_int_equal(json_array_size(p.records), 0);
	program_fini(&p);
}

static void test_list_that_cannot_be_written_is_an_error(void **state)
{
	int full_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct program p = { .tests = declared, .stdout_fd = full_fd };

	program_run(&p, "--ktstr-list", NULL);
	assert_int_equal(p.status, 1);
	assert_non_null(strstr(p.err, "cannot write the list"));
	program_fini(&p);
	close(full_fd);
}

static void test_wrong_arguments_are_refused(void **state)
{
	static const struct {
		const char *arg1, *arg2, *err;
	} cases[] = {
		{ NULL, NULL, "usage:" },
		{ "--ktstr-run", NULL, "usage:" },
		{ "--ktstr-list", "x", "usage:" },
		{ "topology", NULL, "usage:" },
		{ "--ktstr-run", "topolog", "no test 'topolog' in program" },
		{ "--ktstr-run", "", "no test '' in program" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct program p = { .tests = declared };
		program_run(&p, cases[i].arg1, cases[i].arg2);
		assert_int_equal(p.status, TEST_EXIT_USAGE);
		assert_non_null(strstr(p.err, cases[i].err));
		assert_string_equal(p.out, "");
		program_fini(&p);
	}
}

static void test_help_is_no_error(void **state)
{
	struct program p = { .tests = declared };

	program_run(&p, "--help", NULL);
	assert_int_equal(p.status, 0);
	assert_non_null(strstr(p.out, "--ktstr-run NAME"));
	assert_string_equal(p.err, "");
	program_fini(&p);
}

static void test_wrong_declaration_is_refused_by_list_and_run(void **state)
{
	static const char *const args[][2] = { { "--ktstr-list", NULL }, { "--ktstr-run", "a b" } };

	for (size_t i = 0; i < ARRAY_SIZE(args); i++) {
		struct program p = { .tests = misdeclared };
		program_run(&p, args[i][0], args[i][1]);
		assert_int_equal(p.status, TEST_EXIT_USAGE);
		assert_non_null(strstr(p.err, "test 'a b' is declared wrongly"));
		assert_string_equal(p.out, "");
		program_fini(&p);
	}
}

static void expect_topology(struct program *p, const char *test, const double wanted[4])
{
	static const char *const names[] = { "nodes", "llcs", "cores", "threads" };

	program_run(p, "--ktstr-run", test);
	assert_int_equal(p->status, 0);
	for (size_t i = 0; i < 4; i++) {
		json_t *m = program_record(p, 1 + i, FRAME_PAYLOAD_METRICS, names[i]);
		assert_true(json_number_value(json_object_get(m, "value")) == wanted[i]);
	}
	program_fini(p);
}

static void test_topology_is_the_vms_then_the_declared_one(void **state)
{
	struct program p = { .tests = declared };

	expect_topology(&p, "topology", (const double[]){ 1, 2, 3, 4 });
	p = (struct program){ .tests = declared, .topology = "2,4,6,1" };
	expect_topology(&p, "topology", (const double[]){ 2, 4, 6, 1 });
	p = (struct program){ .tests = declared };
	expect_topology(&p, "plain", (const double[]){ 1, 1, 1, 1 });
}

static void test_environment_that_makes_no_sense_is_refused(void **state)
{
	struct program p = { .tests = declared, .topology = "four" };

	program_run(&p, "--ktstr-run", "plain");
	assert_int_equal(p.status, TEST_EXIT_USAGE);
	assert_non_null(strstr(p.err, "KTSTR_TOPOLOGY='four'"));
	program_fini(&p);
	static const char *const channels[] = { "", "x", "1", "999", "-1" };
	for (size_t i = 0; i < ARRAY_SIZE(channels); i++) {
		p = (struct program){ .tests = declared, .channel = channels[i] };
		program_run(&p, "--ktstr-run", "plain");
		assert_int_equal(p.status, TEST_EXIT_USAGE);
		assert_non_null(strstr(p.err, "names no SOCK_SEQPACKET socket"));
		program_fini(&p);
	}
}

static void test_programs_of_the_test_do_not_inherit_the_channel(void **state)
{
	struct program p = { .tests = declared };

	program_run(&p, "--ktstr-run", "inheritance");
	if (p.status != 0)
		fail_msg("%s%s", p.out, p.err);
	program_fini(&p);
}

static void test_without_a_host_the_text_tells_all(void **state)
{
	struct program p = { .tests = declared, .no_channel = true };

	program_run(&p, "--ktstr-run", "plain");
	assert_int_equal(p.status, 0);
	assert_int_equal(json_array_size(p.records), 0);
	assert_non_null(strstr(p.out, "RUN  plain\n  metric nodes: 1"));
	assert_non_null(strstr(p.out, "\nPASS plain ("));
	program_fini(&p);
}

static void test_dangerous_test_is_skipped_outside_of_a_vm(void **state)
{
	struct program p = { .tests = declared };

	program_run(&p, "--ktstr-run", "dangerous");
	assert_int_equal(p.status, TEST_EXIT_SKIP);
	json_t *result = program_record(&p, 1, FRAME_TEST_RESULT, "dangerous");
	assert_string_equal(program_text(result, "outcome"), "SKIP");
	program_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_is_on_standard_output),
		cmocka_unit_test(test_list_that_cannot_be_written_is_an_error),
		cmocka_unit_test(test_wrong_arguments_are_refused),
		cmocka_unit_test(test_help_is_no_error),
		cmocka_unit_test(test_wrong_declaration_is_refused_by_list_and_run),
		cmocka_unit_test(test_topology_is_the_vms_then_the_declared_one),
		cmocka_unit_test(test_environment_that_makes_no_sense_is_refused),
		cmocka_unit_test(test_programs_of_the_test_do_not_inherit_the_channel),
		cmocka_unit_test(test_without_a_host_the_text_tells_all),
		cmocka_unit_test(test_dangerous_test_is_skipped_outside_of_a_vm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
