#include "cli/runner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "cli/end_signals.h"
#include "cli/out.h"
#include "cli/promises.h"
#include "link/link.h"

enum {
	STOP_GRACE_S = 2,
	OVERDUE_GRACE_S = 10,
	ESCAPE_KEY = 0x1d, /* Ctrl-] */
	INPUT_CHUNK = 4096,
};

struct runner {
	const struct runner_config *config;
	struct vm_process *process;
	struct run_result *result;
	struct collector collector;
	struct reactor *reactor;
	struct link *link;
	int signal_fd; /* what ends the run; also interrupts a blocked write */
	int resize_fd; /* SIGWINCH: interrupts nothing */
	struct reactor_op signals;
	struct reactor_op resize;
	struct reactor_op input;
	struct reactor_op overdue;
	struct reactor_op kill_timer;
	bool discard_output; /* interrupted, or nobody reads it */
	bool input_ended;
};

/* Stopping */

static void on_kill_timer(struct reactor_op *op, int res, bool more UNUSED)
{
	struct runner *r = container_of(op, struct runner, kill_timer);

	if (res == 0)
		vm_process_kill(r->process);
}

static void stop_vm(struct runner *r)
{
	if (!reactor_op_is_idle(&r->kill_timer)) {
		vm_process_kill(r->process); /* asked twice */
		return;
	}
	r->discard_output = true;
	if (r->link)
		link_send(r->link, FRAME_VM_STOP, NULL, 0);
	reactor_timer(r->reactor, &r->kill_timer, clock_now_ns() + STOP_GRACE_S * NS_PER_S,
		      on_kill_timer);
}

static void on_overdue(struct reactor_op *op, int res, bool more UNUSED)
{
	struct runner *r = container_of(op, struct runner, overdue);
	static const char text[] = "the VM process did not end in time and was killed";

	if (res < 0)
		return;
	run_result_add_note(r->result, text, sizeof(text) - 1);
	vm_process_kill(r->process);
}

/* Output */

static void write_out(struct runner *r, int fd, const uint8_t *data, size_t n)
{
	if (r->discard_output)
		return;
	int res = out_write(fd, r->signal_fd, data, n);
	if (res == -EINTR) {
		r->discard_output = true; /* the signal itself is handled by its own callback */
	} else if (res == -EPIPE) {
		/* Like any command whose reader went away. */
		r->result->signal = SIGPIPE;
		stop_vm(r);
	} else if (res < 0) {
		char buf[64], text[128];
		int len = snprintf(text, sizeof(text), "cannot write the command's output: %s",
				   strerror_r(-res, buf, sizeof(buf)));
		run_result_add_note(r->result, text, (size_t)len);
		r->discard_output = true;
	}
}

/* Frames */

static void on_output(void *ctx, int fd, const uint8_t *data, size_t n)
{
	write_out(ctx, fd, data, n);
}

static void on_tty(void *ctx, const uint8_t *data, size_t n)
{
	struct runner *r = ctx;

	if (r->config->interactive)
		write_out(r, STDOUT_FILENO, data, n);
}

static void on_outcome(void *ctx)
{
	struct runner *r = ctx;

	reactor_stop(r->reactor, 0);
}

static const struct collector_ops collector_callbacks = { on_output, on_tty, on_outcome };

