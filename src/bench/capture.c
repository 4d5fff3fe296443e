/* See capture.h. */
#include "bench/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

enum { STDERR_TAIL = 400, READ_SIZE = 4096 };

void capture_fini(struct capture *c)
{
	buf_fini(&c->out);
}

/* Reads what is there: 1, 0 at the end, -errno. */
static int read_some(const struct capture_config *config, int fd, pid_t pid, struct capture *c)
{
	ssize_t n = read(fd, buf_reserve(&c->out, READ_SIZE), READ_SIZE);

	if (n <= 0)
		return n < 0 ? -errno : 0;
	c->out.len += (size_t)n;
	if (config->on_text)
		config->on_text(config->ctx, pid, buf_str(&c->out));
	return 1;
}

static int on_signal(int signal_fd, struct capture *c, struct error *err)
{
	struct signalfd_siginfo info;

	if (fd_read_exact(signal_fd, &info, sizeof(info)) < 0)
		return error_set(err, EIO, "signalfd");
	c->signal = (int)info.ssi_signo;
	return error_set(err, EINTR, "'%s'", sigabbrev_np(c->signal));
}

/* Until there is something to do, or nothing left to wait for: as poll, in whole milliseconds. */
static int poll_until(struct pollfd *fds, nfds_t n, uint64_t deadline_ns)
{
	int res;

	do {
		uint64_t now_ns = clock_now_ns();
		uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
		res = poll(fds, n, (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS));
	} while (res < 0 && errno == EINTR);
	return res < 0 ? -errno : res;
}

/* Until the end of its output. */
static int watch(const struct capture_config *config, int fd, pid_t pid, struct capture *c,
		 struct error *err)
{
	uint64_t deadline_ns = clock_now_ns() + config->timeout_ns;
	int res = 1;

	while (res > 0) {
		struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
					{ .fd = config->signal_fd, .events = POLLIN } };

		res = poll_until(fds, ARRAY_SIZE(fds), deadline_ns);
		if (res == 0)
			return error_set_text(err, -ETIMEDOUT, "'%s' is still running after %u s",
					      config->spawn.argv[0],
					      (unsigned)(config->timeout_ns / NS_PER_S));
		if (res > 0 && fds[1].revents)
			return on_signal(config->signal_fd, c, err);
		if (res > 0)
			res = read_some(config, fd, pid, c);
	}
	return res < 0 ? error_set(err, res, "output of '%s'", config->spawn.argv[0]) : 0;
}

/* The last line that the command wrote there, without its end. */
static void last_line(int fd, char ret[STDERR_TAIL])
{
	off_t len = lseek(fd, 0, SEEK_END);
	off_t off = len > STDERR_TAIL - 1 ? len - (STDERR_TAIL - 1) : 0;
	ssize_t n = len > 0 ? pread(fd, ret, STDERR_TAIL - 1, off) : 0;

	ret[n > 0 ? n : 0] = 0;
	while (n > 0 && ret[n - 1] == '\n')
		ret[--n] = 0;
	char *line = strrchr(ret, '\n');
	if (line)
		memmove(ret, line + 1, strlen(line + 1) + 1);
}

static int check_status(const struct capture_config *config, int status, int err_fd,
			struct error *err)
{
	char text[STDERR_TAIL];

	if (WIFEXITED(status) && WEXITSTATUS(status) == config->spawn.wanted_status)
		return 0;
	last_line(err_fd, text);
	return error_set_text(err, -ECHILD, "'%s' ended with %s %d%s%s", config->spawn.argv[0],
			      WIFEXITED(status) ? "status" : "signal",
			      WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
			      *text ? ": " : "", text);
}

static int run(const struct capture_config *config, const int pipe_fds[2], int err_fd,
	       struct capture *ret, struct error *err)
{
	uint64_t start_ns = clock_now_ns();
	struct rusage usage;
	int status;
	pid_t pid;

	int res = spawn_start_piped(&config->spawn, pipe_fds[1], err_fd, &pid, err);
	(void)fd_close(pipe_fds[1]); /* the command's alone: its end is the pipe's */
	if (res < 0)
		return res;
	res = watch(config, pipe_fds[0], pid, ret, err);
	if (res < 0)
		(void)kill(pid, SIGKILL); /* ours and not reaped: the id is its own */
	while (wait4(pid, &status, 0, &usage) < 0)
		if (errno != EINTR)
			return error_set(err, errno, "wait4");
	ret->wall_ms = (double)(clock_now_ns() - start_ns) / (double)NS_PER_MS;
	ret->cpu_ms = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
		      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
	return res < 0 ? res : check_status(config, status, err_fd, err);
}

int capture_run(const struct capture_config *config, struct capture *ret, struct error *err)
{
	CLEANUP(fd_closep) int err_fd = memfd_create("stderr", MFD_CLOEXEC);
	int pipe_fds[2];

	*ret = (struct capture){ 0 };
	if (err_fd < 0)
		return error_set(err, errno, "memfd");
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set(err, errno, "pipe");
	int res = run(config, pipe_fds, err_fd, ret, err);
	(void)fd_close(pipe_fds[0]);
	(void)buf_str(&ret->out);
	return res;
}
