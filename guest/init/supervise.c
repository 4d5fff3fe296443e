/*
 * The loop, and what each descriptor's turn does.
 *
 *	stage	| command ends	| all sources finished	| EXIT_ACK, port gone, 1 s with nothing unsent
 *	RUN	| DRAIN		| -			| -
 *	DRAIN	| -		| ACK (EXIT is sent)	| -
 *	ACK	| -		| -			| DONE
 *
 * Back-pressure: nothing is read from a source while the outlet is behind, and nothing from the port
 * while the command does not take its standard input; so memory is bounded by one portion of each.
 *
 * No byte that the command wrote before its end is lost, whatever the speed of the port: the amount
 * under way at its end (n_owed) is read without a time limit. Only what its surviving children might
 * add is waited for, DRAIN_MS at most.
 */
#include "supervise.h"

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

#include "clock.h"
#include "crash.h"
#include "kmsg.h"
#include "messages.h"

enum {
	KILL_MS = 2000, /* from SIGTERM to SIGKILL */
	DRAIN_MS = 500,
	ACK_MS = 1000,
	INPUT_MAX = 256 * 1024,
	STORAGE_MIN = OUTLET_CHUNK_MAX + FRAME_HEADER_SIZE,
	OWED_MESSAGES = 512, /* above what a socket's receive buffer holds */
	OWED_LOG = 256,      /* frames of 32 KiB: above any usual ring buffer */
};

/* -- sources: what becomes frames
 * ------------------------------------------------------------------------------ */

static int pump_pipe(struct supervisor *s, struct source *src, uint16_t type)
{
	uint8_t chunk[OUTLET_CHUNK_MAX];
	ssize_t n = read(src->fd, chunk, sizeof(chunk));

	if (n < 0)
		return errno == EAGAIN ? 0 : (errno == EINTR ? 1 : -errno);
	if (n == 0)
		return -EPIPE;
	outlet_send(s->outlet, type, chunk, (size_t)n);
	src->n_owed -= (size_t)n < src->n_owed ? (size_t)n : src->n_owed;
	return 1;
}

static int pump_stdout(struct supervisor *s, struct source *src)
{
	return pump_pipe(s, src, FRAME_STDOUT);
}

static int pump_stderr(struct supervisor *s, struct source *src)
{
	return pump_pipe(s, src, FRAME_STDERR);
}

static void count_portion(struct source *src)
{
	if (src->n_owed > 0)
		src->n_owed--;
}

static int pump_crash(struct supervisor *s, struct source *src)
{
	struct crash_report report;
	size_t n = 0;

	if (crash_receive(src->fd, &report, &n) == 0)
		return 0;
	/* A failed assert's message is on standard error already: it comes first. */
	if (s->sources[SOURCE_STDERR].fd >= 0)
		(void)pump_stderr(s,
				  &s->sources[SOURCE_STDERR]); /* its end shows again next time */
	outlet_send(s->outlet, FRAME_CRASH, report.text, n);
	if (report.pid == s->command_pid)
		s->is_crash_told = true;
	count_portion(src);
	return 1;
}

static int pump_messages(struct supervisor *s, struct source *src)
{
	count_portion(src);
	return messages_pump(src->fd, s->outlet);
}

static int pump_kmsg(struct supervisor *s, struct source *src)
{
	count_portion(src);
	return kmsg_pump(src->fd, s->outlet);
}

static void pump(struct supervisor *s, struct source *src)
{
	if (src->fd < 0 || !outlet_has_room(s->outlet))
		return;
	int res = src->pump(s, src);
	if (res < 0) {
		close(src->fd);
		src->fd = -1;
	} else if (res == 0) {
		src->is_dry = true;
	}
}

static bool is_finished(const struct source *src, bool is_late)
{
	if (src->fd < 0)
		return true;
	if (src->is_dry)
		return is_late || !src->has_end;
	return is_late && src->n_owed == 0;
}

/* -- the command's end
 * ----------------------------------------------------------------------------------------- */

