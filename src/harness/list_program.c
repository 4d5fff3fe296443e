/*
 * Between us and the program stands a keeper, which leads the process group of all that the program starts:
 *
 *	we ---- socket ----> keeper ---- fork, exec ----> program ----> what it starts
 *
 * It sends the program's wait status through the socket; when the socket's other end is gone, so are we, and it kills
 * the group. We kill the group, keeper and all, when the program has ended or must.
 */
#include "harness/list_program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"

enum { READ_CHUNK = 64 * 1024, ERRORS_MAX = 4096, QUOTE_MAX = 300 };

struct listing {
	const struct list_program_config *config;
	pid_t pid;          /* the keeper's, and the group's */
	int keeper_fd;      /* our end of the socket */
	int out_fd, err_fd; /* non-blocking */
	struct buf out, errors;
	int status; /* the program's, once it ended */
};

/* In the program's process, before it is that; in the keeper's group. */
static NORETURN void become(const struct listing *l, int out_fd, int err_fd, pid_t parent)
{
	char *const argv[] = { (char *)(uintptr_t)l->config->path, (char[]){ "--ktstr-list" },
			       NULL };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(out_fd, STDOUT_FILENO) < 0 || dup2(err_fd, STDERR_FILENO) < 0)
		_exit(126);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGXFSZ, SIG_DFL);
	(void)execv(l->config->path, argv);
	(void)dprintf(STDERR_FILENO, "it cannot be executed: %m\n");
	_exit(126);
}

/* In the keeper's process: @fd is its end of the socket. */
static NORETURN void keep(const struct listing *l, int fd, int out_fd, int err_fd)
{
	pid_t self = getpid();
	int status = W_EXITCODE(126, 0);

	(void)close(l->keeper_fd); /* else our own copy would hide that the other is gone */
	if (setpgid(0, 0) < 0)
		_exit(126);
	pid_t pid = fork();
	if (pid == 0)
		become(l, out_fd, err_fd, self);
	int pid_fd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
				{ .fd = pid_fd, .events = POLLIN } };
	if (pid_fd < 0) {
		(void)dprintf(err_fd, "it cannot be started: %m\n");
		(void)send(fd, &status, sizeof(status), MSG_NOSIGNAL);
	}
	while (!fds[0].revents) {
		(void)poll(fds, ARRAY_SIZE(fds), -1);
		if (!fds[1].revents || waitpid(pid, &status, 0) != pid)
			continue;
		(void)send(fd, &status, sizeof(status), MSG_NOSIGNAL);
		fds[1].fd = -1;
		fds[1].revents = 0;
	}
	(void)kill(0, SIGKILL);
	_exit(126);
}

static int check_program(const char *path, struct error *err)
{
	struct stat st;

	if (access(path, X_OK) < 0)
		return error_set_usage_errno(err, errno, "cannot run '%s'", path);
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return error_set_usage(err, -EACCES, "cannot run '%s': it is no file", path);
	return 0;
}

static int start(struct listing *l, struct error *err)
{
	CLEANUP(fd_closep) int socket = -1;
	CLEANUP(fd_closep) int out = -1;
	CLEANUP(fd_closep) int errors = -1;
	int pair[2];

	if (check_program(l->config->path, err) < 0)
		return err->code;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(err, errno, "socketpair");
	l->keeper_fd = pair[0];
	socket = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return error_set(err, errno, "pipe");
	l->out_fd = pair[0];
	out = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return error_set(err, errno, "pipe");
	l->err_fd = pair[0];
	errors = pair[1];
	int res = fd_set_nonblock(l->out_fd, true);
	if (res == 0)
		res = fd_set_nonblock(l->err_fd, true);
	if (res < 0)
		return error_set(err, res, "pipe");
	l->pid = fork();
	if (l->pid == 0)
		keep(l, socket, out, errors);
	if (l->pid < 0)
		return error_set(err, errno, "cannot start '%s'", l->config->path);
	(void)setpgid(l->pid, l->pid); /* whoever is first: a kill of the group must find it */
	return 0;
}

