#include "plan/plan_placement.h"

#include <stdlib.h>

#include "base/assert.h"

static uint32_t node_os_id(const struct host *host, uint32_t cpu)
{
	return host->nodes[host->cpus[cpu].node].os_id;
}

/* Each guest node's memory comes from where its vCPUs run; a node without any, from wherever the others' does. */
static void bind_nodes(const struct host *host, const struct plan_guest *guest,
		       const struct plan *plan, struct placement *p)
{
	uint32_t llc_cpus = plan_guest_llc_cpus(guest);
	uint32_t vcpu = 0;

	p->n_nodes = guest->n_nodes;
	p->node_mems = xcalloc(p->n_nodes, sizeof(*p->node_mems));
	for (uint32_t node = 0; node < guest->n_nodes; node++) {
		uint32_t end = vcpu + guest->node_llcs[node] * llc_cpus;
		for (; vcpu < end; vcpu++)
			id_set_add(&p->node_mems[node], node_os_id(host, plan->vcpu_cpus[vcpu]));
		if (guest->node_llcs[node] == 0)
			p->node_mems[node] = plan->mems;
	}
	ASSERT(vcpu == plan->n_vcpus);
}

static void pin(const struct host *host, const struct plan_guest *guest, const struct plan *plan,
		struct placement *p)
{
	p->is_performance = true;
	p->service_cpu = plan->service_cpu;
	id_set_add(&p->cpus, plan->service_cpu);
	id_set_add(&p->mems, node_os_id(host, plan->service_cpu));
	p->vcpu_cpus = xcalloc(plan->n_vcpus, sizeof(*p->vcpu_cpus));
	for (uint32_t i = 0; i < plan->n_vcpus; i++)
		p->vcpu_cpus[i] = plan->vcpu_cpus[i];
	bind_nodes(host, guest, plan, p);
}

struct placement plan_placement(const struct host *host, const struct plan_request *request,
				const struct plan *plan)
{
	struct placement p = { .cpus = plan->cpus,
			       .mems = plan->mems,
			       .n_vcpus = plan->n_vcpus,
			       .n_vcpu_cpus = plan->n_cpus };

	if (plan->tier == PLAN_PERFORMANCE)
		pin(host, &request->guest, plan, &p);
	return p;
}

/* Caveats */

static void add_overcommit(const struct plan_request *request, const struct plan *plan,
			   struct buf *to)
{
	double factor = (double)plan->n_vcpus / plan->n_cpus;

	if (request->budget == PLAN_BUDGET_AUTO)
		buf_printf(to,
			   "warning: nobody asked for it, but %u vCPUs share %u CPUs (%.1f to 1), "
			   "because this process may use no more of them: allow it more (affinity, "
			   "cgroup) or make --topology smaller. ",
			   plan->n_vcpus, plan->n_cpus, factor);
	else
		buf_printf(to, "%u vCPUs share %u CPUs (%.1f to 1), as the CPU budget says. ",
			   plan->n_vcpus, plan->n_cpus, factor);
	buf_printf(to,
		   "The host makes them take turns: work done falls to about 1/%.1f, run delays, "
		   "wake-up latencies and gaps are the host's, and a scheduler watchdog of 5 s or "
		   "less may fire for no fault of the scheduler\n",
		   factor);
}

static void add_nodes(const struct plan *plan, struct buf *to)
{
	buf_append_str(to, "the CPUs are on several NUMA nodes (");
	id_set_format(&plan->mems, to);
	buf_append_str(to, "): memory that the guest takes for near may be far\n");
}

void plan_caveats(const struct plan_request *request, const struct plan *plan, struct buf *to)
{
	if (plan->n_vcpus > plan->n_cpus)
		add_overcommit(request, plan, to);
	if (plan->tier != PLAN_PERFORMANCE) {
		if (id_set_count(&plan->mems) > 1)
			add_nodes(plan, to);
		return;
	}
	if (!plan->is_numa_aligned)
		buf_append_str(to, "the guest's NUMA nodes are not nodes of this host: its "
				   "distances and memory latencies are not real ones\n");
	if (!plan->is_smt_aligned)
		buf_append_str(to, "the guest's cores are not cores of this host: vCPUs that it "
				   "takes for siblings may be none, and others may be\n");
}