/* Bytes in a pipe now. */
static size_t bytes_in(int fd)
{
	int n = 0;

	return fd >= 0 && ioctl(fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

static void start_drain(struct supervisor *s)
{
	s->stage = STAGE_DRAIN;
	s->deadline.kill_ms = INT64_MAX;
	s->deadline.drain_ms = clock_now_ms() + DRAIN_MS;
	s->sources[SOURCE_STDOUT].n_owed = bytes_in(s->sources[SOURCE_STDOUT].fd);
	s->sources[SOURCE_STDERR].n_owed = bytes_in(s->sources[SOURCE_STDERR].fd);
	s->sources[SOURCE_CRASH].n_owed = OWED_MESSAGES;
	s->sources[SOURCE_MESSAGES].n_owed = OWED_MESSAGES;
	s->sources[SOURCE_KMSG].n_owed = OWED_LOG;
	for (int i = 0; i < SOURCE_COUNT; i++)
		s->sources[i].is_dry = false;
	input_fini(&s->input);
}

static void on_command_end(struct supervisor *s, int status)
{
	outlet_phase(s->outlet, PHASE_COMMAND_EXIT, clock_boot_ns());
	if (WIFSIGNALED(status))
		s->exit = (struct frame_exit){ .kind = EXIT_SIGNAL, .value = WTERMSIG(status) };
	else
		s->exit = (struct frame_exit){ .kind = EXIT_STATUS, .value = WEXITSTATUS(status) };
	start_drain(s);
}

static void reap(struct supervisor *s)
{
	struct signalfd_siginfo info[4];
	int status;

	while (read(s->signal_fd, info, sizeof(info)) > 0)
		; /* signals merge: what counts is what waitpid finds */
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		if (pid == s->command_pid && s->stage == STAGE_RUN)
			on_command_end(s, status);
	}
}

/* A crash that no core handler told of. */
static void tell_bare_crash(struct supervisor *s)
{
	char text[512];

	if (s->exit.kind != EXIT_SIGNAL || !crash_is_signal(s->exit.value) || s->is_crash_told)
		return;
	int n = snprintf(text, sizeof(text), "%.256s[%d] died by %s (no core, so no backtrace)\n",
			 s->program, (int)s->command_pid, crash_signal_name(s->exit.value));
	outlet_send(s->outlet, FRAME_CRASH, text, (size_t)n);
}

static void send_exit(struct supervisor *s)
{
	tell_bare_crash(s);
	outlet_phase(s->outlet, PHASE_POWER_OFF, clock_boot_ns());
	outlet_send(s->outlet, FRAME_EXIT, &s->exit, sizeof(s->exit));
	s->stage = s->outlet->on_com2 ? STAGE_DONE : STAGE_ACK;
	s->deadline.drain_ms = INT64_MAX;
	s->n_unsent = channel_pending(&s->outlet->channel);
	s->deadline.ack_ms = clock_now_ms() + ACK_MS;
}

static void drain(struct supervisor *s)
{
	if (clock_now_ms() >= s->deadline.drain_ms) {
		s->is_late = true;
		s->deadline.drain_ms = INT64_MAX;
	}
	bool is_over = s->is_late || relay_is_drained(&s->relay);

	for (int i = 0; i < SOURCE_COUNT; i++) {
		pump(s, &s->sources[i]);
		is_over = is_over && is_finished(&s->sources[i], s->is_late);
	}
	if (is_over && outlet_has_room(s->outlet))
		send_exit(s);
}

static void await_ack(struct supervisor *s)
{
	size_t n_unsent = channel_pending(&s->outlet->channel);

	/* On COM2: the frame was lost with the port. */
	if (!s->is_acked && s->outlet->on_com2)
		outlet_send(s->outlet, FRAME_EXIT, &s->exit, sizeof(s->exit));
	if (s->is_acked || s->outlet->on_com2) {
		s->stage = STAGE_DONE;
	} else if (n_unsent > 0 || n_unsent != s->n_unsent) {
		/* A port that takes nothing has a host behind it that is slow, not one that is gone. */
		s->n_unsent = n_unsent;
		s->deadline.ack_ms = clock_now_ms() + ACK_MS;
	}
	if (clock_now_ms() >= s->deadline.ack_ms)
		s->stage = STAGE_DONE;
}

/* -- the host's words
 * ------------------------------------------------------------------------------------------ */

static void on_shutdown(struct supervisor *s)
{
	if (s->stage != STAGE_RUN || s->deadline.kill_ms != INT64_MAX)
		return;
	(void)kill(-s->command_pid, SIGTERM); /* gone already: SIGCHLD is on its way */
	s->deadline.kill_ms = clock_now_ms() + KILL_MS;
}

static void on_frame(struct supervisor *s, const struct frame *frame)
{
	switch (frame->header.type) {
	case FRAME_STDIN:
		if (input_push(&s->input, frame->payload, frame->header.length) < 0)
			outlet_say(s->outlet, "no memory for %u bytes of standard input",
				   frame->header.length);
		break;
	case FRAME_SHUTDOWN:
		on_shutdown(s);
		break;
	case FRAME_EXIT_ACK:
		s->is_acked = s->stage == STAGE_ACK;
		break;
	default: /* of a later host */
		break;
	}
}

/* 1: there may be more; 0: none now; negative errno: the port has ended. */
static int read_port(struct supervisor *s)
{
	uint8_t bytes[16 * 1024];
	ssize_t n = read(s->outlet->channel.fd, bytes, sizeof(bytes));

	if (n < 0)
		return errno == EAGAIN ? 0 : (errno == EINTR ? 1 : -errno);
	if (n == 0)
		return -EPIPE;
	for (size_t done = 0; done < (size_t)n;) {
		struct frame frame;
		done += frame_decoder_feed(&s->decoder, bytes + done, (size_t)n - done);
		while (frame_decoder_next(&s->decoder, &frame))
			on_frame(s, &frame);
	}
	return 1;
}

static void on_port(struct supervisor *s, short revents)
{
	int res = 0;

	if (revents & (POLLIN | POLLHUP | POLLERR)) {
		do {
			res = read_port(s);
		} while (res > 0 && input_pending(&s->input) < INPUT_MAX);
	}
	if (!s->is_acked && (res < 0 || revents & (POLLHUP | POLLERR | POLLNVAL)))
		outlet_lose_port(s->outlet);
}

/* -- the loop
 * --------------------------------------------------------------------------------------------------
 */

enum slot {
	SLOT_PORT = SOURCE_COUNT, /* the slots before are the sources */
	SLOT_SIGNAL,
	SLOT_INPUT,
	SLOT_RELAY_PORT,
	SLOT_RELAY_SOCKET,
	SLOT_COUNT,
};

static struct pollfd poll_for(int fd, int events)
{
	/* Without a wish it stays out: POLLHUP would be told all the time. */
	return (struct pollfd){ .fd = events != 0 ? fd : -1, .events = (short)events };
}

static void fill_slots(const struct supervisor *s, struct pollfd p[SLOT_COUNT])
{
	const struct channel *port = &s->outlet->channel;
	bool is_open = s->stage != STAGE_ACK && outlet_has_room(s->outlet);

	for (int i = 0; i < SOURCE_COUNT; i++)
		p[i] = poll_for(s->sources[i].fd, is_open ? POLLIN : 0);
	p[SLOT_PORT] = poll_for(port->fd, (channel_pending(port) > 0 ? POLLOUT : 0) |
					      (input_pending(&s->input) < INPUT_MAX ? POLLIN : 0));
	p[SLOT_SIGNAL] = poll_for(s->signal_fd, POLLIN);
	p[SLOT_INPUT] = poll_for(s->input.fd, input_pending(&s->input) > 0 ? POLLOUT : 0);
	p[SLOT_RELAY_PORT] = poll_for(s->relay.port_fd, relay_port_events(&s->relay));
	p[SLOT_RELAY_SOCKET] = poll_for(s->relay.socket_fd, relay_socket_events(&s->relay));
}

/* Milliseconds to the next deadline, -1: none. */
static int time_left(const struct supervisor *s, int64_t now_ms)
{
	const int64_t deadlines[] = {
		s->deadline.kill_ms,
		s->deadline.drain_ms,
		s->deadline.ack_ms,
		s->relay.retry_ms,
	};
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < ARRAY_SIZE(deadlines); i++)
		next = deadlines[i] < next ? deadlines[i] : next;
	if (next == INT64_MAX)
		return -1;
	if (next <= now_ms)
		return 0;
	return next - now_ms > INT32_MAX ? INT32_MAX : (int)(next - now_ms);
}

