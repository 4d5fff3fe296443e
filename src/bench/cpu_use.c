/* See cpu_use.h. */
#include "bench/cpu_use.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "bench/spawn.h"

enum { PATH_SIZE = 320, LINE_SIZE = 128, STAT_MAX = 4 << 20 };

static bool is_vcpu(pid_t pid, const char *tid)
{
	char path[PATH_SIZE], name[LINE_SIZE];

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", (int)pid, tid);
	if (file_read_line(path, name, sizeof(name)) < 0)
		return false;
	return strncmp(name, "vcpu", 4) == 0 || strncmp(name, "CPU ", 4) == 0;
}

/* The first number of schedstat: nanoseconds on a CPU. */
static double thread_ms(pid_t pid, const char *tid)
{
	char path[PATH_SIZE], line[LINE_SIZE];

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, tid);
	if (file_read_line(path, line, sizeof(line)) < 0)
		return NAN;
	return strtod(line, NULL) / 1e6;
}

void cpu_use_read(pid_t pid, struct cpu_use *ret)
{
	char path[64];
	bool found = false;

	*ret = (struct cpu_use){ .all_ms = spawn_process_cpu_ms(pid) };
	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (e->d_name[0] == '.' || !is_vcpu(pid, e->d_name))
			continue;
		ret->vcpus_ms += thread_ms(pid, e->d_name);
		found = true;
	}
	if (dir)
		(void)closedir(dir);
	if (!found)
		ret->vcpus_ms = NAN;
}

double cpu_use_idle_s(const struct id_set *cpus)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	unsigned long long idle, waiting;
	double ticks = 0;
	struct error unused;
	unsigned cpu;

	if (file_read("/proc/stat", STAT_MAX, &text, &unused) < 0)
		return NAN;
	/* "cpu3 USER NICE SYSTEM IDLE IOWAIT ...", behind the line of their sums. */
	for (const char *p = buf_str(&text); (p = strstr(p, "\ncpu")); p++) {
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
		int n = sscanf(p, "\ncpu%u %*u %*u %*u %llu %llu", &cpu, &idle, &waiting);
		if (n == 3 && id_set_has(cpus, cpu))
			ticks += (double)(idle + waiting);
	}
	return ticks / (double)sysconf(_SC_CLK_TCK);
}
