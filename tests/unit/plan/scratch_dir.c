#include "scratch_dir.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"

char *scratch_dir_new(void)
{
	static const char *const templates[] = { "/dev/shm/ktstr-test-XXXXXX",
						 "/tmp/ktstr-test-XXXXXX" };

	for (size_t i = 0; i < ARRAY_SIZE(templates); i++) {
		char *path = xstrdup(templates[i]);
		if (mkdtemp(path))
			return path;
		free(path);
	}
	fail_msg("no temporary folder");
	return NULL;
}

void scratch_dir_free(char *path)
{
	char *command = xasprintf("rm -rf '%s'", path);

	/* NOLINTNEXTLINE(concurrency-mt-unsafe,cert-env33-c): one thread, our own folder */
	(void)!system(command);
	free(command);
	free(path);
}

static void hold(const char *path, const struct plan_lock *locks, uint32_t n_locks, int ready_fd)
{
	CLEANUP(freep) struct plan_lock *copy = xcalloc(n_locks, sizeof(*copy));
	struct plan plan = { .locks = copy, .n_locks = n_locks };
	struct plan_lock busy;
	struct lock_dir dir;
	struct error err;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint32_t i = 0; i < n_locks; i++)
		copy[i] = locks[i];
	if (lock_dir_open(&dir, path, true, &err) < 0)
		_exit(1);
	struct locks l = { .dir = &dir };
	if (locks_take(&l, &plan, &busy, &err) != 1 || write(ready_fd, "", 1) != 1)
		_exit(1);
	for (;;)
		(void)pause();
}

pid_t holder_start(const char *path, const struct plan_lock *locks, uint32_t n_locks)
{
	int fds[2];
	char ready;

	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(fds[0]);
		hold(path, locks, n_locks, fds[1]);
	}
	(void)close(fds[1]);
	assert_int_equal(read(fds[0], &ready, 1), 1);
	(void)close(fds[0]);
	return pid;
}

void holder_kill(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}
