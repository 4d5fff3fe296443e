/*
 * The place of one test of a batch: its reservation, the cgroup of a test that asks for CPUs (`cpu_cap`, `perf`), and how its VM
 * process comes to be there and nowhere else.
 */
#pragma once

#include "harness/cgroup.h"
#include "harness/reservation.h"

struct batch_place {
	struct reservation reservation;
	bool has_reservation;
	struct cgroup cgroup;
	char *cpus;        /* "0-3,8", as it was taken; stays when it is given up */
	double overcommit; /* vCPUs per CPU of this VM alone */
};
#define BATCH_PLACE_INIT ((struct batch_place){ .cgroup = CGROUP_INIT })

/* The reservation is there. @cgroup_seq: as of cgroup_open; 0: this host gives none. Less than one is cgroup.note. */
MUST_CHECK int batch_place_taken(struct batch_place *p, uint32_t cgroup_seq, struct error *err);
/* A VM of performance mode, or with a budget of CPUs: promised, so its vCPUs wait until all was verified. */
bool batch_place_is_promised(const struct batch_place *p);
/* Before the VM process has read its configuration: it does not disturb others until it places itself. */
MUST_CHECK int batch_place_keep(const struct batch_place *p, pid_t pid, struct error *err);
/* Our share of the locks; the VM process has its own, until it has taken the VM down. */
void batch_place_give_up(struct batch_place *p);
/* When the VM process is gone. Idempotent. */
void batch_place_fini(struct batch_place *p);
