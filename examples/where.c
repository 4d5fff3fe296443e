/* Where tasks may run: what sched_setaffinity and a cpuset allow, and nowhere else. */
#include <ktstr.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu.h"

#define CGROUP "/sys/fs/cgroup"
#define SET    CGROUP "/ktstr-example"

enum { SPIN_MS = 300 };

/* Burns time for a while; false as soon as it finds itself on another CPU than @cpu. */
static bool stays_on(int cpu)
{
	uint64_t until = now_ns() + SPIN_MS * 1000000ull;

	while (now_ns() < until)
		if (sched_getcpu() != cpu)
			return false;
	return true;
}

static void affinity(struct ktstr *t)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	for (int cpu = 0; cpu < n; cpu++) {
		if (!KTSTR_CHECK(t, pin_to(cpu), "sched_setaffinity to CPU %d: %m", cpu))
			return;
		KTSTR_CHECK(t, stays_on(cpu), "pinned to CPU %d, found on %d", cpu, sched_getcpu());
	}
}

struct member {
	struct ktstr *t;
	int cpu;
};

/* A child: joins the set, asks for every CPU there is, and must still stay on the one of the set. */
static void be_member(void *arg)
{
	const struct member *m = arg;
	cpu_set_t all;
	char pid[16];

	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (!KTSTR_CHECK(m->t, write_file(SET "/cgroup.procs", pid), "join " SET ": %m"))
		return;
	CPU_ZERO(&all);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		CPU_SET(cpu, &all);
	(void)sched_setaffinity(0, sizeof(all), &all); /* the kernel cuts it down to the set */
	KTSTR_CHECK(m->t, stays_on(m->cpu), "a member of the set of CPU %d is on CPU %d", m->cpu,
		    sched_getcpu());
}

static void use_set(struct ktstr *t, int cpu)
{
	struct member m = { t, cpu };
	char list[16], effective[64];
	pid_t pids[2];

	(void)snprintf(list, sizeof(list), "%d", cpu);
	if (!KTSTR_CHECK(t, write_file(SET "/cpuset.cpus", list), "set cpuset.cpus to %s: %m",
			 list))
		return;
	KTSTR_CHECK(t, read_file(SET "/cpuset.cpus.effective", effective, sizeof(effective)),
		    "read cpuset.cpus.effective: %m");
	KTSTR_CHECK(t, strcmp(effective, list) == 0, "cpuset.cpus.effective is '%s', not '%s'",
		    effective, list);
	for (size_t i = 0; i < 2; i++)
		pids[i] = start_child(be_member, &m);
	for (size_t i = 0; i < 2; i++)
		KTSTR_CHECK(t, pids[i] > 0 && end_of_child(pids[i], NULL),
			    "a member of the set did not end well");
}

static void cpuset(struct ktstr *t)
{
	long last = sysconf(_SC_NPROCESSORS_ONLN) - 1;
	char controllers[512];

	if (!read_file(CGROUP "/cgroup.controllers", controllers, sizeof(controllers)) ||
	    !strstr(controllers, "cpuset")) {
		ktstr_skip(t, "there is no cgroup v2 with the cpuset controller");
		return;
	}
	if (!KTSTR_CHECK(t, write_file(CGROUP "/cgroup.subtree_control", "+cpuset"),
			 "enable cpuset: %m"))
		return;
	if (!KTSTR_CHECK(t, mkdir(SET, 0755) == 0 || errno == EEXIST, "mkdir " SET ": %m"))
		return;
	use_set(t, (int)last);
	KTSTR_CHECK(t, rmdir(SET) == 0, "rmdir " SET ": %m");
}

static const struct ktstr_test tests[] = {
	{ .name = "affinity",
	  .run = affinity,
	  .summary = "a pinned task stays on its CPU",
	  .topology = "1,1,2,1" },
	{ .name = "cpuset",
	  .run = cpuset,
	  .summary = "tasks in a cpuset stay on its CPU, whatever they ask for",
	  .topology = "1,1,2,1",
	  .vm_only = true }, /* it changes the machine's root cgroup */
	{ 0 },
};

int main(int argc, char **argv)
{
	return ktstr_main(argc, argv, tests);
}
