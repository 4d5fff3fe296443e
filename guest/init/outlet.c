/* Port 1 while it lasts, then COM2. */
#include "outlet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "console.h"

void outlet_init(struct outlet *o, int port_fd, const char *com2_path)
{
	*o = (struct outlet){ .com2_path = com2_path, .com2_fd = -1, .on_com2 = port_fd < 0 };
	channel_init(&o->channel, port_fd);
}

void outlet_fini(struct outlet *o)
{
	channel_fini(&o->channel);
	if (o->com2_fd >= 0)
		close(o->com2_fd);
	o->com2_fd = -1;
}

/* COM2, opened at the first word that needs it; -1: this machine has none, the text is lost. */
static int com2(struct outlet *o)
{
	if (o->com2_fd < 0 && o->com2_path != NULL) {
		int fd = console_open(o->com2_path);
		if (fd < 0)
			o->com2_path = NULL; /* do not try again at each line */
		else
			o->com2_fd = fd;
	}
	return o->com2_fd;
}

static void write_text(int fd, const char *before, const void *text, size_t n, const char *after)
{
	console_write(fd, before, strlen(before));
	console_write(fd, text, n);
	console_write(fd, after, strlen(after));
}

static void write_exit(int fd, const void *payload, size_t n)
{
	struct frame_exit e = { 0 };
	char line[64];
	int status = 1;

	if (n == sizeof(e))
		memcpy(&e, payload, n);
	switch ((enum frame_exit_kind)e.kind) {
	case EXIT_STATUS:
		status = e.value;
		break;
	case EXIT_SIGNAL:
		status = 128 + e.value;
		break;
	case EXIT_NOT_FOUND:
		status = 127;
		break;
	case EXIT_NOT_EXEC:
		status = 126;
		break;
	case EXIT_INIT: /* KTSTR_INIT_ERROR went before */
		status = 1;
		break;
	}
	int len = snprintf(line, sizeof(line), "\n" GUEST_SENTINEL_EXIT "%d\n", status);
	console_write(fd, line, (size_t)len);
	console_drain(fd);
}

static void send_text(struct outlet *o, uint16_t type, const void *payload, size_t n)
{
	int fd = com2(o);
	if (fd < 0)
		return;

	switch (type) {
	case FRAME_STDOUT:
	case FRAME_STDERR:
		console_write(fd, payload, n);
		break;
	case FRAME_TEST_RESULT:
		write_text(fd, "\n" GUEST_SENTINEL_START "\n", payload, n,
			   "\n" GUEST_SENTINEL_END "\n");
		break;
	case FRAME_CRASH:
		write_text(fd, "\n" GUEST_SENTINEL_PANIC, payload, n, "\n");
		break;
	case FRAME_INIT_ERROR:
		write_text(fd, "\n" GUEST_SENTINEL_INIT, payload, n, "\n");
		break;
	case FRAME_EXIT:
		write_exit(fd, payload, n);
		break;
	default: /* a byte costs an exit here: metrics, phases and the kernel log stay out */
		break;
	}
}

void outlet_send(struct outlet *o, uint16_t type, const void *payload, size_t n)
{
	if (o->on_com2) {
		send_text(o, type, payload, n);
		return;
	}
	int res = channel_push(&o->channel, type, payload, n);
	if (res < 0)
		outlet_say(o, "a frame of %zu bytes could not be sent: %s", n,
			   strerrordesc_np(-res));
	outlet_flush(o);
}

void outlet_phase(struct outlet *o, uint32_t phase, uint64_t time_ns)
{
	const struct frame_phase p = { .phase = phase, .time_ns = time_ns };

	outlet_send(o, FRAME_PHASE, &p, sizeof(p));
}

void outlet_say(struct outlet *o, const char *fmt, ...)
{
	char line[512];
	va_list args;

	int used = snprintf(line, sizeof(line), GUEST_INIT_SAYS);
	va_start(args, fmt);
	// NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is the line before
	(void)vsnprintf(line + used, sizeof(line) - (size_t)used - 1, fmt, args);
	va_end(args);
	size_t n = strlen(line);
	line[n++] = '\n';

	if (o->on_com2)
		send_text(o, FRAME_STDERR, line, n);
	else
		(void)!channel_push(&o->channel, FRAME_STDERR, line, n); /* no memory, no words */
}

void outlet_flush(struct outlet *o)
{
	size_t lost = 0;

	if (o->on_com2)
		return;
	int res = channel_flush(&o->channel, &lost);
	if (res < 0) {
		o->on_com2 = true;
		outlet_say(o, "port 1: %s; %zu bytes were lost with it", strerrordesc_np(-res),
			   lost);
	}
}

void outlet_lose_port(struct outlet *o)
{
	if (o->on_com2)
		return;
	size_t lost = channel_close(&o->channel);
	o->on_com2 = true;
	outlet_say(o, "port 1: closed by the host; %zu bytes were lost with it", lost);
}
