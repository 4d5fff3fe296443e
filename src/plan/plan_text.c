#include "plan/plan_text.h"

#include <stdio.h>

const char *plan_tier_name(enum plan_tier tier)
{
	static const char *const names[] = { [PLAN_DEFAULT] = "default",
					     [PLAN_BUDGET] = "budget",
					     [PLAN_PERFORMANCE] = "performance" };

	return names[tier];
}

/* The picture */

struct drawing {
	const struct host *host;
	const struct plan_holders *held;
	const struct plan *plan;
	const struct id_set *allowed;
};

static char sign_of(const struct drawing *d, uint32_t cpu)
{
	const struct plan_use *use = d->held ? &d->held->cpus[cpu] : NULL;
	const struct plan_use *llc = d->held ? &d->held->llcs[d->host->cpus[cpu].llc] : NULL;

	if (d->plan && d->plan->service_cpu == cpu)
		return 's';
	if (d->plan && id_set_has(&d->plan->cpus, cpu))
		return '#';
	if (use && (use->exclusive || llc->exclusive))
		return 'x';
	if (use && use->shared)
		return 'o';
	return id_set_has(d->allowed, cpu) ? '.' : '-';
}

/* Numbers of the LLC's CPUs as the kernel lists them. */
static void format_llc_cpus(const struct host *host, const struct host_llc *l, struct buf *to)
{
	struct id_set cpus = { 0 };

	for (uint32_t i = l->first; i < l->first + l->n; i++)
		id_set_add(&cpus, host->order[i]);
	id_set_format(&cpus, to);
}

static void draw_llc(const struct drawing *d, uint32_t idx, struct buf *to)
{
	const struct host *h = d->host;
	const struct host_llc *l = &h->llcs[idx];

	buf_printf(to, "  LLC %-3u ", idx);
	for (uint32_t i = l->first; i < l->first + l->n; i++) {
		bool is_new_core =
		    i > l->first && h->cpus[h->order[i]].core != h->cpus[h->order[i - 1]].core;
		if (is_new_core)
			buf_append_str(to, " ");
		buf_printf(to, "%c", sign_of(d, h->order[i]));
	}
	buf_append_str(to, "   CPUs ");
	format_llc_cpus(h, l, to);
	for (uint32_t i = 0; d->plan && i < d->plan->n_locks; i++)
		if (d->plan->locks[i].kind == PLAN_LOCK_LLC && d->plan->locks[i].id == idx)
			buf_append_str(to, d->plan->locks[i].exclusive ? "   locked"
								       : "   locked, shared");
	buf_append_str(to, "\n");
}

void plan_draw(const struct host *host, const struct plan_holders *held, const struct plan *plan,
	       const struct id_set *allowed, struct buf *to)
{
	const struct drawing d = { host, held, plan, allowed };

	for (uint32_t node = 0; node < host->n_nodes; node++) {
		buf_printf(to, "node %u", host->nodes[node].os_id);
		for (uint32_t other = 0; host->n_nodes > 1 && other < host->n_nodes; other++)
			buf_printf(to, "%s%u", other ? " " : "   distances ",
				   host_distance(host, node, other));
		buf_append_str(to, "\n");
		for (uint32_t i = 0; i < host->n_llcs; i++)
			if (host->llcs[i].node == node)
				draw_llc(&d, i, to);
	}
	buf_append_str(to, ". free");
	if (plan)
		buf_printf(to, "   # %s", plan->tier == PLAN_PERFORMANCE ? "a vCPU" : "planned");
	if (plan && plan->service_cpu != PLAN_NO_CPU)
		buf_append_str(to, "   s service");
	if (held)
		buf_append_str(to, "   x another's alone   o shared by others");
	buf_append_str(to, "   - not for this process\n");
}

/* Sentences */

static void describe_locks(const struct plan *p, struct buf *to)
{
	static const char *const kinds[] = { [PLAN_LOCK_LLC] = "LLC", [PLAN_LOCK_CPU] = "CPU" };

	for (int kind = PLAN_LOCK_LLC; kind <= PLAN_LOCK_CPU; kind++)
		for (int exclusive = 1; exclusive >= 0; exclusive--) {
			struct id_set ids = { 0 };
			for (uint32_t i = 0; i < p->n_locks; i++)
				if ((int)p->locks[i].kind == kind &&
				    p->locks[i].exclusive == (exclusive == 1))
					id_set_add(&ids, p->locks[i].id);
			if (id_set_is_empty(&ids))
				continue;
			buf_printf(to, "lock: %s ", kinds[kind]);
			id_set_format(&ids, to);
			buf_append_str(to, exclusive ? ", exclusive\n" : ", shared\n");
		}
}

