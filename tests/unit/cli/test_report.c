/* The JSON document, whatever a guest or a path put into it, and where it may be written. */
#include "cli/document.h"
#include "cli/report.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"

struct fixture {
	char dir[64];
	char path[80];
	struct run_options options;
	struct run_result result;
	struct place place;
	struct report report;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	strcpy(f->dir, "/var/tmp/ktstr-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/result.json", f->dir);
	f->options =
	    (struct run_options){ .topology = topology_uniform(1, 2, 3, 1), .memory_mib = 64 };
	run_result_init(&f->result);
	f->place = PLACE_INIT;
	f->report = (struct report){ .options = &f->options,
				     .result = &f->result,
				     .place = &f->place,
				     .kernel = "/boot/vmlinux",
				     .release = "6.6.6",
				     .start_ns = NS_PER_S,
				     .end_ns = NS_PER_S + 5 * NS_PER_MS,
				     .exit_code = 7 };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	CLEANUP(freep) char *command = xasprintf("rm -rf '%s'", f->dir);

	run_result_fini(&f->result);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static json_t *write_and_load(struct fixture *f)
{
	json_error_t why;
	struct error err;

	if (report_json(&f->report, f->path, &err) < 0)
		fail_msg("%s", err.text);
	json_t *doc = json_load_file(f->path, 0, &why);
	if (!doc)
		fail_msg("%s", why.text);
	return doc;
}

static const char *text_of(json_t *doc, const char *key)
{
	const char *text = json_string_value(json_object_get(doc, key));

	assert_non_null(text);
	return text;
}

static void test_document_has_what_the_run_had(void **state)
{
	struct fixture *f = *state;

	f->result.outcome =
	    (struct frame_outcome){ .outcome = OUTCOME_FAIL, .last_phase = PHASE_COMMAND };
	f->result.result_bytes = UINT64_C(5) << 32;
	run_result_add_phase(&f->result, PHASE_VM_END, NS_PER_S + 3 * NS_PER_MS, false);
	run_result_add_phase(&f->result, PHASE_INIT, NS_PER_S + 2 * NS_PER_MS, true);
	run_result_add_phase(&f->result, PHASE_START, NS_PER_S, false);
	run_result_add_note(&f->result, "a note", 6);
	buf_append_str(&f->result.why, "because");
	buf_append_str(&f->result.stats, "exits.io 12\nbroken\nexits.mmio 3\n");
	json_t *doc = write_and_load(f);
	assert_string_equal(text_of(doc, "outcome"), "FAIL");
	assert_string_equal(text_of(doc, "why"), "because");
	assert_string_equal(text_of(doc, "topology"), "1,2,3,1");
	assert_string_equal(text_of(doc, "release"), "6.6.6");
	assert_int_equal(json_integer_value(json_object_get(doc, "exit_status")), 7);
	assert_int_equal(json_integer_value(json_object_get(doc, "result_bytes")), UINT64_C(5)
										       << 32);
	json_t *timeline = json_object_get(doc, "timeline");
	assert_int_equal(json_array_size(timeline), 3);
	assert_string_equal(text_of(json_array_get(timeline, 0), "side"), "host");
	assert_string_equal(text_of(json_array_get(timeline, 1), "side"), "guest");
	assert_true(json_real_value(json_object_get(json_array_get(timeline, 1), "ms")) == 2.0);
	json_t *stats = json_object_get(doc, "stats");
	assert_int_equal(json_object_size(stats), 2);
	assert_int_equal(json_integer_value(json_object_get(stats, "exits.io")), 12);
	json_decref(doc);
}

static void test_interrupted_run_says_so(void **state)
{
	struct fixture *f = *state;

	f->result.signal = 2;
	json_t *doc = write_and_load(f);
	assert_string_equal(text_of(doc, "outcome"), "INTERRUPTED");
	json_decref(doc);
}

static void test_text_that_is_not_utf8_is_kept_as_far_as_it_is_ascii(void **state)
{
	struct fixture *f = *state;
	static const char bytes[] = "a\xff\xc0z";
	static const char nul[] = { 'x', 0, 'y' };

	buf_append(&f->result.why, bytes, sizeof(bytes) - 1);
	buf_append(&f->result.crash, nul, sizeof(nul));
	run_result_add_note(&f->result, bytes, sizeof(bytes) - 1);
	f->report.kernel = "/tmp/k\xe9rnel";
	f->report.release = "6\x80";
	json_error_t why;
	struct error err;
	assert_int_equal(report_json(&f->report, f->path, &err), 0);
	json_t *doc = json_load_file(f->path, JSON_ALLOW_NUL, &why);
	assert_non_null(doc);
	assert_string_equal(text_of(doc, "why"), "a??z");
	assert_string_equal(text_of(doc, "kernel"), "/tmp/k?rnel");
	assert_string_equal(text_of(doc, "release"), "6?");
	assert_int_equal(json_string_length(json_object_get(doc, "crash")), 3);
	assert_string_equal(json_string_value(json_array_get(json_object_get(doc, "notes"), 0)),
			    "a??z");
	json_decref(doc);
	buf_fini(&f->result.why);
	buf_append_str(&f->result.why, "gr\xc3\xbcn");
	assert_int_equal(report_json(&f->report, f->path, &err), 0);
	doc = json_load_file(f->path, JSON_ALLOW_NUL, &why);
	assert_string_equal(text_of(doc, "why"), "gr\xc3\xbcn");
	json_decref(doc);
}

static void test_check_tells_bad_paths_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct error err;

