/*
 * PID 1's loop around real programs: it runs in a process of its own (a subreaper, as PID 1 is),
 * the test is the host at the other end of port 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host.h"
#include "supervise.h"

enum {
	LIMIT_MS = 20000, /* of any one test, on a loaded machine */
};

struct run {
	struct host host;
	pid_t pid;
	char com2_path[40]; /* a file in COM2's place */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What main does after the ports are open. */
static NORETURN void init_process(int port_fd, const struct config *config, const char *com2_path)
{
	const struct supervisor_fds fds = { .kmsg_fd = -1, .crash_fd = -1, .relay_port_fd = -1 };
	const struct frame_exit not_started = { .kind = EXIT_INIT };
	struct command command = COMMAND_INIT;
	struct supervisor s;
	struct outlet outlet;
	struct fault f;

	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)fcntl(port_fd, F_SETFL, O_NONBLOCK);
	outlet_init(&outlet, port_fd, com2_path);
	if (supervisor_init(&s, &outlet, &fds, &not_started) < 0)
		_exit(1);
	if (command_start(config, &command, &s.exit, &f) == 0)
		supervisor_watch(&s, &command, config->exec);
	else
		outlet_say(&outlet, "%s", f.text);
	supervisor_run(&s);
	/* Whatever child ended meanwhile has been reaped: none is left as a zombie. */
	bool has_zombie = waitpid(-1, NULL, WNOHANG) > 0;
	supervisor_fini(&s);
	outlet_fini(&outlet);
	_exit(has_zombie ? 2 : 0);
}

static void start(struct run *r, const struct config *config)
{
	int pair[2];

	*r = (struct run){ .com2_path = "/tmp/ktstr-test-com2-XXXXXX" };
	int fd = mkstemp(r->com2_path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_init(&r->host, pair[1]);
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0) {
		close(pair[1]);
		init_process(pair[0], config, r->com2_path);
	}
	close(pair[0]);
}

static void start_argv(struct run *r, char **argv, bool feed_stdin)
{
	char *none[] = { NULL };
	const struct config config = {
		.exec = argv[0],
		.argv = argv,
		.envp = none,
		.modules = none,
		.feed_stdin = feed_stdin,
	};

	start(r, &config);
}