static void describe_pins(const struct host *host, const struct plan *p, struct buf *to)
{
	uint32_t per_llc = p->n_vcpus / p->n_vllcs;

	for (uint32_t vllc = 0; vllc < p->n_vllcs; vllc++) {
		uint32_t llc = p->vllc_llcs[vllc];
		buf_printf(to, "pin: guest LLC %u on LLC %u (node %u): from vCPU %u on, on CPUs",
			   vllc, llc, host->nodes[host->llcs[llc].node].os_id, vllc * per_llc);
		for (uint32_t i = 0; i < per_llc; i++)
			buf_printf(to, "%c%u", i ? ',' : ' ', p->vcpu_cpus[vllc * per_llc + i]);
		buf_append_str(to, "\n");
	}
	buf_printf(to, "pin: the VM's other threads on CPU %u\n", p->service_cpu);
	if (!p->is_numa_aligned)
		buf_append_str(to, "NUMA: not aligned; this host has no node of its own, large "
				   "enough, for each node of the guest\n");
	if (!p->is_smt_aligned)
		buf_append_str(to, "SMT: not aligned; this host's LLCs have not enough cores with "
				   "the guest's number of threads\n");
}

void plan_describe(const struct host *host, const struct plan *p, struct buf *to)
{
	describe_locks(p, to);
	if (p->tier == PLAN_PERFORMANCE) {
		describe_pins(host, p, to);
	} else {
		buf_printf(to, "run: %u vCPUs on %u CPUs: ", p->n_vcpus, p->n_cpus);
		id_set_format(&p->cpus, to);
		if (p->n_vcpus > p->n_cpus)
			buf_printf(to, " (%.1f vCPUs for each: times inside are the host's, too)",
				   (double)p->n_vcpus / p->n_cpus);
		buf_append_str(to, "\n");
	}
	buf_append_str(to, "memory: node ");
	id_set_format(&p->mems, to);
	buf_append_str(to, "\n");
}

/* Why */

static void explain_tier(const struct plan_request *r, struct buf *to)
{
	switch (r->tier) {
	case PLAN_PERFORMANCE:
		buf_printf(to,
			   "why: %u LLCs of at least %u CPUs that nobody uses, and a CPU for "
			   "service; ",
			   r->guest.n_llcs, plan_guest_llc_cpus(&r->guest));
		buf_append_str(to, "a node for each node of the guest and siblings on siblings if "
				   "the host has them\n");
		break;
	case PLAN_BUDGET:
		buf_append_str(to, "why: the CPUs with the fewest users that nobody has alone; of "
				   "equals those of one LLC, else of one node, else the nearest; ");
		buf_append_str(to, r->spread ? "LLCs that nobody uses first\n"
					     : "LLCs in use first, so that whole ones stay free\n");
		break;
	case PLAN_DEFAULT:
		buf_append_str(to, "why: CPUs that nobody uses, outside of LLCs that somebody has "
				   "alone; of one LLC if possible, else of one node, else the "
				   "nearest\n");
		break;
	}
	buf_printf(to, "why: of equal LLCs the search begins at number %u (offset)\n", r->offset);
}

static uint32_t n_allowed_in(const struct host *host, const struct id_set *allowed, uint32_t llc)
{
	const struct host_llc *l = &host->llcs[llc];
	uint32_t n = 0;

	for (uint32_t i = l->first; i < l->first + l->n; i++)
		n += id_set_has(allowed, host->order[i]);
	return n;
}

static uint32_t n_unused_in(const struct host *host, const struct plan_holders *held,
			    const struct id_set *allowed, uint32_t llc)
{
	const struct host_llc *l = &host->llcs[llc];
	uint32_t n = 0;

	for (uint32_t i = l->first; i < l->first + l->n; i++) {
		const struct plan_use *use = &held->cpus[host->order[i]];
		n += id_set_has(allowed, host->order[i]) && !use->exclusive && !use->shared;
	}
	return n;
}

static bool has_lock(const struct plan *p, uint32_t llc)
{
	for (uint32_t i = 0; p && i < p->n_locks; i++)
		if (p->locks[i].kind == PLAN_LOCK_LLC && p->locks[i].id == llc)
			return true;
	return false;
}

void plan_explain(const struct host *host, const struct plan_holders *held,
		  const struct plan_request *r, const struct plan *plan, struct buf *to)
{
	explain_tier(r, to);
	for (uint32_t i = 0; i < host->n_llcs; i++) {
		const struct plan_use *use = &held->llcs[i];
		uint32_t n = n_allowed_in(host, &r->allowed, i);
		buf_printf(to, "LLC %u: %u of %u CPUs allowed", i, n, host->llcs[i].n);
		if (use->exclusive)
			buf_append_str(to, ", somebody has it alone");
		else if (use->shared)
			buf_printf(to, ", %u use it, %u CPUs unused", use->shared,
				   n_unused_in(host, held, &r->allowed, i));
		if (r->tier == PLAN_PERFORMANCE && n < plan_guest_llc_cpus(&r->guest))
			buf_append_str(to, ", too few");
		buf_append_str(to, has_lock(plan, i) ? ": taken\n" : "\n");
	}
}
