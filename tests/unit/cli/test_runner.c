/*
 * The runner against a made-up VM process: a child that plays frames over the socketpair, then ends, dies or is stuck.
 * The command's output goes to a pipe in place of standard output. Every test runs on both reactors.
 */
#include "cli/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"

enum { CHUNK = 60000, N_CHUNKS = 40 };

/* The made-up VM process's side. */
struct actor {
	int fd;
	pid_t runner;
	uint64_t sequence;
};

struct fixture {
	struct runner_config config;
	struct run_result result;
	struct vm_process process;
	int out[2]; /* the pipe that is standard output meanwhile */
	int saved_stdin, saved_stdout;
	sigset_t saved_mask;
	pid_t child;
};

static void say(struct actor *a, enum frame_type type, const void *payload, size_t n)
{
	uint8_t header[FRAME_HEADER_SIZE];

	if (!frame_encode_header_for((uint16_t)type, a->sequence++, payload, n, header) ||
	    fd_write_all(a->fd, header, sizeof(header)) < 0 || fd_write_all(a->fd, payload, n) < 0)
		_exit(99);
}

static void say_outcome(struct actor *a, enum outcome outcome, const char *why)
{
	struct {
		struct frame_outcome o;
		char text[100];
	} frame = { .o = { .outcome = outcome, .last_phase = PHASE_COMMAND } };

	memcpy(frame.text, why, strlen(why));
	say(a, FRAME_VM_OUTCOME, &frame, sizeof(frame.o) + strlen(why));
}

/* Reads frames until one of @type; false at the end. */
static bool hear(struct actor *a, uint16_t type)
{
	static uint8_t payload[FRAME_PAYLOAD_MAX];
	uint8_t bytes[FRAME_HEADER_SIZE];
	struct frame_header h;

	while (fd_read_exact(a->fd, bytes, sizeof(bytes)) == 0) {
		if (!frame_header_decode(bytes, &h) || fd_read_exact(a->fd, payload, h.length) < 0)
			_exit(98);
		if (h.type == type)
			return true;
	}
	return false;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	sigset_t set;

	assert_non_null(f);
	f->config = (struct runner_config){ .backend = *(const enum reactor_backend *)*state,
					    .deadline_ns = UINT64_MAX };
	run_result_init(&f->result);
	assert_int_equal(pipe2(f->out, O_CLOEXEC), 0);
	f->saved_stdout = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	f->saved_stdin = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	/* A signal of the actor may come before the runner listens: it waits, then. */
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGWINCH);
	(void)sigprocmask(SIG_BLOCK, &set, &f->saved_mask);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fd_closep(&f->out[0]);
	fd_closep(&f->out[1]);
	fd_closep(&f->saved_stdout);
	fd_closep(&f->saved_stdin);
	vm_process_fini(&f->process);
	run_result_fini(&f->result);
	(void)sigprocmask(SIG_SETMASK, &f->saved_mask, NULL);
	free(f);
	return 0;
}

/* Runs @script as the VM process under a runner; standard output is the pipe while it does. */
static void play(struct fixture *f, void (*script)(struct actor *))
{
	int pair[2];
	struct error err;
	pid_t runner = getpid();

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	(void)fflush(stdout);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		struct actor a = { .fd = pair[1], .runner = runner };
		(void)alarm(30); /* whatever goes wrong, no child stays */
		(void)close(pair[0]);
		fd_closep(&f->out[0]);
		fd_closep(&f->out[1]);
		script(&a);
		_exit(0);
	}
	(void)close(pair[1]);
	f->process = (struct vm_process){ .pid = f->child, .link_fd = pair[0] };
	(void)dup2(f->out[1], STDOUT_FILENO);
	fd_closep(&f->out[1]);
	int res = runner_run(&f->config, &f->process, &f->result, &err);
	(void)dup2(f->saved_stdout, STDOUT_FILENO);
	(void)dup2(f->saved_stdin, STDIN_FILENO);
	assert_int_equal(res, 0);
	assert_true(f->result.has_outcome || f->result.signal);
}

static int wait_for_child(struct fixture *f)
{
	int status;

	return f->process.pid == 0 ? 0 : waitpid(f->child, &status, 0) == f->child ? status : -1;
}

static void check_output(struct fixture *f, const char *text)
{
	char got[200] = "";
	ssize_t n = read(f->out[0], got, sizeof(got) - 1);

	assert_true(n >= 0);
	assert_string_equal(got, text);
}

static const char *why(struct fixture *f)
{
	return buf_str(&f->result.why);
}