/* All that is there. The descriptor is closed at its end. */
static void drain(int *fd, struct buf *to, size_t max)
{
	while (*fd >= 0 && to->len <= max) {
		ssize_t n = read(*fd, buf_reserve(to, READ_CHUNK), READ_CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			*fd = fd_close(*fd);
		else
			to->len += (size_t)n;
	}
}

static void drain_both(struct listing *l)
{
	drain(&l->out_fd, &l->out, l->config->output_max);
	drain(&l->err_fd, &l->errors, SIZE_MAX / 2);
	if (l->errors.len > ERRORS_MAX)
		buf_consume(&l->errors, l->errors.len - ERRORS_MAX);
}

/* A keeper that is gone without a word was killed, and the program with it. */
static void take_status(struct listing *l)
{
	if (recv(l->keeper_fd, &l->status, sizeof(l->status), MSG_DONTWAIT) != sizeof(l->status))
		l->status = SIGKILL;
}

/* Until it ended, with all that it wrote before. */
static enum list_program_end follow(struct listing *l)
{
	uint64_t deadline = clock_now_ns() + l->config->timeout_ns;

	for (;;) {
		struct pollfd fds[] = { { .fd = l->keeper_fd, .events = POLLIN },
					{ .fd = l->out_fd, .events = POLLIN },
					{ .fd = l->err_fd, .events = POLLIN } };
		uint64_t now = clock_now_ns();
		if (now >= deadline)
			return LIST_PROGRAM_HANG;
		(void)poll(fds, ARRAY_SIZE(fds), (int)((deadline - now) / NS_PER_MS + 1));
		drain_both(l);
		if (l->out.len > l->config->output_max)
			return LIST_PROGRAM_FLOOD;
		if (fds[0].revents) {
			take_status(l);
			return LIST_PROGRAM_OK;
		}
	}
}

static void end(struct listing *l)
{
	if (l->pid > 0) {
		(void)kill(-l->pid, SIGKILL);
		while (waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	fd_closep(&l->keeper_fd);
	fd_closep(&l->out_fd);
	fd_closep(&l->err_fd);
}

/* The last line that it wrote to its error stream, or "". */
static const char *last_words(struct listing *l)
{
	char *text = (char *)(uintptr_t)buf_str(&l->errors);
	size_t n = strlen(text);

	while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = 0;
	char *line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

static enum list_program_end died(struct listing *l, struct error *err)
{
	const char *words = last_words(l);

	if (WIFSIGNALED(l->status))
		(void)error_set_usage(err, -ECHILD, "'%s --ktstr-list' died by signal %d (SIG%s)",
				      l->config->path, WTERMSIG(l->status),
				      sigabbrev_np(WTERMSIG(l->status)));
	else
		(void)error_set_usage(err, -ECHILD, "'%s --ktstr-list' ended with status %d%s%.*s",
				      l->config->path, WEXITSTATUS(l->status), *words ? ": " : "",
				      QUOTE_MAX, words);
	return LIST_PROGRAM_DIED;
}

static enum list_program_end judge(struct listing *l, enum list_program_end how,
				   struct test_list *ret, struct error *err)
{
	const char *path = l->config->path;

	if (how == LIST_PROGRAM_HANG) {
		(void)error_set_usage(err, -ETIMEDOUT,
				      "'%s --ktstr-list' did not end within %llu s", path,
				      (unsigned long long)(l->config->timeout_ns / NS_PER_S));
		return how;
	}
	if (how == LIST_PROGRAM_FLOOD) {
		(void)error_set_usage(err, -EFBIG, "'%s --ktstr-list' prints more than %zu bytes",
				      path, l->config->output_max);
		return how;
	}
	if (!WIFEXITED(l->status) || WEXITSTATUS(l->status) != 0)
		return died(l, err);
	(void)buf_str(&l->out);
	if (test_list_parse((const char *)l->out.data, l->out.len, ret, err) == 0)
		return LIST_PROGRAM_OK;
	(void)error_prefix(err, "'%s --ktstr-list'", path);
	return LIST_PROGRAM_WRONG;
}

enum list_program_end list_program_run(const struct list_program_config *config,
				       struct test_list *ret, struct error *err)
{
	struct listing l = { .config = config, .keeper_fd = -1, .out_fd = -1, .err_fd = -1 };
	enum list_program_end how = LIST_PROGRAM_UNUSED;

	if (start(&l, err) == 0)
		how = follow(&l);
	end(&l);
	if (how != LIST_PROGRAM_UNUSED)
		how = judge(&l, how, ret, err);
	buf_fini(&l.out);
	buf_fini(&l.errors);
	return how;
}
