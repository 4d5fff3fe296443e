/*
 * How a crash becomes a report, without a debugger in the guest and without slowing any program down:
 * the kernel itself starts a handler when a program dumps core.
 *
 *	program: SIGSEGV -> kernel: "|/init --core PID SIGNAL", core on its stdin
 *	-> core_handler.c reads the registers from the core's notes, the stack from /proc/PID/mem (the
 *	   program is still there), writes the text
 *	-> datagram to PID 1 -> the handler exits -> the kernel lets the program die -> SIGCHLD
 *
 * core_pipe_limit > 0 is what makes the kernel wait for the handler: so a report is here before the
 * exit status is. More crashes at the same time than that limit are not dumped, and known by their
 * signal only.
 */
#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi/guest_config.h"

static const struct {
	int signal;
	const char *name;
} signals[] = {
	{ SIGSEGV, "SIGSEGV" }, { SIGABRT, "SIGABRT" }, { SIGBUS, "SIGBUS" }, { SIGILL, "SIGILL" },
	{ SIGFPE, "SIGFPE" },   { SIGTRAP, "SIGTRAP" }, { SIGSYS, "SIGSYS" },
};

bool crash_is_signal(int signal)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		if (signals[i].signal == signal)
			return true;
	}
	return false;
}

const char *crash_signal_name(int signal)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		if (signals[i].signal == signal)
			return signals[i].name;
	}
	return "signal";
}

static int write_sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int res = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return res;
}

int crash_listen(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t n = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(CRASH_SOCKET_NAME);

	memcpy(address.sun_path + 1, CRASH_SOCKET_NAME, strlen(CRASH_SOCKET_NAME));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (bind(fd, (const struct sockaddr *)&address, n) < 0 ||
	    write_sysctl("/proc/sys/kernel/core_pipe_limit", "8") < 0 ||
	    write_sysctl("/proc/sys/kernel/core_pattern", "|" GUEST_INIT_PATH " --core %P %s") <
		0) {
		close(fd);
		return -1;
	}
	return fd;
}

int crash_receive(int fd, struct crash_report *ret, size_t *ret_text_len)
{
	ssize_t n = recv(fd, ret, sizeof(*ret), MSG_DONTWAIT);

	if (n < (ssize_t)offsetof(struct crash_report, text))
		return 0; /* nothing, or a stranger's */
	*ret_text_len = (size_t)n - offsetof(struct crash_report, text);
	return 1;
}
