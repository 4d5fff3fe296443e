#include "cli/placement_json.h"

#include "base/clock.h"
#include "cli/plan_json.h"

static json_t *applied_json(const struct run_result *result)
{
	static const struct {
		const char *key;
		uint32_t bit;
	} keys[] = {
		{ "pinned", APPLIED_PINS },          { "fifo", APPLIED_FIFO },
		{ "memory_bound", APPLIED_BOUND },   { "hugepages", APPLIED_HUGEPAGES },
		{ "memory_locked", APPLIED_LOCKED }, { "pause_exits_off", APPLIED_PAUSE },
		{ "hlt_exits_off", APPLIED_HLT },    { "clock_stable", APPLIED_CLOCK },
	};
	json_t *applied = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		json_object_set_new(applied, keys[i].key,
				    json_boolean(result->started.applied & keys[i].bit));
	return applied;
}

static json_t *verified_json(const struct verification *v)
{
	if (!v->is_done)
		return json_null();
	return json_pack("{s:i, s:i, s:i, s:I}", "threads", (int)v->n_threads, "vcpus",
			 (int)v->n_vcpus, "locks", (int)v->n_locks, "pages",
			 (json_int_t)v->n_pages);
}

json_t *placement_json(const struct place *place, const struct run_result *result)
{
	const struct reservation *r = &place->reservation;

	if (!place->is_taken)
		return json_null();
	json_t *doc = plan_json_plan(place->host.host, r->plan);
	json_object_set_new(doc, "overcommit",
			    json_real((double)r->plan->n_vcpus / r->plan->n_cpus));
	json_object_set_new(doc, "locked", json_boolean(place->n_lock_fds > 0));
	json_object_set_new(doc, "waited_ms", json_real((double)r->waited_ns / NS_PER_MS));
	json_object_set_new(doc, "cgroup",
			    place->cgroup.is_active ? json_string(place->cgroup.folder)
						    : json_null());
	if (r->plan->tier == PLAN_PERFORMANCE && result->has_started)
		json_object_set_new(doc, "applied", applied_json(result));
	json_object_set_new(doc, "verified", verified_json(&result->verification));
	return doc;
}
