/*
 * A process of its own, started by the kernel beside PID 1 while the program that dies is held
 * where it is. It reads the core's head only; the kernel gives up writing the rest when this
 * process ends. Nothing here can hurt PID 1: sizes are bounded, and if it dies itself the kernel
 * starts no handler for it and the crash is known by its signal.
 */
#include "core_handler.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backtrace.h"
#include "crash.h"
#include "maps.h"

struct text {
	char *p;
	size_t n;
	size_t capacity;
};

static void PRINTF_LIKE(2, 3) add(struct text *t, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	// NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is the line before
	int used = vsnprintf(t->p + t->n, t->capacity - t->n, fmt, args);
	va_end(args);
	if (used > 0)
		t->n += (size_t)used < t->capacity - t->n ? (size_t)used : t->capacity - t->n - 1;
}

static void add_program(struct text *t, pid_t pid)
{
	char link[32];
	char path[256];

	(void)snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n < 0) {
		add(t, "process %d", (int)pid);
		return;
	}
	path[n] = '\0';
	add(t, "%s[%d]", path, (int)pid);
}

static void add_backtrace(struct text *t, pid_t pid, const struct core *core)
{
	char path[32];
	struct maps maps = { 0 };
	struct backtrace_entry entries[BACKTRACE_MAX];

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *in = fopen(path, "re");
	if (in != NULL) {
		maps_read(in, &maps);
		(void)fclose(in); /* it was only read */
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	int mem_fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = backtrace_walk(&core->regs, mem_fd, &maps, entries);
	for (size_t i = 0; i < n; i++) {
		if (t->capacity - t->n > 1)
			t->n += backtrace_format(&entries[i], i, &maps, t->p + t->n,
						 t->capacity - t->n);
	}
	if (mem_fd >= 0)
		close(mem_fd);
}

size_t core_handler_format(pid_t pid, int signal, const struct core *core, char *out, size_t n)
{
	char *begin = out;
	struct text t = { .p = begin, .capacity = n };

	add_program(&t, pid);
	add(&t, " died by %s", crash_signal_name(signal));
	if (core == NULL) {
		add(&t, " (its core could not be read)\n");
		return t.n;
	}
	if (core->has_fault_addr)
		add(&t, " at address 0x%llx", (unsigned long long)core->fault_addr);
	add(&t, ", ip 0x%llx\n", (unsigned long long)core->regs.ip);
	add_backtrace(&t, pid, core);
	return t.n;
}

static int send_report(const struct crash_report *report, size_t n)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(CRASH_SOCKET_NAME);

	memcpy(address.sun_path + 1, CRASH_SOCKET_NAME, strlen(CRASH_SOCKET_NAME));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 1;
	/* Waits while PID 1 is behind: the program is held meanwhile, and so is a flood of crashes.
	 */
	ssize_t sent = sendto(fd, report, offsetof(struct crash_report, text) + n, 0,
			      (const struct sockaddr *)&address, size);
	close(fd);
	return sent < 0;
}

int core_handler_main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	struct crash_report report = {
		.pid = (int32_t)strtol(argv[2], NULL, 10),
		.signal = (int32_t)strtol(argv[3], NULL, 10),
	};
	if (!crash_is_signal(report.signal))
		return 0;

	struct core core;
	bool has_core = core_read(STDIN_FILENO, &core);
	size_t n = core_handler_format(report.pid, report.signal, has_core ? &core : NULL,
				       report.text, sizeof(report.text));
	return send_report(&report, n);
}
