#include "bench/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"

enum { MAX_ORPHANS = 8, MAX_ENV = 512, TIME_LIMIT_MS = 60000, STACK = 128 * 1024 };

struct orphan {
	pid_t pid;
	double cpu_ms; /* when the command ended */
};

int spawn_init(struct error *err)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1) < 0
		   ? error_set(err, errno, "PR_SET_CHILD_SUBREAPER")
		   : 0;
}

static double ms(uint64_t ns)
{
	return (double)ns / (double)NS_PER_MS;
}

static double rusage_cpu_ms(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1e3 +
	       (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e3;
}

/* --- starting --- */

/* @config's variables, then ours; getenv finds the first of a name. */
static void make_env(const struct spawn_config *config, char *ret[MAX_ENV])
{
	size_t n = 0;

	for (const char *const *e = config->env; e && *e && n < MAX_ENV - 1; e++)
		ret[n++] = (char *)(uintptr_t)*e;
	for (char **e = environ; *e && n < MAX_ENV - 1; e++)
		ret[n++] = *e;
	ret[n] = NULL;
}

struct child {
	const struct spawn_config *config;
	const int *fds; /* [i], if it is one, becomes the command's descriptor i; -1: /dev/null */
	char *const *env;
	pid_t parent;
	int code; /* errno, if the command could not be executed */
};

/*
 * Runs in our memory, on a stack of its own, while we stand still: system calls only. What it
 * becomes dies with us, also of our SIGKILL; that is what posix_spawn could not ask for.
 */
static int become(void *arg)
{
	struct child *c = arg;
	sigset_t none;

	(void)sigemptyset(&none); /* not the signals that we keep for ourselves */
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != c->parent)
		return 0; /* killed before the line above */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		int from = c->fds[fd] >= 0 ? c->fds[fd] : open("/dev/null", O_RDWR | O_CLOEXEC);
		if (from >= 0 && dup2(from, fd) >= 0)
			continue;
		c->code = errno;
		return 0;
	}
	(void)execvpe(c->config->argv[0], (char *const *)(uintptr_t)c->config->argv, c->env);
	c->code = errno;
	return 0;
}

/* @fds[i] as above; none is below 3. */
static int start(const struct spawn_config *config, const int fds[3], pid_t *ret, struct error *err)
{
	char *env[MAX_ENV];
	struct child c = { .config = config, .fds = fds, .env = env, .parent = getpid() };

	make_env(config, env);
	/* As posix_spawn does it: no copy of our page tables is made, and measured. */
	uint8_t *stack = xmap(STACK);
	pid_t pid = clone(become, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, &c);
	int code = pid < 0 ? errno : c.code;
	xunmap(stack, STACK);
	if (pid > 0 && code)
		(void)waitpid(pid, NULL, 0); /* it has ended */
	if (code)
		return error_set(err, code, "cannot start '%s'", config->argv[0]);
	*ret = pid;
	return 0;
}

int spawn_start(const struct spawn_config *config, pid_t *ret, struct error *err)
{
	return start(config, (const int[]){ -1, -1, -1 }, ret, err);
}

int spawn_start_piped(const struct spawn_config *config, int out_fd, int err_fd, pid_t *ret,
		      struct error *err)
{
	return start(config, (const int[]){ -1, out_fd, err_fd }, ret, err);
}

/* --- watching --- */

/* Reads what is there; false at the end of the pipe. */
static bool read_mark(const struct spawn_config *config, int fd, uint64_t start_ns,
		      struct spawn_sample *s, size_t *len)
{
	uint64_t now_ns = clock_now_ns();
	char spill[512];
	size_t room = sizeof(s->text) - 1 - *len;

	ssize_t n = room ? read(fd, s->text + *len, room) : read(fd, spill, sizeof(spill));
	if (n > 0 && room)
		*len += (size_t)n;
	s->text[*len] = 0;
	if (n > 0 && isnan(s->mark_ms) && (!config->mark || strstr(s->text, config->mark)))
		s->mark_ms = ms(now_ns - start_ns);
	return n > 0;
}

/* Until the process ends; notes the mark on the way. */
static int watch(const struct spawn_config *config, pid_t pid, int mark_fd, uint64_t start_ns,
		 struct spawn_sample *s, struct error *err)
{
	CLEANUP(fd_closep) int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	size_t len = 0;
	int n;

