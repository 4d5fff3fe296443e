/*
 * Where a host comes from: this machine, an hwloc XML file, an hwloc synthetic description. The same code reads all three,
 * and the planner cannot tell them apart.
 *
 * An LLC is the L3 of a CPU, else its L2, else its package.
 */
#pragma once

#include "plan/host.h"

/*
 * One per process. host_source_get discovers at its first call and keeps the host; a failure is not kept, so the next call
 * tries again. Owner: one thread. {0} is this machine.
 */
struct host_source {
	/*
	 * NULL: this machine. With a slash in it or with the ending ".xml": a file that `lstopo FILE.xml` wrote. Else synthetic,
	 * as lstopo(1) has it: "numa:2 l3:2 core:4 pu:2". Borrowed.
	 */
	const char *spec;
	/* Of this machine: a file in which the host is looked for first, and left for others (host_cache.h). NULL: none. Borrowed. */
	const char *cache_path;
	struct host *host;
};

MUST_CHECK int host_source_get(struct host_source *s, const struct host **ret, struct error *err);
void host_source_fini(struct host_source *s);

/*
 * The CPUs that the calling thread may run on: sched_getaffinity, else Cpus_allowed_list of @status_path (NULL:
 * /proc/self/status). Neither: an error, for a guess would be CPUs that are somebody else's.
 */
MUST_CHECK int host_read_allowed(const char *status_path, struct id_set *ret, struct error *err);
/* The Cpus_allowed_list of such a file. */
MUST_CHECK int host_parse_status(const char *status, struct id_set *ret);