/* Ends the run with our own trouble as its reason, unless there is a verdict already. */
static void fail(struct runner *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void fail(struct runner *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	reactor_stop(r->reactor, 0);
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	run_result_fail(r->result, text);
}

static void on_started(struct runner *r, const struct frame *f)
{
	struct error err;

	if (promises_check(r->result, f, r->process->pid, r->config->reservation, r->link, &err) <
	    0) {
		vm_process_kill(r->process);
		fail(r, "%s", err.text);
	}
}

static void on_frame(void *ctx, const struct frame *f)
{
	struct runner *r = ctx;

	if (f->header.type == FRAME_VM_STARTED)
		on_started(r, f);
	else
		collector_add(&r->collector, f);
}

/* An event source that broke: without it nobody would see the VM process's end, or a signal. */
static void fail_source(struct runner *r, const char *what, int err)
{
	char buf[64];

	vm_process_kill(r->process);
	fail(r, "%s: %s: host resources are short", what, strerror_r(-err, buf, sizeof(buf)));
}

/* The VM process is gone without a verdict: how it ended is the verdict. */
static void on_closed(void *ctx, int err)
{
	struct runner *r = ctx;

	r->link = link_close(r->link);
	if (err < 0 && err != -EPIPE && err != -ECONNRESET) {
		fail_source(r, "the link to the VM process", err);
		return;
	}
	int status = vm_process_wait(r->process);
	if (status >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		fail(r,
		     "the VM process was ended by its filter of system calls, signal %d (SYS): "
		     "a bug in ktstr, or a guest that broke into it; the kernel's log (audit, "
		     "type=1326) names the call",
		     SIGSYS);
	else if (status >= 0 && WIFSIGNALED(status))
		fail(r, "the VM process was ended by signal %d (%s)", WTERMSIG(status),
		     sigabbrev_np(WTERMSIG(status)));
	else
		fail(r, "the VM process ended without a verdict (status %d)",
		     status >= 0 ? WEXITSTATUS(status) : status);
}

/* Input */

static void send_window_size(struct runner *r)
{
	struct winsize ws;

	if (r->config->interactive && r->link && ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) == 0)
		link_send(r->link, FRAME_VM_TTY_SIZE,
			  &(struct frame_tty_size){ ws.ws_row, ws.ws_col },
			  sizeof(struct frame_tty_size));
}

static void end_input(struct runner *r)
{
	r->input_ended = true;
	if (!reactor_op_is_idle(&r->input))
		reactor_cancel(r->reactor, &r->input);
	if (r->link && r->config->forward_stdin)
		link_send(r->link, FRAME_STDIN, NULL, 0); /* empty: end of file */
}

static bool input_is_ready(void)
{
	struct pollfd fd = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

/* Reads while there is something, and while the VM process keeps up. */
static void pump_input(struct runner *r)
{
	uint8_t chunk[INPUT_CHUNK];

	while (!r->input_ended && r->link && !link_is_congested(r->link) && input_is_ready()) {
		ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			end_input(r);
			return;
		}
		if (r->config->interactive && memchr(chunk, ESCAPE_KEY, (size_t)n)) {
			end_input(r);
			r->result->is_left = true;
			stop_vm(r);
			return;
		}
		link_send(r->link, r->config->interactive ? FRAME_VM_TTY_INPUT : FRAME_STDIN, chunk,
			  (size_t)n);
	}
}

static void on_input(struct reactor_op *op, int res, bool more UNUSED)
{
	struct runner *r = container_of(op, struct runner, input);

	/*
	 * A regular file cannot be polled, and need not be: on_writable and this call read it to
	 * its end.
	 */
	if (res > 0 || res == -EPERM)
		pump_input(r);
}

static void on_writable(void *ctx)
{
	struct runner *r = ctx;

	if (r->config->interactive || r->config->forward_stdin)
		pump_input(r);
}

static const struct link_ops link_callbacks = { on_frame, on_writable, on_closed };

/* Signals */

static void on_signal(struct reactor_op *op, int res, bool more UNUSED)
{
	struct runner *r = container_of(op, struct runner, signals);
	struct signalfd_siginfo info;

	while (res > 0 && read(r->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		r->result->signal = (int)info.ssi_signo;
		stop_vm(r);
	}
	if (res < 0 && res != -ECANCELED)
		fail_source(r, "signals", res);
}

static void on_resize(struct reactor_op *op, int res, bool more UNUSED)
{
	struct runner *r = container_of(op, struct runner, resize);
	struct signalfd_siginfo info;

	while (res > 0 && read(r->resize_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		send_window_size(r);
}

static int open_signals(struct runner *r, sigset_t *old, struct error *err)
{
	const sigset_t ends = end_signals();
	sigset_t resize;

	(void)sigemptyset(&resize);
	(void)sigaddset(&resize, SIGWINCH);
	(void)sigprocmask(SIG_BLOCK, &ends, old);
	(void)sigprocmask(SIG_BLOCK, &resize, NULL);
	(void)signal(SIGPIPE, SIG_IGN); /* EPIPE instead: the VM must be stopped first */
	r->signal_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	r->resize_fd = signalfd(-1, &resize, SFD_CLOEXEC | SFD_NONBLOCK);
	return r->signal_fd < 0 || r->resize_fd < 0 ? error_set(err, errno, "signalfd") : 0;
}

/* The whole */

static void take_down(struct runner *r)
{
	r->link = link_close(r->link);
	reactor_end(r->reactor, &r->signals);
	reactor_end(r->reactor, &r->resize);
	reactor_end(r->reactor, &r->input);
	reactor_end(r->reactor, &r->overdue);
	reactor_end(r->reactor, &r->kill_timer);
	reactor_turn(r->reactor, 0); /* the link's memory */
	r->reactor = reactor_free(r->reactor);
}

static int set_up(struct runner *r, sigset_t *old, struct error *err)
{
	const struct runner_config *c = r->config;

	if (open_signals(r, old, err) < 0 ||
	    reactor_new(&(struct reactor_config){ .backend = c->backend }, &r->reactor, err) < 0 ||
	    link_new(r->reactor, r->process->link_fd, &link_callbacks, r, &r->link, err) < 0)
		return err->code;
	r->process->link_fd = -1;
	reactor_poll(r->reactor, &r->signals, r->signal_fd, POLLIN, on_signal);
	reactor_poll(r->reactor, &r->resize, r->resize_fd, POLLIN, on_resize);
	if (c->deadline_ns != UINT64_MAX)
		reactor_timer(r->reactor, &r->overdue, c->deadline_ns + OVERDUE_GRACE_S * NS_PER_S,
			      on_overdue);
	if (c->interactive || c->forward_stdin)
		reactor_poll(r->reactor, &r->input, STDIN_FILENO, POLLIN, on_input);
	return 0;
}

int runner_run(const struct runner_config *config, struct vm_process *process,
	       struct run_result *result, struct error *err)
{
	struct runner r = { .config = config,
			    .process = process,
			    .result = result,
			    .signal_fd = -1,
			    .resize_fd = -1 };
	sigset_t old;

	collector_init(&r.collector, result, &collector_callbacks, &r);
	int res = set_up(&r, &old, err);
	if (res == 0)
		(void)reactor_run(r.reactor); /* its status is always 0: the result says it all */
	else
		vm_process_kill(process);
	collector_finish(&r.collector);
	if (r.reactor)
		take_down(&r);
	collector_fini(&r.collector);
	fd_closep(&r.signal_fd);
	fd_closep(&r.resize_fd);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	return res;
}