static void turn(struct supervisor *s)
{
	struct pollfd p[SLOT_COUNT];

	fill_slots(s, p);
	if (poll(p, SLOT_COUNT, time_left(s, clock_now_ms())) < 0)
		return; /* EINTR: look again */

	if (p[SLOT_PORT].revents != 0)
		on_port(s, p[SLOT_PORT].revents);
	outlet_flush(s->outlet);
	if (p[SLOT_INPUT].revents != 0 || s->input.is_ended)
		input_flush(&s->input);
	if (p[SLOT_RELAY_PORT].revents != 0 || p[SLOT_RELAY_SOCKET].revents != 0 ||
	    clock_now_ms() >= s->relay.retry_ms)
		relay_pump(&s->relay, p[SLOT_RELAY_PORT].revents & POLLHUP, clock_now_ms());
	for (int i = 0; i < SOURCE_COUNT; i++) {
		if (p[i].revents != 0)
			pump(s, &s->sources[i]);
	}
	if (p[SLOT_SIGNAL].revents != 0)
		reap(s);
	if (clock_now_ms() >= s->deadline.kill_ms) {
		(void)kill(-s->command_pid, SIGKILL); /* as above */
		s->deadline.kill_ms = INT64_MAX;
	}
}

void supervisor_run(struct supervisor *s)
{
	while (s->stage != STAGE_DONE) {
		turn(s);
		if (s->stage == STAGE_DRAIN)
			drain(s);
		else if (s->stage == STAGE_ACK)
			await_ack(s);
	}
}

