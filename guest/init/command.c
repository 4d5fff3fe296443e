/*
 * fork, descriptors, execve. The child tells which step failed over a close-on-exec pipe; its end
 * without a word means that the program runs.
 */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/guest_config.h"

#define TTY_PATH     "/dev/hvc0"
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum step { STEP_SESSION, STEP_STDIO, STEP_TTY, STEP_CWD, STEP_EXEC };

struct step_failure {
	int32_t step;
	int32_t code; /* errno */
};

/* All descriptors of a start; those of the child are closed in the parent when it is over. */
struct start_fds {
	int stdin_pipe[2]; /* [0] reads, [1] writes, all close-on-exec */
	int stdout_pipe[2];
	int stderr_pipe[2];
	int message[2]; /* [0] ours, [1] the child's */
	int result[2];
};

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
		pair[i] = -1;
	}
}

static void start_fds_close(struct start_fds *s)
{
	close_pair(s->stdin_pipe);
	close_pair(s->stdout_pipe);
	close_pair(s->stderr_pipe);
	close_pair(s->message);
	close_pair(s->result);
}

static int start_fds_open(const struct config *config, struct start_fds *s)
{
	if (pipe2(s->result, O_CLOEXEC) < 0)
		return -errno;
	/* A kernel without unix sockets runs programs that need no channel. */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->message) < 0 &&
	    errno != EAFNOSUPPORT && errno != ENOSYS)
		return -errno;
	if (config->tty)
		return 0;
	if (pipe2(s->stdout_pipe, O_CLOEXEC) < 0 || pipe2(s->stderr_pipe, O_CLOEXEC) < 0)
		return -errno;
	if (config->feed_stdin && pipe2(s->stdin_pipe, O_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* -- in the child
 * ---------------------------------------------------------------------------------------------- */

static NORETURN void child_fail(int result_fd, enum step step)
{
	const struct step_failure failure = { .step = step, .code = errno };

	(void)!write(result_fd, &failure, sizeof(failure)); /* nobody else to tell */
	_exit(127);
}

static int take_stdio(const struct start_fds *s)
{
	int in_fd = s->stdin_pipe[0];

	if (in_fd < 0)
		in_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (in_fd < 0 || dup2(in_fd, STDIN_FILENO) < 0 ||
	    dup2(s->stdout_pipe[1], STDOUT_FILENO) < 0 ||
	    dup2(s->stderr_pipe[1], STDERR_FILENO) < 0)
		return -1;
	return 0;
}

static int take_tty(void)
{
	int fd = open(TTY_PATH, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, TIOCSCTTY, 0) < 0)
		return -1;
	if (dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
	    dup2(fd, STDERR_FILENO) < 0)
		return -1;
	return 0;
}

static NORETURN void child_run(const struct config *config, const struct start_fds *s, char **envp)
{
	sigset_t none;

	sigemptyset(&none);
	/* Cannot fail with these arguments. NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);

	if (setsid() < 0)
		child_fail(s->result[1], STEP_SESSION);
	if (config->tty && take_tty() < 0)
		child_fail(s->result[1], STEP_TTY);
	if (!config->tty && take_stdio(s) < 0)
		child_fail(s->result[1], STEP_STDIO);
	if (s->message[1] >= 0 && fcntl(s->message[1], F_SETFD, 0) < 0)
		child_fail(s->result[1], STEP_STDIO);
	if (chdir(config->cwd != NULL ? config->cwd : "/") < 0)
		child_fail(s->result[1], STEP_CWD);
	execve(config->exec, config->argv, envp);
	child_fail(s->result[1], STEP_EXEC);
}

/* -- in PID 1
 * --------------------------------------------------------------------------------------------------
 */

static bool has_variable(char *const *envp, const char *name)
{
	size_t n = strlen(name);

	for (; *envp != NULL; envp++) {
		if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
			return true;
	}
	return false;
}

/* The configured environment, what programs count on, and @channel. Only the array is allocated. */
static char **make_environment(const struct config *config, char *channel)
{
	static char path[] =
	    "PATH=" DEFAULT_PATH; /* never written: execve's type lacks the const */
	static char home[] = "HOME=/";
	static char term[] = "TERM=linux";
	size_t n = 0;

	while (config->envp[n] != NULL)
		n++;
	char **envp = calloc(n + 5, sizeof(*envp));
	if (envp == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++)
		envp[i] = config->envp[i];
	if (!has_variable(config->envp, "PATH"))
		envp[n++] = path;
	if (!has_variable(config->envp, "HOME"))
		envp[n++] = home;
	if (config->tty && !has_variable(config->envp, "TERM"))
		envp[n++] = term;
	if (channel[0] != '\0')
		envp[n++] = channel;
	return envp;
}

/* Waits for the child's word; 0 when it runs the program. */
static int await_exec(int result_fd, struct step_failure *ret)
{
	ssize_t n;

	do {
		n = read(result_fd, ret, sizeof(*ret));
	} while (n < 0 && errno == EINTR);
	return n == sizeof(*ret) ? -ret->code : 0;
}

static int explain(const struct config *config, const struct step_failure *failure,
		   struct frame_exit *ret_exit, struct fault *f)
{
	*ret_exit = (struct frame_exit){ .kind = EXIT_INIT, .value = failure->code };
	switch ((enum step)failure->step) {
	case STEP_SESSION:
		return fault_set(f, -failure->code, "start '%s': setsid", config->exec);
	case STEP_STDIO:
		return fault_set(f, -failure->code, "start '%s': standard streams", config->exec);
	case STEP_TTY:
		return fault_set(f, -failure->code, "start '%s': terminal %s", config->exec,
				 TTY_PATH);
	case STEP_CWD:
		return fault_set(f, -failure->code, "start '%s': folder '%s'", config->exec,
				 config->cwd != NULL ? config->cwd : "/");
	case STEP_EXEC:
		break;
	}
	ret_exit->kind = failure->code == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXEC;
	if (failure->code == ENOENT && access(config->exec, F_OK) == 0) /* the file is there */
		return fault_set(f, -ENOENT, "'%s': its interpreter", config->exec);
	return fault_set(f, -failure->code, "'%s'", config->exec);
}

static int set_nonblock(int fd)
{
	return fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) == 0 ? 0 : -errno;
}

/* Our ends out of @s. */
static int take_ends(struct start_fds *s, struct command *ret)
{
	ret->stdin_fd = TAKE_FD(s->stdin_pipe[1]);
	ret->stdout_fd = TAKE_FD(s->stdout_pipe[0]);
	ret->stderr_fd = TAKE_FD(s->stderr_pipe[0]);
	ret->message_fd = TAKE_FD(s->message[0]);

	int res = set_nonblock(ret->stdin_fd);
	if (res == 0)
		res = set_nonblock(ret->stdout_fd);
	if (res == 0)
		res = set_nonblock(ret->stderr_fd);
	if (res == 0)
		res = set_nonblock(ret->message_fd);
	return res;
}

static int start(const struct config *config, struct start_fds *s, struct command *c,
		 struct frame_exit *ret_exit, struct fault *f)
{
	char channel[48] = "";
	if (s->message[1] >= 0)
		(void)snprintf(channel, sizeof(channel), GUEST_ENV_CHANNEL "=%d", s->message[1]);
	char **envp = make_environment(config, channel);
	if (envp == NULL)
		return fault_set(f, -ENOMEM, "start '%s'", config->exec);

	pid_t pid = fork();
	if (pid == 0)
		child_run(config, s, envp);
	int code = errno;
	free(envp);
	if (pid < 0)
		return fault_set(f, -code, "start '%s': fork", config->exec);

	close(s->result[1]);
	s->result[1] = -1;
	struct step_failure failure;
	if (await_exec(s->result[0], &failure) < 0) {
		(void)waitpid(pid, NULL, 0); /* it is on its way out */
		return explain(config, &failure, ret_exit, f);
	}
	c->pid = pid;
	int res = take_ends(s, c);
	return res < 0 ? fault_set(f, res, "start '%s': pipes", config->exec) : 0;
}

int command_start(const struct config *config, struct command *ret, struct frame_exit *ret_exit,
		  struct fault *f)
{
	struct start_fds s = { { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 } };
	struct command c = COMMAND_INIT;

	*ret_exit = (struct frame_exit){ .kind = EXIT_INIT };
	int res = start_fds_open(config, &s);
	if (res < 0)
		(void)fault_set(f, res, "start '%s': pipes", config->exec);
	else
		res = start(config, &s, &c, ret_exit, f);
	start_fds_close(&s);
	if (res < 0) {
		command_fini(&c);
		return res;
	}
	*ret = c;
	return 0;
}

void command_fini(struct command *c)
{
	int *fds[] = { &c->stdin_fd, &c->stdout_fd, &c->stderr_fd, &c->message_fd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
