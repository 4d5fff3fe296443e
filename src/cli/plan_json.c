#include "cli/plan_json.h"

#include "base/buf.h"
#include "plan/plan_text.h"

enum { COMMAND_MAX = 4096 };

json_t *plan_json_set(const struct id_set *set)
{
	CLEANUP(buf_fini) struct buf text = { 0 };

	id_set_format(set, &text);
	return json_string(buf_str(&text));
}

static json_t *llc_json(const struct host *host, uint32_t idx)
{
	const struct host_llc *l = &host->llcs[idx];
	struct id_set cpus = { 0 };
	json_t *cores = json_array();
	json_t *core = NULL;

	for (uint32_t i = l->first; i < l->first + l->n; i++) {
		uint32_t cpu = host->order[i];
		id_set_add(&cpus, cpu);
		if (i == l->first || host->cpus[cpu].core != host->cpus[host->order[i - 1]].core) {
			core = json_array();
			json_array_append_new(cores, core);
		}
		json_array_append_new(core, json_integer(cpu));
	}
	return json_pack("{s:i, s:i, s:o, s:o}", "llc", (int)idx, "node",
			 (int)host->nodes[l->node].os_id, "cpus", plan_json_set(&cpus), "cores",
			 cores);
}

json_t *plan_json_host(const struct host *host)
{
	json_t *nodes = json_array();
	json_t *llcs = json_array();

	for (uint32_t i = 0; i < host->n_nodes; i++) {
		json_t *distances = json_array();
		for (uint32_t to = 0; to < host->n_nodes; to++)
			json_array_append_new(distances, json_integer(host_distance(host, i, to)));
		json_array_append_new(
		    nodes, json_pack("{s:i, s:i, s:o}", "node", (int)host->nodes[i].os_id, "n_cpus",
				     (int)host->nodes[i].n_cpus, "distances", distances));
	}
	for (uint32_t i = 0; i < host->n_llcs; i++)
		json_array_append_new(llcs, llc_json(host, i));
	return json_pack("{s:i, s:o, s:o, s:o, s:o}", "n_cpus", (int)host->n_cpus, "online",
			 plan_json_set(&host->online), "allowed", plan_json_set(&host->allowed),
			 "nodes", nodes, "llcs", llcs);
}

static const char *kind_name(enum plan_lock_kind kind)
{
	return kind == PLAN_LOCK_LLC ? "llc" : "cpu";
}

json_t *plan_json_plan(const struct host *host, const struct plan *p)
{
	json_t *locks = json_array();
	json_t *doc;

	for (uint32_t i = 0; i < p->n_locks; i++)
		json_array_append_new(
		    locks, json_pack("{s:s, s:i, s:b}", "kind", kind_name(p->locks[i].kind), "id",
				     (int)p->locks[i].id, "exclusive", (int)p->locks[i].exclusive));
	doc = json_pack("{s:s, s:o, s:o, s:o, s:i, s:i}", "tier", plan_tier_name(p->tier), "locks",
			locks, "cpus", plan_json_set(&p->cpus), "mems", plan_json_set(&p->mems),
			"n_vcpus", (int)p->n_vcpus, "n_cpus", (int)p->n_cpus);
	if (p->tier != PLAN_PERFORMANCE)
		return doc;
	json_t *pins = json_array();
	json_t *llcs = json_array();
	for (uint32_t i = 0; i < p->n_vcpus; i++)
		json_array_append_new(pins, json_integer(p->vcpu_cpus[i]));
	for (uint32_t i = 0; i < p->n_vllcs; i++)
		json_array_append_new(
		    llcs, json_pack("{s:i, s:i}", "llc", (int)p->vllc_llcs[i], "node",
				    (int)host->nodes[host->llcs[p->vllc_llcs[i]].node].os_id));
	json_object_set_new(doc, "vcpu_cpus", pins);
	json_object_set_new(doc, "guest_llcs", llcs);
	json_object_set_new(doc, "service_cpu", json_integer(p->service_cpu));
	json_object_set_new(doc, "numa_aligned", json_boolean(p->is_numa_aligned));
	json_object_set_new(doc, "smt_aligned", json_boolean(p->is_smt_aligned));
	return doc;
}

json_t *plan_json_locks(const struct lock_scan *scan)
{
	json_t *list = json_array();

	for (size_t i = 0; i < scan->n_holders; i++) {
		const struct lock_holder *h = &scan->holders[i];
		CLEANUP(buf_fini) struct buf command = { 0 };
		lock_holder_command(h->pid, COMMAND_MAX, &command);
		json_array_append_new(
		    list, json_pack("{s:s, s:i, s:b, s:i, s:s}", "kind", kind_name(h->lock.kind),
				    "id", (int)h->lock.id, "exclusive", (int)h->lock.exclusive,
				    "pid", h->pid, "command", buf_str(&command)));
	}
	return list;
}