/* Verdicts */

static void script_run(struct actor *a)
{
	static const uint8_t result[1000];

	say(a, FRAME_VM_PHASE, &(struct frame_phase){ .phase = PHASE_VCPU_RUN, .time_ns = 5 }, 16);
	say(a, FRAME_PHASE, &(struct frame_phase){ .phase = PHASE_INIT, .time_ns = 7 }, 16);
	say(a, FRAME_STDOUT, "out\n", 4);
	say(a, FRAME_TEST_RESULT, result, sizeof(result));
	say(a, FRAME_KERNEL_LOG, "[    0.1] log\n", 14);
	say(a, FRAME_VM_SERIAL, "serial\n", 7);
	say(a, FRAME_EXIT, &(struct frame_exit){ EXIT_STATUS, 7 }, sizeof(struct frame_exit));
	say(a, FRAME_VM_NOTE, "a note", 6);
	say(a, FRAME_VM_STATS, "a 1\n", 4);
	say(a, 200, "of a newer version", 18);
	say_outcome(a, OUTCOME_FAIL, "text");
}

static void test_verdict_and_all_streams_arrive(void **state)
{
	struct fixture *f = *state;
	struct run_result *r = &f->result;

	play(f, script_run);
	assert_int_equal(r->outcome.outcome, OUTCOME_FAIL);
	assert_int_equal(r->outcome.last_phase, PHASE_COMMAND);
	assert_string_equal(why(f), "text");
	check_output(f, "out\n");
	assert_int_equal(r->result_bytes, 1000);
	assert_int_equal(r->n_phases, 2);
	/* The guest's clock is moved to ours, by when its frame came. */
	assert_true(r->phases[1].is_guest && r->phases[1].time_ns > NS_PER_MS);
	assert_int_equal(r->n_notes, 1);
	assert_string_equal(buf_str(&r->stats), "a 1\n");
	CLEANUP(freep) char *log = sink_tail(&r->dmesg);
	assert_string_equal(log, "[    0.1] log\n");
	assert_int_equal(wait_for_child(f), 0);
}

/* The tests of the guest */

#define RESULT_OF(name, rest)                                                                      \
	"{\"version\":1,\"depth\":0,\"name\":\"" name                                              \
	"\",\"outcome\":\"FAIL\",\"message\":\"" rest "\",\"duration_ms\":1}"

static void script_tests(struct actor *a)
{
	static const char start[] = "{\"version\":1,\"depth\":0,\"name\":\"a\"}";
	static const char result[] = RESULT_OF("a", "why");

	say(a, FRAME_SCENARIO_START, start, sizeof(start) - 1);
	say(a, FRAME_TEST_RESULT, result, sizeof(result) - 1);
	say(a, FRAME_SCENARIO_START, "damaged", 7);
	say_outcome(a, OUTCOME_PASS, "");
}

static void test_results_of_tests_are_kept(void **state)
{
	struct fixture *f = *state;

	play(f, script_tests);
	const struct test_result *t = test_results_next(&f->result.tests, NULL);
	assert_non_null(t);
	assert_string_equal(t->name, "a");
	assert_true(t->has_outcome);
	assert_int_equal(t->outcome, OUTCOME_FAIL);
	assert_string_equal(t->message, "why");
	assert_int_equal(f->result.tests.n_ignored, 1);
}

static void say_com2(struct actor *a, const char *text)
{
	say(a, FRAME_VM_COM2, text, strlen(text));
}

static void script_tests_over_com2(struct actor *a)
{
	char spaces[5000]; /* longer than a line that is kept whole */

	memset(spaces, ' ', sizeof(spaces) - 1);
	spaces[sizeof(spaces) - 1] = '\0';
	say_com2(a, "before\r\n\n===KTSTR_TEST_RES");
	say_com2(a, "ULT_START===\n");
	say_com2(a, spaces);
	say_com2(a, RESULT_OF("a", "why") "\r\n===KTSTR_TEST_RESULT_END===\nafter\n");
	say_com2(
	    a, "\n===KTSTR_TEST_RESULT_START===\n" RESULT_OF("b", "") "\n===KTSTR_TEST_RESULT_END");
	say_com2(a, "===\n\nKTSTR_EXIT=1\n");
	say_outcome(a, OUTCOME_FAIL, "");
}

