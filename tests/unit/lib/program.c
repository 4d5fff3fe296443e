#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
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

static atomic_uint *n_receipts; /* shared with the program */

unsigned int program_n_receipts(void)
{
	return atomic_load(n_receipts);
}

static ssize_t receive(const struct program *p, int fd, char *bytes, size_t size)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { bytes, size };
	struct msghdr header = { .msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n > 0 && CMSG_FIRSTHDR(&header)) {
		int receipt_fd;
		memcpy(&receipt_fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(int));
		if (p->slow_host)
			usleep(20000);
		atomic_fetch_add(n_receipts, 1);
		close(receipt_fd);
	}
	return n;
}

/* Those that are there. */
static void read_records(struct program *p, int fd)
{
	static char message[4 + TEST_RECORD_MAX + 1];
	json_error_t why;
	ssize_t n;

	while ((n = receive(p, fd, message, sizeof(message))) > 0) {
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
}

/* As PID 1 does: takes records while the program runs, which waits for the receipts of some. */
static int attend(struct program *p, pid_t pid, int fd)
{
	struct pollfd event = { .fd = fd, .events = POLLIN };
	pid_t gone;
	int status;

	p->records = json_array();
	do {
		(void)poll(&event, 1, 10);
		gone = waitpid(pid, &status, WNOHANG);
		read_records(p, fd);
	} while (gone == 0);
	assert_int_equal(gone, pid);
	close(fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void program_run(struct program *p, const char *arg1, const char *arg2)
{
	char *argv[] = { "program", (char *)(uintptr_t)arg1, (char *)(uintptr_t)arg2, NULL };
	int pair[2];
	int fds[2] = { memfd_create("out", MFD_CLOEXEC), memfd_create("err", MFD_CLOEXEC) };

	assert_true(fds[0] >= 0 && fds[1] >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	n_receipts = mmap(NULL, sizeof(*n_receipts), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(n_receipts, MAP_FAILED);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const int child_fds[2] = { p->stdout_fd > 0 ? p->stdout_fd : fds[0], fds[1] };
		close(pair[0]);
		be_the_program(p, pair[1], child_fds, argv);
	}
	close(pair[1]);
	p->status = attend(p, pid, pair[0]);
	read_text(fds[0], p->out, sizeof(p->out));
	read_text(fds[1], p->err, sizeof(p->err));
	munmap(n_receipts, sizeof(*n_receipts));
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
