#include "image/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"

enum {
	OUTPUT_MAX = 8 * 1024 * 1024,
	MESSAGE_MAX = 400, /* of the tool's own words in an error */
};

/* The environment with LC_ALL=C in front: the first of two wins, and messages and sorting stay as
 * expected. */
static char **tool_env(char **env)
{
	static const char locale[] = "LC_ALL=C";
	size_t n = 0;

	while (env[n])
		n++;
	char **ret = xcalloc(n + 2, sizeof(*ret));
	ret[0] = (char *)(uintptr_t)locale; /* posix_spawn only reads it */
	size_t k = 1;
	for (size_t i = 0; i < n; i++)
		if (strncmp(env[i], "LC_ALL=", 7) != 0)
			ret[k++] = env[i];
	return ret;
}

static int spawn(const char *const *argv, const char *cwd, int out_fd, int err_fd, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	sigset_t all;
	CLEANUP(freep) char **env = tool_env(environ);

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	int r = posix_spawn_file_actions_init(&actions);
	if (r)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r) {
		(void)posix_spawn_file_actions_destroy(&actions);
		return -r;
	}
	r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, err_fd, STDERR_FILENO);
	if (!r && cwd)
		r = posix_spawn_file_actions_addchdir_np(&actions, cwd);
	/* A blocked or ignored signal of ours must not make the tool deaf to it. */
	if (!r)
		r = posix_spawnattr_setsigmask(&attr, &none);
	if (!r)
		r = posix_spawnattr_setsigdefault(&attr, &all);
	if (!r)
		r = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!r) {
		/* posix_spawn leaves the strings alone, its type just lacks the const. */
		char *const *args = (char *const *)(uintptr_t)argv;
		r = posix_spawnp(ret, argv[0], &actions, &attr, args, env);
	}
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Appends what was written to @fd, from its end if it is more than @max. */
static int read_back(int fd, uint64_t max, struct buf *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	uint64_t n = num_min((uint64_t)st.st_size, max);
	if (n == 0)
		return 0;
	int r = fd_pread_exact(fd, buf_reserve(ret, n), n, (uint64_t)st.st_size - n);
	if (r == 0)
		ret->len += n;
	return r;
}

/* "name: exit status 100: what it said", on one line. */
static int tool_failed(const char *name, int status, int err_fd, struct error *err)
{
	CLEANUP(buf_fini) struct buf text = { 0 };

	int r = read_back(err_fd, MESSAGE_MAX, &text);
	if (r < 0)
		return error_set(err, r, "cannot read the messages of %s", name);
	while (text.len && strchr(" \t\r\n", text.data[text.len - 1]))
		text.len--;
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < ' ')
			text.data[i] = ' ';
	const char *said = text.len ? buf_str(&text) : "no message";
	if (WIFSIGNALED(status))
		return error_set_text(err, -ECHILD, "%s: killed by signal %d: %s", name,
				      WTERMSIG(status), said);
	return error_set_text(err, -ECHILD, "%s: exit status %d: %s", name, WEXITSTATUS(status),
			      said);
}

int tool_run(const char *const *argv, const char *cwd, struct buf *ret_stdout, struct error *err)
{
	/* In memory, not in pipes: the tool never waits for us, and there is nothing to drain in
	 * the right order. */
	CLEANUP(fd_closep) int out_fd = memfd_create("tool-stdout", MFD_CLOEXEC);
	CLEANUP(fd_closep) int err_fd = memfd_create("tool-stderr", MFD_CLOEXEC);
	pid_t pid = -1;
	int status;

	if (out_fd < 0 || err_fd < 0)
		return error_set(err, errno, "memfd_create");
	int r = spawn(argv, cwd, out_fd, err_fd, &pid);
	if (r < 0)
		return error_set(err, r, "cannot run %s", argv[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_set(err, errno, "cannot wait for %s", argv[0]);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return tool_failed(argv[0], status, err_fd, err);
	if (!ret_stdout)
		return 0;
	r = read_back(out_fd, OUTPUT_MAX, ret_stdout);
	return r < 0 ? error_set(err, r, "cannot read the output of %s", argv[0]) : 0;
}