static void test_results_of_tests_come_over_com2(void **state)
{
	struct fixture *f = *state;

	play(f, script_tests_over_com2);
	check_output(f, "before\r\nafter\n");
	const struct test_result *t = test_results_next(&f->result.tests, NULL);
	assert_non_null(t);
	assert_string_equal(t->message, "why");
	t = test_results_next(&f->result.tests, t);
	assert_non_null(t);
	assert_string_equal(t->name, "b");
	assert_int_equal(f->result.tests.n_ignored, 0);
}

static void script_verdict_then_stuck(struct actor *a)
{
	say_outcome(a, OUTCOME_PASS, "");
	(void)hear(a, 0); /* until the runner has gone */
	(void)raise(SIGKILL);
}

static void test_verdict_is_not_kept_by_the_teardown(void **state)
{
	struct fixture *f = *state;

	play(f, script_verdict_then_stuck);
	assert_int_equal(f->result.outcome.outcome, OUTCOME_PASS);
	assert_string_equal(why(f), "");
	assert_int_equal(WTERMSIG(wait_for_child(f)), SIGKILL);
}

/* Dead and damaged VM processes */

static void script_die(struct actor *a)
{
	say(a, FRAME_STDOUT, "last words\n", 11);
	(void)raise(SIGKILL);
}

static void test_death_by_a_signal_is_infra_and_named(void **state)
{
	struct fixture *f = *state;

	play(f, script_die);
	assert_int_equal(f->result.outcome.outcome, OUTCOME_INFRA);
	assert_non_null(strstr(why(f), "signal 9 (KILL)"));
	check_output(f, "last words\n");
}

static void script_exit(struct actor *a UNUSED)
{
	_exit(3);
}

static void test_exit_without_a_verdict_is_infra_and_named(void **state)
{
	struct fixture *f = *state;

	play(f, script_exit);
	assert_int_equal(f->result.outcome.outcome, OUTCOME_INFRA);
	assert_non_null(strstr(why(f), "without a verdict (status 3)"));
}

static void script_noise(struct actor *a)
{
	if (fd_write_all(a->fd, "noise noise noise noise noise noise noise noise", 47) < 0)
		_exit(1);
	say(a, FRAME_PHASE, "short", 5);
	say(a, FRAME_VM_PHASE, "short", 5);
	say(a, FRAME_VM_OUTCOME, "short", 5);
	say(a, FRAME_CRASH, NULL, 0);
	say_outcome(a, OUTCOME_PASS, "");
}

static void test_damaged_and_short_frames_are_passed_over(void **state)
{
	struct fixture *f = *state;

	play(f, script_noise);
	assert_int_equal(f->result.outcome.outcome, OUTCOME_PASS);
	assert_int_equal(f->result.n_phases, 0);
	assert_int_equal(wait_for_child(f), 0);
}

static void script_many_crashes(struct actor *a)
{
	static const uint8_t text[10000];

	for (int i = 0; i < 100; i++)
		say(a, FRAME_CRASH, text, sizeof(text));
	for (int i = 0; i < 2 * RUN_RESULT_MAX_NOTES; i++)
		say(a, FRAME_VM_NOTE, "note", 4);
	for (int i = 0; i < 2 * RUN_RESULT_MAX_PHASES; i++)
		say(a, FRAME_PHASE, &(struct frame_phase){ .phase = PHASE_INIT }, 16);
	say_outcome(a, OUTCOME_PASS, "");
}

static void test_what_a_guest_repeats_is_kept_to_a_bound(void **state)
{
	struct fixture *f = *state;

	play(f, script_many_crashes);
	assert_in_range(f->result.crash.len, 10000, 100000);
	assert_int_equal(f->result.n_notes, RUN_RESULT_MAX_NOTES);
	assert_int_equal(f->result.n_phases, RUN_RESULT_MAX_PHASES);
	assert_int_equal(wait_for_child(f), 0);
}

static void script_stuck(struct actor *a UNUSED)
{
	for (;;)
		(void)pause();
}

static void test_overdue_vm_process_is_killed_and_noted(void **state)
{
	struct fixture *f = *state;
	uint64_t begin = clock_now_ns();

	f->config.deadline_ns = begin - 9900 * NS_PER_MS; /* 10 s of grace: 100 ms are left */
	play(f, script_stuck);
	assert_in_range(clock_now_ns() - begin, 90 * NS_PER_MS, 5 * NS_PER_S);
	assert_int_equal(f->result.outcome.outcome, OUTCOME_INFRA);
	assert_int_equal(f->result.n_notes, 1);
	assert_non_null(strstr(f->result.notes[0], "did not end in time"));
}

/* Output */