/* -- life
 * ------------------------------------------------------------------------------------------------------
 */

static uint8_t *grow_storage(void *ctx, uint8_t *storage, size_t need)
{
	(void)ctx;
	return realloc(storage, need);
}

static int open_signal_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) /* NOLINT(concurrency-mt-unsafe): one thread */
		return -errno;
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int supervisor_init(struct supervisor *s, struct outlet *outlet, const struct supervisor_fds *fds,
		    const struct frame_exit *exit)
{
	*s = (struct supervisor){
		.outlet = outlet,
		.command_pid = -1,
		.sources = {
			[SOURCE_STDOUT] = { -1, pump_stdout, .has_end = true },
			[SOURCE_STDERR] = { -1, pump_stderr, .has_end = true },
			[SOURCE_CRASH] = { fds->crash_fd, pump_crash },
			[SOURCE_MESSAGES] = { -1, pump_messages, .has_end = true },
			[SOURCE_KMSG] = { fds->kmsg_fd, pump_kmsg },
		},
		.input = INPUT_INIT,
		.exit = *exit,
		.deadline = { INT64_MAX, INT64_MAX, INT64_MAX },
	};
	relay_init(&s->relay, fds->relay_port_fd, fds->relay_path, clock_now_ms());
	start_drain(s);

	s->signal_fd = open_signal_fd();
	if (s->signal_fd < 0)
		return s->signal_fd;
	uint8_t *storage = malloc(STORAGE_MIN);
	if (storage == NULL)
		return -ENOMEM;
	frame_decoder_init(&s->decoder, storage, STORAGE_MIN, grow_storage, NULL);
	return 0;
}

void supervisor_watch(struct supervisor *s, struct command *command, const char *program)
{
	s->stage = STAGE_RUN;
	s->deadline.drain_ms = INT64_MAX;
	s->command_pid = command->pid;
	s->program = program;
	s->sources[SOURCE_STDOUT].fd = TAKE_FD(command->stdout_fd);
	s->sources[SOURCE_STDERR].fd = TAKE_FD(command->stderr_fd);
	s->sources[SOURCE_MESSAGES].fd = TAKE_FD(command->message_fd);
	input_init(&s->input, TAKE_FD(command->stdin_fd));
}

void supervisor_fini(struct supervisor *s)
{
	for (int i = 0; i < SOURCE_COUNT; i++) {
		if (s->sources[i].fd >= 0)
			close(s->sources[i].fd);
		s->sources[i].fd = -1;
	}
	input_fini(&s->input);
	relay_fini(&s->relay);
	if (s->signal_fd >= 0)
		close(s->signal_fd);
	s->signal_fd = -1;
	free(s->decoder.storage);
	s->decoder.storage = NULL;
}
