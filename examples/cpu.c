#include "cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t read_clock(clockid_t clock)
{
	struct timespec t = { 0 };

	(void)clock_gettime(clock, &t); /* these clocks are always there */
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

double cpu_seconds(void)
{
	return (double)read_clock(CLOCK_PROCESS_CPUTIME_ID) / 1e9;
}

bool pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0;
}

void spin_until(uint64_t until_ns)
{
	while (now_ns() < until_ns)
		;
}

pid_t start_child(void (*body)(void *arg), void *arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		body(arg);
		_exit(0);
	}
	return pid;
}

bool end_of_child(pid_t pid, double *ret_cpu_s)
{
	struct rusage usage;
	int status;
	pid_t got;

	do {
		got = wait4(pid, &status, 0, &usage);
	} while (got < 0 && errno == EINTR);
	if (got != pid)
		return false;
	if (ret_cpu_s)
		*ret_cpu_s = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
			     (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

double stolen_seconds(int cpu)
{
	enum { STEAL = 8 }; /* its place behind the name, from 1: proc(5) */
	char text[16384], name[16];
	unsigned long long ticks = 0;

	(void)snprintf(name, sizeof(name), "\ncpu%d ", cpu);
	if (!read_file("/proc/stat", text, sizeof(text)))
		return -1;
	char *p = strstr(text, name);
	if (!p)
		return -1;
	p += strlen(name);
	for (int i = 0; i < STEAL; i++)
		ticks = strtoull(p, &p, 10);
	return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

bool read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t got = -1;

	if (fd < 0)
		return false;
	while (n < size - 1 && (got = read(fd, text + n, size - 1 - n)) > 0)
		n += (size_t)got;
	int saved = errno;
	close(fd);
	errno = saved;
	if (n > 0 && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return got >= 0;
}

bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	bool is_good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	int saved = errno;
	close(fd);
	errno = saved;
	return is_good;
}