static void script_flood(struct actor *a)
{
	static uint8_t chunk[CHUNK];

	for (int i = 0; i < N_CHUNKS; i++) {
		memset(chunk, i, sizeof(chunk));
		say(a, FRAME_STDOUT, chunk, sizeof(chunk));
		(void)kill(a->runner, SIGWINCH); /* a resize is no reason to stop writing */
	}
	say_outcome(a, OUTCOME_PASS, "");
}

/* A child that reads all, slowly; its status tells whether it was right. */
static pid_t slow_reader(struct fixture *f)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	uint8_t bytes[10000];
	size_t at = 0;
	ssize_t n;
	(void)alarm(30);
	fd_closep(&f->out[1]);
	while ((n = read(f->out[0], bytes, sizeof(bytes))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (bytes[i] != at++ / CHUNK)
				_exit(1);
		usleep(500);
	}
	_exit(at == (size_t)CHUNK * N_CHUNKS ? 0 : 2);
}

static void test_slow_reader_gets_every_byte_through_resizes(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t reader = slow_reader(f);

	play(f, script_flood);
	assert_int_equal(f->result.outcome.outcome, OUTCOME_PASS);
	assert_int_equal(f->result.signal, 0);
	assert_int_equal(waitpid(reader, &status, 0), reader);
	assert_int_equal(status, 0);
	assert_int_equal(wait_for_child(f), 0);
}

static void script_output_until_stopped(struct actor *a)
{
	say(a, FRAME_STDOUT, "to nobody", 9);
	if (!hear(a, FRAME_VM_STOP))
		_exit(1);
	say_outcome(a, OUTCOME_INFRA, "interrupted");
}

static void test_reader_that_went_stops_the_vm_as_sigpipe(void **state)
{
	struct fixture *f = *state;

	fd_closep(&f->out[0]);
	play(f, script_output_until_stopped);
	assert_int_equal(f->result.signal, SIGPIPE);
	assert_int_equal(wait_for_child(f), 0);
}

/* Signals */

static void script_interrupt(struct actor *a)
{
	(void)kill(a->runner, SIGINT);
	if (!hear(a, FRAME_VM_STOP))
		_exit(1);
	say(a, FRAME_STDOUT, "too late\n", 9);
	say_outcome(a, OUTCOME_INFRA, "interrupted");
}

static void test_first_signal_asks_the_vm_to_stop(void **state)
{
	struct fixture *f = *state;

	play(f, script_interrupt);
	assert_int_equal(f->result.signal, SIGINT);
	assert_string_equal(why(f), "interrupted");
	check_output(f, "");
	assert_int_equal(wait_for_child(f), 0);
}

static void script_interrupt_twice_and_ignore(struct actor *a)
{
	(void)kill(a->runner, SIGINT);
	if (!hear(a, FRAME_VM_STOP))
		_exit(1);
	(void)kill(a->runner, SIGTERM);
	script_stuck(a);
}

static void test_second_signal_kills(void **state)
{
	struct fixture *f = *state;
	uint64_t begin = clock_now_ns();

	play(f, script_interrupt_twice_and_ignore);
	assert_true(clock_now_ns() - begin < 1500 * NS_PER_MS); /* the grace is 2 s */
	assert_int_equal(f->result.signal, SIGTERM);
	assert_non_null(strstr(why(f), "signal 9"));
}

static void script_interrupt_and_ignore(struct actor *a)
{
	(void)kill(a->runner, SIGINT);
	script_stuck(a);
}

static void test_stuck_vm_process_is_killed_after_the_grace(void **state)
{
	struct fixture *f = *state;
	uint64_t begin = clock_now_ns();

	play(f, script_interrupt_and_ignore);
	assert_in_range(clock_now_ns() - begin, 1900 * NS_PER_MS, 10 * NS_PER_S);
	assert_int_equal(f->result.signal, SIGINT);
}

static void script_flood_and_interrupt(struct actor *a)
{
	static uint8_t chunk[CHUNK];

	for (int i = 0; i < N_CHUNKS; i++) {
		say(a, FRAME_STDOUT, chunk, sizeof(chunk));
		if (i == 2)
			(void)kill(a->runner, SIGINT);
	}
	if (!hear(a, FRAME_VM_STOP))
		_exit(1);
	say_outcome(a, OUTCOME_INFRA, "interrupted");
}

static void test_signal_ends_a_write_to_a_stuck_reader(void **state)
{
	struct fixture *f = *state;

	play(f, script_flood_and_interrupt); /* nobody reads the pipe */
	assert_int_equal(f->result.signal, SIGINT);
	assert_int_equal(wait_for_child(f), 0);
}

