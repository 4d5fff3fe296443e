/* VMs that sleep: see batch_vms.h. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/file.h"
#include "bench/batch_vms.h"
#include "bench/spawn.h"

enum {
	PATH_SIZE = 64,
	PROC_FILE_MAX = 64 * 1024,
	LOOK_MS = 50,
	QUIET_LOOKS = 6, /* so many in a row without CPU time: they sleep */
	LOOKS_MAX = 60 * 1000 / LOOK_MS,
};

struct idle_vms {
	const struct batch_vms_setup *setup;
	unsigned n;
	pid_t runner;
	pid_t vms[BATCH_IDLE_MAX];
};

/* The number behind @key in a file of /proc; NAN: it cannot be read. */
static double proc_number(pid_t pid, const char *file, const char *key)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	char path[PATH_SIZE];
	struct error unused;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	if (file_read(path, PROC_FILE_MAX, &text, &unused) < 0)
		return NAN;
	const char *line = strstr(buf_str(&text), key);
	return line ? strtod(line + strlen(key), NULL) : NAN;
}

/* Of the main thread: a process's own status is its main thread's here. */
static double wakeups(pid_t pid)
{
	return proc_number(pid, "status", "\nvoluntary_ctxt_switches:") +
	       proc_number(pid, "status", "\nnonvoluntary_ctxt_switches:");
}

static double cpu_ms(const struct idle_vms *v)
{
	double total = spawn_process_cpu_ms(v->runner);

	for (unsigned i = 0; i < v->n; i++)
		total += spawn_process_cpu_ms(v->vms[i]);
	return total;
}

static double memory(const struct idle_vms *v, const char *key)
{
	double total = proc_number(v->runner, "smaps_rollup", key);

	for (unsigned i = 0; i < v->n; i++)
		total += proc_number(v->vms[i], "smaps_rollup", key);
	return total;
}

static double io_wakeups(const struct idle_vms *v)
{
	double total = 0;

	for (unsigned i = 0; i < v->n; i++)
		total += wakeups(v->vms[i]);
	return total;
}

/* @ms of time, or until a signal comes. */
static int pass(const struct batch_vms_setup *setup, int ms, int *ret_signal, struct error *err)
{
	struct pollfd p = { .fd = setup->signal_fd, .events = POLLIN };
	struct signalfd_siginfo info;

	if (poll(&p, 1, ms) <= 0)
		return 0;
	if (fd_read_exact(setup->signal_fd, &info, sizeof(info)) < 0)
		return error_set(err, EIO, "signalfd");
	*ret_signal = (int)info.ssi_signo;
	return error_set(err, EINTR, "signal %d", *ret_signal);
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid;
}

static int wait_until_asleep(struct idle_vms *v, int *ret_signal, struct error *err)
{
	double before = NAN;

	for (unsigned i = 0, n_quiet = 0; n_quiet < QUIET_LOOKS; i++) {
		if (pass(v->setup, LOOK_MS, ret_signal, err) < 0)
			return err->code;
		if (has_ended(v->runner))
			return error_set_text(err, -ECHILD, "the batch ended");
		bool all = spawn_children(v->runner, v->vms, BATCH_IDLE_MAX) == v->n;
		double now = all ? cpu_ms(v) : NAN;
		n_quiet = now == before ? n_quiet + 1 : 0; /* NAN is not equal to itself */
		before = now;
		if (i == LOOKS_MAX)
			return error_set_text(err, -ETIMEDOUT,
					      "%u VMs of sleeping guests did not come to rest",
					      v->n);
	}
	return 0;
}

static int watch(struct idle_vms *v, double seconds, struct batch_idle *ret, int *ret_signal,
		 struct error *err)
{
	if (wait_until_asleep(v, ret_signal, err) < 0)
		return err->code;
	struct batch_idle idle = { .pss_kib = memory(v, "\nPss:"), .rss_kib = memory(v, "\nRss:") };
	double io = io_wakeups(v), runner = wakeups(v->runner), cpu = cpu_ms(v);
	if (pass(v->setup, (int)(seconds * 1e3), ret_signal, err) < 0)
		return err->code;
	idle.io_wakeups = io_wakeups(v) - io;
	idle.runner_wakeups = wakeups(v->runner) - runner;
	idle.cpu_ms = cpu_ms(v) - cpu;
	*ret = idle;
	return isnan(idle.cpu_ms) || isnan(idle.io_wakeups)
		   ? error_set_text(err, -ESRCH, "a VM of a sleeping guest ended")
		   : 0;
}

/* Two signals, as from a user who means it: all of its VMs are reaped when it is. */
static void end(pid_t runner)
{
	(void)kill(runner, SIGINT);
	(void)kill(runner, SIGTERM);
	while (waitpid(runner, NULL, 0) < 0 && errno == EINTR)
		;
}

int batch_vms_idle(const struct batch_vms_setup *setup, unsigned n_vms, double seconds,
		   struct batch_idle *ret, int *ret_signal, struct error *err)
{
	CLEANUP(batch_program_fini) struct batch_program program = BATCH_PROGRAM_INIT;
	struct idle_vms v = { .setup = setup, .n = n_vms };
	char n[16];

	if (batch_program_make(n_vms, &program, err) < 0)
		return err->code;
	(void)snprintf(n, sizeof(n), "%u", n_vms);
	const char *const argv[] = { setup->ktstr,   "test",    "--kernel",   setup->guest,
				     "--append",     "op=halt", "--jobs",     n,
				     "--overcommit", n,         program.path, NULL };
	const struct spawn_config config = { .argv = argv, .mark_fd = -1 };
	if (spawn_start(&config, &v.runner, err) < 0)
		return err->code;
	int res = watch(&v, seconds, ret, ret_signal, err);
	end(v.runner);
	return res < 0 ? error_prefix(err, "%u VMs that sleep", n_vms) : 0;
}