	assert_int_equal(document_check_path(f->path, &err), 0);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(rmdir(f->dir), 0); /* so nothing was left in it */
	assert_int_equal(document_check_path(f->path, &err), -ENOENT);
	assert_int_equal(err.class, ERROR_USAGE);
	assert_non_null(strstr(err.text, f->path));
	assert_int_equal(mkdir(f->dir, 0755), 0);
	assert_int_equal(document_check_path(f->dir, &err), -EISDIR);
	assert_int_equal(document_check_path("", &err), -ENOENT);
	assert_int_equal(document_check_path("/dev/null", &err), 0);
	assert_int_equal(document_check_path("-", &err), 0);
}

static void test_device_and_pipe_are_written_in_place(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct stat st;
	int fds[2];

	assert_int_equal(report_json(&f->report, "/dev/null", &err), 0);
	assert_int_equal(stat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	CLEANUP(freep) char *path = xasprintf("/dev/fd/%d", fds[1]);
	assert_int_equal(report_json(&f->report, path, &err), 0);
	close(fds[1]);
	json_error_t why;
	json_t *doc = json_loadfd(fds[0], 0, &why);
	assert_non_null(doc);
	json_decref(doc);
	close(fds[0]);
}

static void test_losses_of_streams_become_notes(void **state)
{
	struct fixture *f = *state;
	struct error err;

	assert_int_equal(sink_open(&f->result.console, f->path, 10, &err), 0);
	sink_write(&f->result.console, "0123456789abc", 13);
	sink_write(&f->result.tty, "not kept in a file", 18);
	report_note_losses(&f->result);
	assert_int_equal(f->result.n_notes, 1);
	assert_non_null(strstr(f->result.notes[0], f->path));
	assert_non_null(strstr(f->result.notes[0], "3 bytes"));
}

static void add_test_frame(struct fixture *f, enum frame_type type, const char *text)
{
	test_results_add(&f->result.tests, (uint16_t)type, text, strlen(text));
}

static void test_tests_are_in_the_document(void **state)
{
	struct fixture *f = *state;

	add_test_frame(f, FRAME_SCENARIO_START, "{\"version\":1,\"depth\":0,\"name\":\"a\"}");
	add_test_frame(f, FRAME_TEST_RESULT,
		       "{\"version\":1,\"depth\":0,\"name\":\"a\",\"outcome\":\"INCONCLUSIVE\","
		       "\"message\":\"noise\",\"duration_ms\":7}");
	json_t *doc = write_and_load(f);
	json_t *tests = json_object_get(doc, "tests");
	assert_int_equal(json_array_size(tests), 1);
	assert_string_equal(text_of(json_array_get(tests, 0), "outcome"), "INCONCLUSIVE");
	assert_string_equal(text_of(json_array_get(tests, 0), "message"), "noise");
	json_decref(doc);
	report_note_losses(&f->result);
	assert_int_equal(f->result.n_notes, 0);
}

static void test_missing_and_unreadable_results_become_notes(void **state)
{
	struct fixture *f = *state;

	add_test_frame(f, FRAME_SCENARIO_START, "{\"version\":1,\"depth\":0,\"name\":\"a\"}");
	add_test_frame(f, FRAME_TEST_RESULT, "PASS");
	report_note_losses(&f->result);
	assert_int_equal(f->result.n_notes, 2);
	assert_non_null(strstr(f->result.notes[0], "1 records of tests ignored"));
	assert_non_null(strstr(f->result.notes[1], "test 'a' came to no result"));
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIR(test_document_has_what_the_run_had),
		WITH_DIR(test_interrupted_run_says_so),
		WITH_DIR(test_text_that_is_not_utf8_is_kept_as_far_as_it_is_ascii),
		WITH_DIR(test_check_tells_bad_paths_and_leaves_nothing),
		WITH_DIR(test_device_and_pipe_are_written_in_place),
		WITH_DIR(test_losses_of_streams_become_notes),
		WITH_DIR(test_tests_are_in_the_document),
		WITH_DIR(test_missing_and_unreadable_results_become_notes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