/* Input */

static void script_read_input(struct actor *a)
{
	static uint8_t payload[FRAME_PAYLOAD_MAX];
	uint8_t bytes[FRAME_HEADER_SIZE];
	struct frame_header h = { .length = 1 };
	uint32_t total = 0;

	while (h.length) {
		if (fd_read_exact(a->fd, bytes, sizeof(bytes)) < 0 ||
		    !frame_header_decode(bytes, &h) || h.type != FRAME_STDIN ||
		    fd_read_exact(a->fd, payload, h.length) < 0)
			_exit(1);
		for (uint32_t i = 0; i < h.length; i++, total++)
			if (payload[i] != (uint8_t)total)
				_exit(2);
	}
	say(a, FRAME_STDOUT, &total, sizeof(total));
	say_outcome(a, OUTCOME_PASS, "");
}

static void give_input(uint32_t n)
{
	CLEANUP(fd_closep) int fd = memfd_create("input", MFD_CLOEXEC);

	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(write(fd, &(uint8_t){ (uint8_t)i }, 1), 1);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_true(dup2(fd, STDIN_FILENO) == STDIN_FILENO);
}

static void check_input_is_forwarded(struct fixture *f, uint32_t n)
{
	uint32_t total;

	f->config.forward_stdin = true;
	play(f, script_read_input);
	assert_int_equal(f->result.outcome.outcome, OUTCOME_PASS);
	assert_int_equal(read(f->out[0], &total, sizeof(total)), sizeof(total));
	assert_int_equal(total, n);
	assert_int_equal(wait_for_child(f), 0);
}

static void test_input_of_a_file_arrives_with_its_end(void **state)
{
	give_input(700000); /* more than the link queues */
	check_input_is_forwarded(*state, 700000);
}

static void test_input_of_nothing_is_an_end(void **state)
{
	CLEANUP(fd_closep) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(dup2(null, STDIN_FILENO), STDIN_FILENO);
	check_input_is_forwarded(*state, 0);
}

static void script_verdict_without_reading(struct actor *a)
{
	usleep(50000); /* the runner's queue is full by now */
	say(a, FRAME_STDOUT, "heard\n", 6);
	say_outcome(a, OUTCOME_PASS, "");
}

static void test_verdict_of_a_process_that_read_nothing_is_heard(void **state)
{
	struct fixture *f = *state;

	give_input(700000);
	f->config.forward_stdin = true;
	play(f, script_verdict_without_reading);
	assert_int_equal(f->result.outcome.outcome, OUTCOME_PASS);
	check_output(f, "heard\n");
	assert_int_equal(wait_for_child(f), 0);
}

/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): the name of a function */
#define ON(backend, test) \
	{ #test " on " #backend, test, setup, teardown, &backend }
#define ON_BOTH(test) ON(uring, test), ON(epoll, test)
/* NOLINTEND(bugprone-macro-parentheses) */
/* clang-format on */

int main(void)
{
	static enum reactor_backend uring = REACTOR_AUTO, epoll = REACTOR_EPOLL;
	const struct CMUnitTest tests[] = {
		ON_BOTH(test_verdict_and_all_streams_arrive),
		ON_BOTH(test_results_of_tests_are_kept),
		ON_BOTH(test_results_of_tests_come_over_com2),
		ON_BOTH(test_verdict_is_not_kept_by_the_teardown),
		ON_BOTH(test_death_by_a_signal_is_infra_and_named),
		ON_BOTH(test_exit_without_a_verdict_is_infra_and_named),
		ON_BOTH(test_damaged_and_short_frames_are_passed_over),
		ON_BOTH(test_what_a_guest_repeats_is_kept_to_a_bound),
		ON_BOTH(test_overdue_vm_process_is_killed_and_noted),
		ON_BOTH(test_slow_reader_gets_every_byte_through_resizes),
		ON_BOTH(test_reader_that_went_stops_the_vm_as_sigpipe),
		ON_BOTH(test_first_signal_asks_the_vm_to_stop),
		ON_BOTH(test_second_signal_kills),
		ON(epoll, test_stuck_vm_process_is_killed_after_the_grace),
		ON_BOTH(test_signal_ends_a_write_to_a_stuck_reader),
		ON_BOTH(test_input_of_a_file_arrives_with_its_end),
		ON_BOTH(test_input_of_nothing_is_an_end),
		ON_BOTH(test_verdict_of_a_process_that_read_nothing_is_heard),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
