/*
 * The table of DESIGN.md, section 9, written out a second time: every outcome of a VM with every way in which a program
 * can end and everything that a test can have said.
 */
#include "harness/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "abi/test_protocol.h"

enum { NO_RECORD = -1, N_RECORDS = OUTCOME_INCONCLUSIVE + 1 };

struct ending {
	bool has_exit;
	struct frame_exit exit;
};

static const struct ending endings[] = {
	{ false, { 0, 0 } },
	{ true, { EXIT_STATUS, TEST_EXIT_PASS } },
	{ true, { EXIT_STATUS, TEST_EXIT_FAIL } },
	{ true, { EXIT_STATUS, 2 } },
	{ true, { EXIT_STATUS, TEST_EXIT_USAGE } },
	{ true, { EXIT_STATUS, TEST_EXIT_SKIP } },
	{ true, { EXIT_STATUS, TEST_EXIT_INCONCLUSIVE } },
	{ true, { EXIT_STATUS, 255 } },
	{ true, { EXIT_SIGNAL, 11 } },
	{ true, { EXIT_SIGNAL, 0 } }, /* value 0 is only as EXIT_STATUS a pass */
	{ true, { EXIT_NOT_FOUND, 2 } },
	{ true, { EXIT_NOT_EXEC, 0 } },
	{ true, { EXIT_INIT, 0 } },
	{ true, { 99, 0 } },
};

static struct verdict decide(enum outcome vm, const struct ending *e, int record, bool is_usage)
{
	const struct verdict_input in = {
		.vm = vm,
		.is_usage = is_usage,
		.has_exit = e->has_exit,
		.exit = e->exit,
		.has_record = record != NO_RECORD,
		.record = record == NO_RECORD ? OUTCOME_PASS : (enum outcome)record,
	};
	struct verdict v;

	verdict_decide(&in, &v);
	return v;
}

/* A program that came to its end: a pass needs a record and the status, and so does all else but FAIL. */
static enum outcome wanted_of_program(const struct ending *e, int record)
{
	static const int status[N_RECORDS] = {
		[OUTCOME_PASS] = 0, [OUTCOME_SKIP] = 77, [OUTCOME_INCONCLUSIVE] = 78
	};

	if (record == NO_RECORD || record == OUTCOME_FAIL || !e->has_exit ||
	    e->exit.kind != EXIT_STATUS || e->exit.value != status[record])
		return OUTCOME_FAIL;
	return (enum outcome)record;
}

static void test_every_combination_has_the_outcome_of_the_table(void **state UNUSED)
{
	for (int vm = OUTCOME_PASS; vm <= OUTCOME_INFRA; vm++)
		for (size_t e = 0; e < ARRAY_SIZE(endings); e++)
			for (int record = NO_RECORD; record < N_RECORDS; record++) {
				struct verdict v =
				    decide((enum outcome)vm, &endings[e], record, false);
				enum outcome wanted = (enum outcome)vm;
				if (vm == OUTCOME_PASS || vm == OUTCOME_FAIL)
					wanted = wanted_of_program(&endings[e], record);
				if (vm == OUTCOME_INCONCLUSIVE) /* no judge says so */
					wanted = OUTCOME_INFRA;
				if (v.outcome != wanted)
					fail_msg("VM %s, ending %zu, record %d: %s",
						 outcome_name((uint32_t)vm), e, record,
						 outcome_name(v.outcome));
				assert_int_equal(v.source == VERDICT_FROM_US, v.why[0] != 0);
			}
}

static void test_pass_needs_record_status_and_vm(void **state UNUSED)
{
	size_t n_passes = 0;

	for (int vm = OUTCOME_PASS; vm <= OUTCOME_INFRA + 1; vm++)
		for (size_t e = 0; e < ARRAY_SIZE(endings); e++)
			for (int record = NO_RECORD; record < N_RECORDS; record++)
				n_passes +=
				    decide((enum outcome)vm, &endings[e], record, vm & 1).outcome ==
				    OUTCOME_PASS;
	/* PASS said, status 0; the judge's PASS and FAIL both only tell that the program ended. */
	assert_int_equal(n_passes, 2);
}

static void test_declaration_that_no_host_can_give_fails(void **state UNUSED)
{
	struct verdict v = decide(OUTCOME_INFRA, &endings[0], NO_RECORD, true);

	assert_int_equal(v.outcome, OUTCOME_FAIL);
	assert_int_equal(v.source, VERDICT_FROM_VM);
}

static void test_reasons_name_what_happened(void **state UNUSED)
{
	static const struct {
		size_t ending;
		int record;
		const char *why;
	} cases[] = {
		{ 1, NO_RECORD, "the test gave no result: its program ended with status 0" },
		{ 4, NO_RECORD, "refused to run the test and ended with status 64" },
		{ 8, NO_RECORD, "no result: its program died by signal 11 (SIGSEGV)" },
		{ 8, OUTCOME_PASS, "the test said PASS, but its program died by signal 11" },
		{ 1, OUTCOME_SKIP, "the test said SKIP, but its program ended with status 0" },
		{ 10, NO_RECORD, "could not be executed in the guest: No such file" },
		{ 0, OUTCOME_PASS, "powered off and reported no exit status" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct verdict v =
		    decide(OUTCOME_PASS, &endings[cases[i].ending], cases[i].record, false);
		if (!strstr(v.why, cases[i].why))
			fail_msg("'%s' lacks '%s'", v.why, cases[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_combination_has_the_outcome_of_the_table),
		cmocka_unit_test(test_pass_needs_record_status_and_vm),
		cmocka_unit_test(test_declaration_that_no_host_can_give_fails),
		cmocka_unit_test(test_reasons_name_what_happened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
