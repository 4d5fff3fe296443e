/* Exit statuses of verdicts and errors: DESIGN.md, sections 9 and 10, as a table. */
#include "cli/exit_code.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_outcomes_give_their_status(void **state UNUSED)
{
	static const struct {
		struct frame_outcome o;
		int status;
	} cases[] = {
		{ { .outcome = OUTCOME_PASS }, 0 },
		{ { .outcome = OUTCOME_PASS, .has_exit = 1, .exit = { EXIT_STATUS, 0 } }, 0 },
		{ { .outcome = OUTCOME_FAIL }, 1 },
		{ { .outcome = OUTCOME_FAIL, .has_exit = 1, .exit = { EXIT_STATUS, 7 } }, 7 },
		{ { .outcome = OUTCOME_FAIL, .has_exit = 1, .exit = { EXIT_STATUS, 255 } }, 255 },
		{ { .outcome = OUTCOME_FAIL, .has_exit = 1, .exit = { EXIT_SIGNAL, 11 } }, 139 },
		{ { .outcome = OUTCOME_FAIL, .has_exit = 1, .exit = { EXIT_NOT_FOUND, 2 } }, 127 },
		{ { .outcome = OUTCOME_FAIL, .has_exit = 1, .exit = { EXIT_NOT_EXEC, 13 } }, 126 },
		{ { .outcome = OUTCOME_FAIL, .has_exit = 1, .exit = { EXIT_INIT, 0 } }, 115 },
		{ { .outcome = OUTCOME_PANIC }, 111 },
		{ { .outcome = OUTCOME_PANIC, .has_exit = 1, .exit = { EXIT_STATUS, 0 } }, 111 },
		{ { .outcome = OUTCOME_STALL }, 112 },
		{ { .outcome = OUTCOME_TIMEOUT }, 113 },
		{ { .outcome = OUTCOME_BOOT }, 114 },
		{ { .outcome = OUTCOME_INFRA }, 115 },
		{ { .outcome = OUTCOME_INFRA, .is_usage = 1 }, 64 },
		{ { .outcome = OUTCOME_SKIP }, 116 },
		{ { .outcome = OUTCOME_INCONCLUSIVE }, 115 },
		{ { .outcome = 12345 }, 115 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(exit_code_of_outcome(&cases[i].o), cases[i].status);
}

/* What a guest writes into its exit frame stays a status of a process: 0 to 255, and failure stays failure. */
static void test_exits_out_of_range_stay_a_status(void **state UNUSED)
{
	static const int32_t values[] = { -1, 256, 511, INT32_MIN, INT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		for (uint32_t kind = EXIT_STATUS; kind <= EXIT_INIT + 1; kind++) {
			const struct frame_outcome o = { .outcome = OUTCOME_FAIL,
							 .has_exit = 1,
							 .exit = { kind, values[i] } };
			int status = exit_code_of_outcome(&o);
			if (status <= 0 || status > 255)
				fail_msg("kind %u value %d: %d", kind, values[i], status);
		}
}

static void test_errors_give_their_class(void **state UNUSED)
{
	assert_int_equal(exit_code_of_error(&(struct error){ -1, ERROR_USAGE, "" }), 64);
	assert_int_equal(exit_code_of_error(&(struct error){ -1, ERROR_SKIP, "" }), 116);
	assert_int_equal(exit_code_of_error(&(struct error){ -1, ERROR_INFRA, "" }), 115);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcomes_give_their_status),
		cmocka_unit_test(test_exits_out_of_range_stay_a_status),
		cmocka_unit_test(test_errors_give_their_class),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
