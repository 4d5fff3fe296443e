#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/guest_config.h"
#include "abi/test_protocol.h"

static NORETURN void be_the_program(const struct program *p, int channel_fd, const int fds[2],
				    char **argv)
{
	char number[16];

	(void)snprintf(number, sizeof(number), "%d", channel_fd);
	(void)unsetenv(GUEST_ENV_TOPOLOGY);
	(void)unsetenv(GUEST_ENV_CHANNEL);
	if (!p->no_channel)
		(void)setenv(GUEST_ENV_CHANNEL, p->channel ? p->channel : number, 1);
	if (p->topology)
		(void)setenv(GUEST_ENV_TOPOLOGY, p->topology, 1);
	fflush(NULL);
	if (dup2(fds[0], STDOUT_FILENO) < 0 || dup2(fds[1], STDERR_FILENO) < 0)
		_exit(99);
	int argc = 1;
	while (argv[argc])
		argc++;
	exit(ktstr_main(argc, argv, p->tests));
}

static void read_text(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
}

static void read_records(struct program *p, int fd)
{
	static char message[4 + TEST_RECORD_MAX + 1];
	json_error_t why;
	ssize_t n;

	p->records = json_array();
	while ((n = recv(fd, message, sizeof(message), MSG_DONTWAIT)) > 0) {
		assert_in_range(n, 5, 4 + TEST_RECORD_MAX);
		uint32_t type;
		memcpy(&type, message, 4);
		json_t *record =
		    json_loadb(message + 4, (size_t)n - 4, JSON_REJECT_DUPLICATES, &why);
		if (!json_is_object(record))
			fail_msg("%s in: %.*s", why.text, (int)n - 4, message + 4);
		assert_int_equal(json_integer_value(json_object_get(record, "version")), 1);
		json_object_set_new(record, "type", json_integer(type));
		json_array_append_new(p->records, record);
	}
	close(fd);
}

void program_run(struct program *p, const char *arg1, const char *arg2)
{
	char *argv[] = { "program", (char *)(uintptr_t)arg1, (char *)(uintptr_t)arg2, NULL };
	int pair[2], status;
	int fds[2] = { memfd_create("out", MFD_CLOEXEC), memfd_create("err", MFD_CLOEXEC) };

	assert_true(fds[0] >= 0 && fds[1] >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const int child_fds[2] = { p->stdout_fd > 0 ? p->stdout_fd : fds[0], fds[1] };
		close(pair[0]);
		be_the_program(p, pair[1], child_fds, argv);
	}
	close(pair[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	p->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	read_text(fds[0], p->out, sizeof(p->out));
	read_text(fds[1], p->err, sizeof(p->err));
	read_records(p, pair[0]);
}

void program_run_test(struct program *p, void (*run)(struct ktstr *t))
{
	const struct ktstr_test tests[] = { { .name = "t", .run = run }, { 0 } };

	p->tests = tests;
	program_run(p, "--ktstr-run", "t");
}

void program_fini(struct program *p)
{
	json_decref(p->records);
	*p = (struct program){ 0 };
}

json_t *program_record(const struct program *p, size_t i, int type, const char *name)
{
	json_t *record = json_array_get(p->records, i);

	if (!record || json_integer_value(json_object_get(record, "type")) != type ||
	    strcmp(program_text(record, "name"), name) != 0)
		fail_msg("record %zu is not of type %d and name %s: %s\nstdout: %s\nstderr: %s", i,
			 type, name, json_dumps(p->records, JSON_INDENT(1)), p->out, p->err);
	return record;
}

const char *program_text(json_t *record, const char *key)
{
	const char *text = json_string_value(json_object_get(record, key));

	assert_non_null(text);
	return text;
}
