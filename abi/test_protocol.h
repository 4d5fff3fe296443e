/*
 * What a test program (one that uses include/ktstr.h, or speaks like it) and the host agree on.
 *
 * Command line of a test program:
 *
 *	--ktstr-list       print its tests on standard output as lines of JSON, exit with 0
 *	--ktstr-run NAME   run one test and exit with its enum test_exit
 *
 * The list begins with a line that tells its version and how many lines follow, so that one that was cut off is seen:
 *
 *	{"ktstr_list":1,"n_tests":2}
 *	{"name":"pair/fair","summary":"...","topology":"1,1,2,1","memory_mib":256,"timeout_s":30,
 *	 "perf":true,"cpu_cap":2,"disk_mib":64,"disk_fs":"ext4","net":true,"vm_only":true}
 *
 * (each on one line). Only the name is always there: what a test does not declare is left out. Unknown keys are for a
 * newer host.
 *
 * While a test runs, it sends records over its channel (GUEST_ENV_CHANNEL in guest_config.h). Each is one JSON object
 * in UTF-8 with "version" and "depth": 0 is the test, 1 a subtest of it, and so on.
 *
 *	FRAME_SCENARIO_START    name                                  a test or subtest begins
 *	FRAME_PAYLOAD_METRICS   name, value, unit, better             a number that it measured
 *	FRAME_SCENARIO_END      name, outcome, message, duration_ms   a subtest ended
 *	FRAME_TEST_RESULT       name, outcome, message, duration_ms   the test ended (depth 0)
 *
 * outcome is PASS, FAIL, SKIP or INCONCLUSIVE; better is higher, lower or neither. A start ends everything of its
 * depth and below that is still open, without an outcome: such a test died. JSON, because it also travels as text over
 * COM2, and because tests may be written in other languages.
 */
#pragma once

#include "abi/frame.h"

enum {
	TEST_PROTOCOL_VERSION = 1,
	TEST_DEPTH_MAX = 8,  /* depths 0 .. 7 */
	TEST_NAME_MAX = 128, /* of tests, subtests, metrics, units; with NUL */
	TEST_RECORD_MAX =
	    64 * 1024 /* bytes of one record: what goes into a message of the channel */
};

/* Exit status of --ktstr-run; everything else is a test that died or left. */
enum test_exit {
	TEST_EXIT_PASS = 0,
	TEST_EXIT_FAIL = 1,
	TEST_EXIT_USAGE = 64, /* wrong arguments, an unknown test, a wrong declaration */
	TEST_EXIT_SKIP = 77,
	TEST_EXIT_INCONCLUSIVE = 78,
};

/* The exit status that goes with a test's own outcome. */
static inline enum test_exit test_exit_of(enum outcome outcome)
{
	switch ((int)outcome) {
	case OUTCOME_PASS:
		return TEST_EXIT_PASS;
	case OUTCOME_SKIP:
		return TEST_EXIT_SKIP;
	case OUTCOME_INCONCLUSIVE:
		return TEST_EXIT_INCONCLUSIVE;
	}
	return TEST_EXIT_FAIL;
}