static void start_shell(struct run *r, const char *script, bool feed_stdin)
{
	char *text = strdup(script);
	char *argv[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" }, text, NULL };

	start_argv(r, argv, feed_stdin);
	free(text);
}

/* Plays the host until @is_done or the end of the stream. */
static void play(struct run *r, bool (*is_done)(const struct host *))
{
	int64_t limit_ms = now_ms() + LIMIT_MS;

	for (;;) {
		struct pollfd p = { .fd = r->host.fd, .events = POLLIN };
		assert_true(now_ms() < limit_ms);
		if (poll(&p, 1, 1000) > 0 && !host_pump(&r->host))
			return;
		if (is_done != NULL && is_done(&r->host))
			return;
	}
}

/* Waits for PID 1's own end, which must be a clean one. */
static void finish(struct run *r)
{
	int status = -1;

	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	host_fini(&r->host);
	(void)unlink(r->com2_path);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void run_shell(struct run *r, const char *script)
{
	start_shell(r, script, false);
	play(r, NULL);
}

static void assert_exit(const struct run *r, enum frame_exit_kind kind, int value)
{
	assert_true(r->host.has_exit);
	assert_int_equal(r->host.last_type, FRAME_EXIT);
	assert_int_equal(r->host.exit.kind, kind);
	assert_int_equal(r->host.exit.value, value);
}

static void test_run_program_returns_output_and_status(void **state)
{
	struct run r;

	(void)state;
	run_shell(&r, "echo out; echo err >&2; exit 7");
	assert_exit(&r, EXIT_STATUS, 7);
	assert_string_equal(host_text(&r.host, FRAME_STDOUT), "out\n");
	assert_string_equal(host_text(&r.host, FRAME_STDERR), "err\n");
	finish(&r);
}

static void test_run_killed_program_returns_signal(void **state)
{
	struct run r;

	(void)state;
	run_shell(&r, "kill -USR1 $$");
	assert_exit(&r, EXIT_SIGNAL, SIGUSR1);
	assert_int_equal(r.host.n_frames[FRAME_CRASH], 0); /* somebody's kill is no crash */
	finish(&r);
}

static void test_run_crash_without_core_is_told_by_signal(void **state)
{
	struct run r;

	(void)state;
	run_shell(&r, "echo words >&2; ulimit -c 0; kill -SEGV $$");
	assert_exit(&r, EXIT_SIGNAL, SIGSEGV);
	assert_non_null(strstr(host_text(&r.host, FRAME_CRASH), "/bin/sh["));
	assert_non_null(strstr(host_text(&r.host, FRAME_CRASH), "SIGSEGV"));
	assert_string_equal(host_text(&r.host, FRAME_STDERR), "words\n");
	finish(&r);
}

static void test_run_missing_program_is_not_found(void **state)
{
	char *argv[] = { (char[]){ "/proc/none/program" }, NULL };
	struct run r;

	(void)state;
	start_argv(&r, argv, false);
	play(&r, NULL);
	assert_exit(&r, EXIT_NOT_FOUND, ENOENT);
	assert_non_null(strstr(host_text(&r.host, FRAME_STDERR), "/proc/none/program"));
	finish(&r);
}

static void test_run_folder_is_not_executable(void **state)
{
	char *argv[] = { (char[]){ "/tmp" }, NULL };
	struct run r;

	(void)state;
	start_argv(&r, argv, false);
	play(&r, NULL);
	assert_exit(&r, EXIT_NOT_EXEC, EACCES);
	finish(&r);
}

static void test_run_missing_folder_is_init_failure(void **state)
{
	char *none[] = { NULL };
	char *argv[] = { (char[]){ "/bin/true" }, NULL };
	const struct config config = {
		.exec = argv[0],
		.argv = argv,
		.envp = none,
		.modules = none,
		.cwd = (char[]){ "/proc/none" },
	};
	struct run r;

	(void)state;
	start(&r, &config);
	play(&r, NULL);
	assert_exit(&r, EXIT_INIT, ENOENT);
	assert_non_null(strstr(host_text(&r.host, FRAME_STDERR), "folder '/proc/none'"));
	finish(&r);
}

static void test_run_large_output_is_byte_exact(void **state)
{
	struct run r;
	size_t n = 1 << 20;

	(void)state;
	run_shell(&r, "seq 1 200000 | head -c 1048576");
	assert_exit(&r, EXIT_STATUS, 0);
	assert_int_equal(r.host.n_bytes[FRAME_STDOUT], n);
	const char *p = (const char *)r.host.bytes[FRAME_STDOUT];
	for (unsigned i = 1; p < (const char *)r.host.bytes[FRAME_STDOUT] + n - 8; i++) {
		char line[16];
		size_t len = (size_t)snprintf(line, sizeof(line), "%u\n", i);
		assert_memory_equal(p, line, len);
		p += len;
	}
	finish(&r);
}

static bool has_first_output(const struct host *h)
{
	return h->n_frames[FRAME_STDOUT] >= 1;
}

static void test_run_slow_host_gets_every_byte(void **state)
{
	struct run r;

	(void)state;
	/* The program ends at once with a full pipe; the host comes back later than any bound. */
	start_shell(&r, "head -c 400000 /dev/zero", false);
	play(&r, has_first_output);
	const struct timespec pause = { .tv_nsec = 900 * 1000 * 1000 };
	(void)nanosleep(&pause, NULL);
	play(&r, NULL);
	assert_exit(&r, EXIT_STATUS, 0);
	assert_int_equal(r.host.n_bytes[FRAME_STDOUT], 400000);
	finish(&r);
}

static void test_run_host_away_at_the_end_gets_exit(void **state)
{
	/* Some more than a socket takes, by less than what stops the reading: EXIT waits behind it. */
	static const char *const commands[] = { "head -c 190000 /dev/zero; exit 4",
						"head -c 230000 /dev/zero; exit 4",
						"head -c 270000 /dev/zero; exit 4" };
	struct run runs[ARRAY_SIZE(commands)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		start_shell(&runs[i], commands[i], false);
		/* What the socket takes whole is sent, and PID 1 gone a second later: nobody to answer. */
		runs[i].host.is_silent = true;
	}
	const struct timespec pause = { .tv_sec = 2, .tv_nsec = 500 * 1000 * 1000 };
	(void)nanosleep(&pause, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		play(&runs[i], NULL);
		assert_exit(&runs[i], EXIT_STATUS, 4);
		assert_int_equal(runs[i].host.n_bytes[FRAME_STDOUT],
				 strtoul(commands[i] + strlen("head -c "), NULL, 10));
		finish(&runs[i]);
	}
}

static void test_run_grandchild_holding_pipe_does_not_hang(void **state)
{
	struct run r;
	int64_t begin = now_ms();

	(void)state;
	run_shell(&r, "echo hi; sleep 30 & exit 3");
	assert_exit(&r, EXIT_STATUS, 3);
	assert_string_equal(host_text(&r.host, FRAME_STDOUT), "hi\n");
	assert_true(now_ms() - begin < 15000);
	finish(&r);
}

static void test_run_flooding_grandchild_does_not_hang(void **state)
{
	struct run r;

	(void)state;
	run_shell(&r, "timeout 25 yes & exit 3");
	assert_exit(&r, EXIT_STATUS, 3);
	finish(&r);
}

static void test_run_orphans_are_reaped(void **state)
{
	struct run r;

	(void)state;
	/* The orphan becomes PID 1's child and ends before the command; init_process looks for
	 * zombies. */
	run_shell(&r, "(sh -c 'exit 1' & sh -c 'exit 2' &) ; sleep 0.3; exit 0");
	assert_exit(&r, EXIT_STATUS, 0);
	finish(&r);
}

static void test_run_silent_host_is_left_after_a_second(void **state)
{
	struct run r;

	(void)state;
	start_shell(&r, "exit 5", false);
	r.host.is_silent = true;
	int64_t begin = now_ms();
	play(&r, NULL); /* until PID 1 closes */
	int64_t took = now_ms() - begin;
	assert_exit(&r, EXIT_STATUS, 5);
	assert_true(took >= 900 && took < 8000);
	finish(&r);
}

static bool has_output(const struct host *h)
{
	return h->n_bytes[FRAME_STDOUT] > 0;
}

static void test_shutdown_ends_program_by_sigterm(void **state)
{
	struct run r;

	(void)state;
	start_shell(&r, "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.1; done",
		    false);
	play(&r, has_output);
	host_send(&r.host, FRAME_SHUTDOWN, NULL, 0);
	play(&r, NULL);
	assert_exit(&r, EXIT_STATUS, 9);
	assert_string_equal(host_text(&r.host, FRAME_STDOUT), "up\nbye\n");
	finish(&r);
}

static void test_shutdown_stubborn_program_is_killed(void **state)
{
	struct run r;

	(void)state;
	start_shell(&r, "trap '' TERM; echo up; while :; do sleep 0.1; done", false);
	play(&r, has_output);
	int64_t begin = now_ms();
	host_send(&r.host, FRAME_SHUTDOWN, NULL, 0);
	play(&r, NULL);
	assert_exit(&r, EXIT_SIGNAL, SIGKILL);
	assert_true(now_ms() - begin >= 1900);
	finish(&r);
}

static void test_stdin_frames_reach_program_until_empty_frame(void **state)
{
	struct run r;

	(void)state;
	start_shell(&r, "cat; echo end", true);
	host_send(&r.host, FRAME_STDIN, "one ", 4);
	host_send(&r.host, FRAME_STDIN, "two\n", 4);
	host_send(&r.host, FRAME_STDIN, NULL, 0);
	play(&r, NULL);
	assert_exit(&r, EXIT_STATUS, 0);
	assert_string_equal(host_text(&r.host, FRAME_STDOUT), "one two\nend\n");
	finish(&r);
}

static void test_stdin_unread_does_not_keep_program(void **state)
{
	static char zeros[60000];
	struct run r;

	(void)state;
	start_shell(&r, "sleep 0.3; exit 2", true);
	for (int i = 0; i < 3; i++)
		host_send(&r.host, FRAME_STDIN, zeros, sizeof(zeros));
	play(&r, NULL);
	assert_exit(&r, EXIT_STATUS, 2);
	finish(&r);
}

static void test_port_closed_midway_goes_on_over_com2(void **state)
{
	char text[512] = "";
	struct run r;

	(void)state;
	start_shell(&r, "echo up; sleep 0.4; echo later; echo oops >&2; exit 6", false);
	play(&r, has_output);
	close(r.host.fd);
	r.host.fd = -1;
	int status;
	assert_int_equal(waitpid(r.pid, &status, 0), r.pid);
	int fd = open(r.com2_path, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	host_fini(&r.host);
	(void)unlink(r.com2_path);
	assert_int_equal(status, 0);
	assert_non_null(strstr(text, "port 1"));
	assert_non_null(strstr(text, "later\n"));
	assert_non_null(strstr(text, "oops\n"));
	assert_non_null(strstr(text, "\nKTSTR_EXIT=6\n"));
}

static void test_environment_has_defaults_and_channel(void **state)
{
	struct run r;

	(void)state;
	run_shell(
	    &r,
	    "test -n \"$PATH\" && test \"$HOME\" = / && test -S /proc/self/fd/$KTSTR_CHANNEL_FD && "
	    "ls /proc/self/fd | wc -l");
	assert_exit(&r, EXIT_STATUS, 0);
	/* 0, 1, 2, the channel, and ls's own: nothing of PID 1 leaks. */
	assert_int_equal(strtol(host_text(&r.host, FRAME_STDOUT), NULL, 10), 5);
	finish(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run_program_returns_output_and_status),
		cmocka_unit_test(test_run_killed_program_returns_signal),
		cmocka_unit_test(test_run_crash_without_core_is_told_by_signal),
		cmocka_unit_test(test_run_missing_program_is_not_found),
		cmocka_unit_test(test_run_folder_is_not_executable),
		cmocka_unit_test(test_run_missing_folder_is_init_failure),
		cmocka_unit_test(test_run_large_output_is_byte_exact),
		cmocka_unit_test(test_run_slow_host_gets_every_byte),
		cmocka_unit_test(test_run_host_away_at_the_end_gets_exit),
		cmocka_unit_test(test_run_grandchild_holding_pipe_does_not_hang),
		cmocka_unit_test(test_run_flooding_grandchild_does_not_hang),
		cmocka_unit_test(test_run_orphans_are_reaped),
		cmocka_unit_test(test_run_silent_host_is_left_after_a_second),
		cmocka_unit_test(test_shutdown_ends_program_by_sigterm),
		cmocka_unit_test(test_shutdown_stubborn_program_is_killed),
		cmocka_unit_test(test_stdin_frames_reach_program_until_empty_frame),
		cmocka_unit_test(test_stdin_unread_does_not_keep_program),
		cmocka_unit_test(test_port_closed_midway_goes_on_over_com2),
		cmocka_unit_test(test_environment_has_defaults_and_channel),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	(void)close_range(3, UINT_MAX,
			  0); /* what the test runner left open would be counted as PID 1's */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