	if (pid_fd < 0)
		return error_set(err, errno, "pidfd_open");
	for (;;) {
		struct pollfd fds[] = { { .fd = pid_fd, .events = POLLIN },
					{ .fd = mark_fd, .events = POLLIN } };
		n = poll(fds, ARRAY_SIZE(fds), TIME_LIMIT_MS);
		if (n <= 0)
			break;
		uint64_t now = clock_now_ns();
		if (fds[1].revents & POLLIN)
			(void)read_mark(config, mark_fd, start_ns, s, &len);
		else if (fds[1].revents)
			mark_fd = -1;
		if (fds[0].revents) {
			s->wall_ms = ms(now - start_ns);
			break;
		}
	}
	if (n > 0)
		return 0;
	n = n < 0 ? -errno : -ETIMEDOUT;
	(void)kill(pid, SIGKILL); /* ours and not reaped: the id is its own */
	return error_set(err, n, "the command is still running");
}

/* What the writers left in the pipe. */
static void drain_mark(const struct spawn_config *config, int fd, uint64_t start_ns,
		       struct spawn_sample *s)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = strlen(s->text);

	while (fd >= 0 && poll(&p, 1, 0) > 0 && p.revents & POLLIN &&
	       read_mark(config, fd, start_ns, s, &len))
		;
}

/* --- orphans --- */

double spawn_process_cpu_ms(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts) < 0)
		return NAN;
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

size_t spawn_children(pid_t pid, pid_t *ret, size_t max)
{
	char path[64], text[256] = "";
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	if (file_read_line(path, text, sizeof(text)) < 0)
		return 0; /* gone */
	for (char *p = text, *end; n < max; p = end) {
		long child = strtol(p, &end, 10);
		if (end == p)
			break;
		ret[n++] = (pid_t)child;
	}
	return n;
}

/* Our children other than @command, with the CPU time they have used so far. */
static size_t find_orphans(pid_t command, struct orphan ret[MAX_ORPHANS])
{
	pid_t children[MAX_ORPHANS];
	size_t n_children = spawn_children(getpid(), children, MAX_ORPHANS);
	size_t n = 0;

	for (size_t i = 0; i < n_children; i++)
		if (children[i] != command)
			ret[n++] =
			    (struct orphan){ children[i], spawn_process_cpu_ms(children[i]) };
	return n;
}

static void reap_orphans(uint64_t end_ns, const struct orphan *orphans, size_t n,
			 struct spawn_sample *s)
{
	for (size_t i = 0; i < n; i++) {
		struct rusage usage;
		int status;
		if (wait4(orphans[i].pid, &status, 0, &usage) != orphans[i].pid)
			continue;
		s->teardown_ms = ms(clock_now_ns() - end_ns);
		s->orphan_cpu_ms += orphans[i].cpu_ms;
		s->teardown_cpu_ms += rusage_cpu_ms(&usage) - orphans[i].cpu_ms;
	}
}

/* --- the whole --- */

static int check_status(const struct spawn_config *config, int status, struct error *err)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == config->wanted_status)
		return 0;
	return error_set_text(err, -ECHILD, "'%s' ended with %s %d, wanted status %d",
			      config->argv[0], WIFEXITED(status) ? "status" : "signal",
			      WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
			      config->wanted_status);
}

static int measure(const struct spawn_config *config, int read_fd, int *write_fd,
		   struct spawn_sample *s, struct error *err)
{
	struct orphan orphans[MAX_ORPHANS];
	struct rusage usage;
	int fds[3] = { -1, -1, -1 };
	uint64_t start_ns = clock_now_ns();
	int status;
	pid_t pid = -1;

	if (*write_fd >= 0)
		fds[config->mark_fd] = *write_fd;
	if (start(config, fds, &pid, err) < 0)
		return err->code;
	*write_fd = fd_close(*write_fd);
	int res = watch(config, pid, read_fd, start_ns, s, err);
	uint64_t end_ns = start_ns + (uint64_t)(s->wall_ms * (double)NS_PER_MS);
	size_t n = find_orphans(pid, orphans);
	if (wait4(pid, &status, 0, &usage) != pid)
		return error_set(err, errno, "wait4");
	reap_orphans(end_ns, orphans, n, s);
	drain_mark(config, read_fd, start_ns, s);
	s->cpu_ms = rusage_cpu_ms(&usage);
	s->page_faults = usage.ru_minflt;
	return res < 0 ? res : check_status(config, status, err);
}

int spawn_measure(const struct spawn_config *config, struct spawn_sample *ret, struct error *err)
{
	struct spawn_sample s = { .mark_ms = NAN };
	int pipe_fds[2] = { -1, -1 };

	if (config->mark_fd >= 0 && pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set(err, errno, "pipe");
	int res = measure(config, pipe_fds[0], &pipe_fds[1], &s, err);
	fd_closep(&pipe_fds[0]);
	fd_closep(&pipe_fds[1]);
	if (res < 0)
		return res;
	*ret = s;
	return 0;
}

double spawn_line_number(const char *text, const char *word)
{
	const char *line = strstr(text, word);

	if (!line)
		return NAN;
	while (line > text && line[-1] != '\n')
		line--;
	return strtod(line, NULL);
}
