/*
 * Async-signal-safe throughout: open, write, reboot, and arithmetic. The chain of frame pointers is
 * walked within the stack's neighbourhood only (this program is built with frame pointers); the
 * addresses are those of the unrelocated static binary, so addr2line takes them as they are.
 */
#include "own_crash.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <ucontext.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "console.h"
#include "crash.h"
#include "regs.h"

enum {
	DEPTH_MAX = 24,
	STACK_SPAN = 4 * 1024 * 1024,
};

struct text {
	char *p;
	size_t n;
	size_t capacity;
};

static void add(struct text *t, const char *s)
{
	for (; *s != '\0' && t->n < t->capacity; s++)
		t->p[t->n++] = *s;
}

static void add_hex(struct text *t, uint64_t value)
{
	char digits[19];
	size_t i = sizeof(digits);

	digits[--i] = '\0';
	do {
		digits[--i] = "0123456789abcdef"[value & 15];
		value >>= 4;
	} while (value != 0);
	digits[--i] = 'x';
	digits[--i] = '0';
	add(t, digits + i);
}

size_t own_crash_format(const siginfo_t *info, const void *context, char *out, size_t n)
{
	char *begin = out;
	struct text t = { .p = begin, .capacity = n };
	const struct core_regs regs = regs_of_signal(context);

	add(&t, "\n" GUEST_SENTINEL_PANIC "ktstr-init died by ");
	add(&t, crash_signal_name(info->si_signo));
	if (info->si_code > 0) { /* else somebody sent it, and there is no address */
		add(&t, " at address ");
		add_hex(&t, (uintptr_t)info->si_addr);
	}
	add(&t, "\n  ");
	add_hex(&t, regs.ip);
	uint64_t fp = regs.fp;
	for (int i = 0; i < DEPTH_MAX; i++) {
		uint64_t frame[2];
		/* Upwards only, aligned, and not far from the stack pointer. */
		if (fp % 8 != 0 || fp < regs.sp || fp - regs.sp > STACK_SPAN)
			break;
		memcpy(frame, (const void *)(uintptr_t)fp, sizeof(frame));
		if (frame[1] == 0)
			break;
		add(&t, "\n  ");
		add_hex(&t, frame[1]);
		if (frame[0] <= fp)
			break;
		fp = frame[0];
	}
	add(&t, "\n");
	return t.n;
}

static void write_to(const char *path, const char *text, size_t n)
{
	int fd = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	if (fcntl(fd, F_SETFL, 0) == 0)
		console_write(fd, text, n);
	console_drain(fd);
	close(fd);
}

static void on_fatal_signal(int signal, siginfo_t *info, void *context)
{
	(void)signal; /* @info has it */
	char text[1024];
	size_t n = own_crash_format(info, context, text, sizeof(text));

	write_to(CONSOLE_COM2_PATH, text, n);
	write_to("/dev/console", text, n);
	(void)reboot(RB_AUTOBOOT); /* a reset without EXIT is a crash to the host */
	_exit(1);
}

void own_crash_install(void *stack)
{
	const stack_t alternate = { .ss_sp = stack, .ss_size = OWN_CRASH_STACK_SIZE };
	struct sigaction action = {
		.sa_sigaction = on_fatal_signal,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND,
	};
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

	sigfillset(&action.sa_mask);
	/* Neither can fail with these arguments; without them a crash is the kernel's panic. */
	(void)sigaltstack(&alternate, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		(void)sigaction(fatal[i], &action, NULL);
}
