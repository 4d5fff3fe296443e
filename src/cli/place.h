/*
 * The place of `ktstr run` on the host: found, waited for and told about. One at a time, before there is a VM process; the thread that
 * calls is its own reactor's.
 */
#pragma once

#include "cli/placement_options.h"
#include "cli/run_result.h"
#include "harness/cgroup.h"

struct place {
	struct reservation_host host;
	struct plan_request request;
	struct reservation reservation;
	struct cgroup cgroup; /* of a budget or performance run */
	int *lock_fds;
	size_t n_lock_fds;
	bool is_taken;
	int signal; /* ended the wait */
	uint64_t wait_ms;
	/* While it waits. */
	struct reactor *reactor;
	struct reactor_op notice;
	struct reactor_op signals;
	int signal_fd;
	int res;
};
#define PLACE_INIT                                                                                 \
	((struct place){ .host = RESERVATION_HOST_INIT, .cgroup = CGROUP_INIT, .signal_fd = -1 })

/* Early: whether this host can at all. Class skip or usage if not. */
MUST_CHECK int place_check(struct place *p, const struct placement_options *o,
			   const struct topology *topology, const char *cache_dir,
			   struct error *err);
/*
 * Takes it, or waits as long as the options say and tells whom for. 0 with p->signal set: SIGINT, SIGTERM or SIGHUP came first.
 */
MUST_CHECK int place_take(struct place *p, enum reactor_backend backend, struct error *err);
/* Of a VM that was started: what its place lacks, and what of the host will be seen in it. */
void place_note(const struct place *p, struct run_result *result);
/* What the VM is to know; NULL: it runs wherever this process may. */
const struct placement *place_placement(const struct place *p);
void place_fini(struct place *p); /* idempotent; after the VM process, if there was one */
