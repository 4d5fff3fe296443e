#include "cli/batch_place.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "base/assert.h"

enum { CGROUP_CLOSE_MS = 200 };

bool batch_place_is_promised(const struct batch_place *p)
{
	return p->reservation.plan->tier != PLAN_DEFAULT;
}

static int open_cgroup(struct batch_place *p, uint32_t seq, struct error *err)
{
	const struct cgroup_request request = cgroup_request_of(&p->reservation.placement);

	return cgroup_open(&p->cgroup, &request, seq, err);
}

int batch_place_taken(struct batch_place *p, uint32_t cgroup_seq, struct error *err)
{
	const struct placement *place = &p->reservation.placement;
	CLEANUP(buf_fini) struct buf text = { 0 };

	id_set_format(&place->cpus, &text);
	p->cpus = xstrdup(buf_str(&text));
	if (place->n_vcpu_cpus)
		p->overcommit = (double)place->n_vcpus / place->n_vcpu_cpus;
	return cgroup_seq && batch_place_is_promised(p) ? open_cgroup(p, cgroup_seq, err) : 0;
}

int batch_place_keep(const struct batch_place *p, pid_t pid, struct error *err)
{
	const struct id_set *cpus = &p->reservation.placement.cpus;

	if (!id_set_is_empty(cpus) &&
	    sched_setaffinity(pid, sizeof(cpus->words), id_set_cpus(cpus)) < 0)
		return error_set(err, errno, "the CPUs of the VM process");
	return 0;
}

void batch_place_give_up(struct batch_place *p)
{
	if (p->has_reservation)
		reservation_fini(&p->reservation);
	p->has_reservation = false;
}

void batch_place_fini(struct batch_place *p)
{
	ASSERT(!p->has_reservation);
	(void)cgroup_close(&p->cgroup, CGROUP_CLOSE_MS); /* else the next sweep takes it */
	freep(&p->cpus);
}
