/* The machine is the one that the test asked for: how many CPUs there are, and who shares what with whom. */
#include <ktstr.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"

static long n_declared(const struct ktstr_topology *want)
{
	return (long)want->llcs * want->cores_per_llc * want->threads_per_core;
}

static void cpu_count(struct ktstr *t)
{
	struct ktstr_topology want = ktstr_topology(t);
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	KTSTR_CHECK(t, online == n_declared(&want), "%ld CPUs are online, %ld were asked for",
		    online, n_declared(&want));
}

/* How many CPUs a list such as "0-3,8" of sysfs has; -1: the file cannot be read. */
static long cpus_in(const char *path)
{
	char text[4096], *p = text;
	long n = 0;

	if (!read_file(path, text, sizeof(text)))
		return -1;
	while (*p) {
		long first = strtol(p, &p, 10), last = first;
		if (*p == '-')
			last = strtol(p + 1, &p, 10);
		n += last - first + 1;
		if (*p)
			p++;
	}
	return n;
}

/* CPUs that share the last cache with @cpu: the widest of its caches. */
static long llc_width(long cpu)
{
	long widest = -1;

	for (int i = 0; i < 8; i++) {
		char path[128];
		(void)snprintf(path, sizeof(path),
			       "/sys/devices/system/cpu/cpu%ld/cache/index%d/shared_cpu_list", cpu,
			       i);
		long n = cpus_in(path);
		if (n > widest)
			widest = n;
	}
	return widest;
}

static void threads(struct ktstr *t, void *arg)
{
	const struct ktstr_topology *want = arg;

	for (long cpu = 0; cpu < n_declared(want); cpu++) {
		char path[128];
		(void)snprintf(path, sizeof(path),
			       "/sys/devices/system/cpu/cpu%ld/topology/thread_siblings_list", cpu);
		long n = cpus_in(path);
		KTSTR_CHECK(t, n == (long)want->threads_per_core,
			    "the core of CPU %ld has %ld threads, %u were asked for", cpu, n,
			    want->threads_per_core);
	}
}

static void caches(struct ktstr *t, void *arg)
{
	const struct ktstr_topology *want = arg;
	long per_llc = (long)want->cores_per_llc * want->threads_per_core;

	if (llc_width(0) < 0) {
		ktstr_skip(t, "this kernel shows no caches in sysfs");
		return;
	}
	for (long cpu = 0; cpu < n_declared(want); cpu++)
		KTSTR_CHECK(t, llc_width(cpu) == per_llc,
			    "%ld CPUs share the last cache of CPU %ld, %ld were asked for",
			    llc_width(cpu), cpu, per_llc);
}

static void nodes(struct ktstr *t, void *arg)
{
	const struct ktstr_topology *want = arg;
	long n = cpus_in("/sys/devices/system/node/online");

	if (n < 0) {
		ktstr_skip(t, "this kernel knows no NUMA");
		return;
	}
	KTSTR_CHECK(t, n == (long)want->nodes, "%ld nodes are online, %u were asked for", n,
		    want->nodes);
}

static void topology(struct ktstr *t)
{
	struct ktstr_topology want = ktstr_topology(t);

	ktstr_subtest(t, "threads", threads, &want);
	ktstr_subtest(t, "caches", caches, &want);
	ktstr_subtest(t, "nodes", nodes, &want);
}

static const struct ktstr_test tests[] = {
	{ .name = "cpu_count",
	  .run = cpu_count,
	  .summary = "as many CPUs are online as were asked for",
	  .topology = "1,2,2,1" },
	{ .name = "topology",
	  .run = topology,
	  .summary = "threads, caches and nodes are those that were asked for",
	  .topology = "1,2,2,1" },
	{ 0 },
};

int main(int argc, char **argv)
{
	return ktstr_main(argc, argv, tests);
}
