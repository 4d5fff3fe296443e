#include "harness/list_program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
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
	pid_t pid;
	int pid_fd;
	int out_fd, err_fd; /* non-blocking */
	struct buf out, errors;
	int status;
};

/* In the child. The parent's death kills it; what it starts is in its process group. */
static NORETURN void become(const struct listing *l, int out_fd, int err_fd, pid_t parent)
{
	char *const argv[] = { (char *)(uintptr_t)l->config->path, (char[]){ "--ktstr-list" },
			       NULL };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || null < 0 || setpgid(0, 0) < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(out_fd, STDOUT_FILENO) < 0 || dup2(err_fd, STDERR_FILENO) < 0)
		_exit(126);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGXFSZ, SIG_DFL);
	(void)execv(l->config->path, argv);
	(void)dprintf(STDERR_FILENO, "it cannot be executed: %m\n");
	_exit(126);
}

static int start(struct listing *l, struct error *err)
{
	CLEANUP(fd_closep) int out = -1;
	CLEANUP(fd_closep) int errors = -1;
	int pair[2];
	pid_t parent = getpid();
	struct stat st;

	if (access(l->config->path, X_OK) < 0)
		return error_set_usage_errno(err, errno, "cannot run '%s'", l->config->path);
	if (stat(l->config->path, &st) == 0 && !S_ISREG(st.st_mode))
		return error_set_usage(err, -EACCES, "cannot run '%s': it is no file",
				       l->config->path);
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
		become(l, out, errors, parent);
	if (l->pid < 0)
		return error_set(err, errno, "cannot start '%s'", l->config->path);
	(void)setpgid(l->pid, l->pid); /* whoever is first: a kill of the group must find it */
	l->pid_fd = (int)syscall(SYS_pidfd_open, l->pid, 0);
	return l->pid_fd < 0 ? error_set(err, errno, "pidfd_open") : 0;
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

/* Until it ended, with all that it wrote before. */
static enum list_program_end follow(struct listing *l)
{
	uint64_t deadline = clock_now_ns() + l->config->timeout_ns;

	for (;;) {
		struct pollfd fds[] = { { .fd = l->pid_fd, .events = POLLIN },
					{ .fd = l->out_fd, .events = POLLIN },
					{ .fd = l->err_fd, .events = POLLIN } };
		uint64_t now = clock_now_ns();
		if (now >= deadline)
			return LIST_PROGRAM_HANG;
		(void)poll(fds, ARRAY_SIZE(fds), (int)((deadline - now) / NS_PER_MS + 1));
		drain_both(l);
		if (l->out.len > l->config->output_max)
			return LIST_PROGRAM_FLOOD;
		if (fds[0].revents)
			return LIST_PROGRAM_OK;
	}
}

static void end(struct listing *l)
{
	if (l->pid > 0) {
		(void)kill(-l->pid, SIGKILL);
		while (waitpid(l->pid, &l->status, 0) < 0 && errno == EINTR)
			;
	}
	fd_closep(&l->pid_fd);
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
	struct listing l = { .config = config, .pid_fd = -1, .out_fd = -1, .err_fd = -1 };
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
