#include "vmm/vm_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmm/vm_message.h"

/*
 * A terminal's signals go to the whole foreground group: what to do about them is the runner's to
 * say.
 */
static void ignore_terminal_signals(void)
{
	static const int signals[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGPIPE };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t none;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaction(signals[i], &ignore, NULL); /* cannot fail for these */
	(void)sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/*
 * Standard input and output are the runner's: whoever waits for their end must not have to wait for
 * the teardown here, which comes after the runner's exit. The error stream stays, for failed
 * assertions.
 */
static void leave_standard_streams(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return; /* a matter of milliseconds only */
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDOUT_FILENO);
	if (null > STDERR_FILENO)
		(void)close(null);
}

static void become_vm_process(void)
{
	(void)prctl(PR_SET_NAME, "ktstr-vm");
	(void)
	    fd_raise_limit(); /* a vCPU takes two; what does not suffice is seen when one cannot be made */
	ignore_terminal_signals();
	leave_standard_streams();
}

static NORETURN void child_main(struct session_config *config, pid_t runner)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != runner)
		_exit(0); /* it died before the line above */
	become_vm_process();
	int res = session_run(config);
	/* exit(), not _exit(): sanitizers report leaks at exit. stdio was empty at the fork. */
	exit(res < 0 ? 1 : 0); /* NOLINT(concurrency-mt-unsafe): every vCPU thread was joined */
}

int vm_process_spawn(struct session_config *config, struct vm_process *ret, struct error *err)
{
	int pair[2];
	pid_t runner = getpid();

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(err, errno, "socketpair");
	pid_t pid = fork();
	if (pid < 0) {
		(void)error_set(err, errno,
				"cannot start the VM process: host resources are short");
		(void)fd_close(pair[0]);
		(void)fd_close(pair[1]);
		return err->code;
	}
	if (pid == 0) {
		(void)fd_close(pair[0]);
		config->link_fd = pair[1];
		child_main(config, runner);
	}
	(void)fd_close(pair[1]);
	config->relay_fd = fd_close(config->relay_fd);
	*ret = (struct vm_process){ .pid = pid, .link_fd = pair[0] };
	return 0;
}

/* Started anew */

int vm_process_main(struct error *err)
{
	struct vm_message m;
	struct stat st;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fstat(VM_PROCESS_LINK_FD, &st) < 0 || !S_ISSOCK(st.st_mode))
		return error_set_usage(err, -ENOTSOCK,
				       "`ktstr vmm` is the process of one VM, for `ktstr test` to "
				       "start: use that, or `ktstr run`");
	become_vm_process();
	int res = vm_message_receive(VM_PROCESS_LINK_FD, &m, err);
	if (res == 0 && getppid() != m.runner)
		res = error_set_text(err, -ESRCH, "the runner has died");
	if (res == 0) {
		m.config.link_fd = VM_PROCESS_LINK_FD;
		res = session_run(&m.config);
		m.config.n_lock_fds = 0; /* it closed them */
		if (res < 0)
			(void)error_set(err, res, "the link to the runner");
	}
	vm_message_fini(&m);
	return res;
}

/* The other ends stay ours: all of them close on exec. */
static int spawn_anew(int program_fd, int link_fd, pid_t *ret)
{
	char *const argv[] = { (char[]){ "ktstr" }, (char[]){ "vmm" }, NULL };
	posix_spawn_file_actions_t actions;
	char path[64];

	/* Ours, by number: in the child another file may have it by then. */
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), program_fd);

	int res = posix_spawn_file_actions_init(&actions);
	if (res)
		return -res;
	res = posix_spawn_file_actions_adddup2(&actions, link_fd, VM_PROCESS_LINK_FD);
	if (!res)
		res = posix_spawn(ret, path, &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -res;
}

int vm_process_exec(int program_fd, const struct session_config *config, struct vm_process *ret,
		    struct error *err)
{
	struct vm_process p = VM_PROCESS_INIT;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(err, errno, "socketpair");
	int res = spawn_anew(program_fd, pair[1], &p.pid);
	(void)fd_close(pair[1]);
	p.link_fd = pair[0];
	if (res < 0)
		(void)error_set(err, res, "cannot start the VM process");
	else
		res = vm_message_send(p.link_fd, config, err);
	if (res < 0) {
		vm_process_kill(&p);
		if (p.pid > 0)
			(void)vm_process_wait(&p);
		vm_process_fini(&p);
		return err->code;
	}
	*ret = p;
	return 0;
}

void vm_process_kill(const struct vm_process *p)
{
	if (p->pid > 0)
		(void)kill(p->pid, SIGKILL); /* not reaped yet, so the id is still its own */
}

int vm_process_wait(struct vm_process *p)
{
	int status;
	pid_t got;

	do
		got = waitpid(p->pid, &status, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	p->pid = 0;
	return status;
}

void vm_process_fini(struct vm_process *p)
{
	fd_closep(&p->link_fd);
}
