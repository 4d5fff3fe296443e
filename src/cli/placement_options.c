#include "cli/placement_options.h"

#include <errno.h>
#include <stdio.h>

#include "base/num.h"

enum { MAX_WAIT_MS = 7 * 86400 * 1000 };

int placement_options_parse_wait(const char *arg, uint64_t *ret_ms, struct error *err)
{
	return num_parse_duration_ms("--wait", arg, MAX_WAIT_MS, ret_ms, err);
}

int placement_options_finish(struct placement_options *o, const char *env_cap, struct error *err)
{
	if (o->perf && o->cpu_cap)
		return error_set_usage(err, -EINVAL,
				       "--perf has CPUs of its own: it goes without --cpu-cap");
	if (!o->perf && plan_parse_cap(o->cpu_cap, env_cap, &o->n_cpus, err) < 0)
		return err->code;
	if (o->spread && !o->n_cpus)
		return error_set_usage(err, -EINVAL, "--spread is for --cpu-cap only");
	o->tier = o->perf ? PLAN_PERFORMANCE : o->n_cpus ? PLAN_BUDGET : PLAN_DEFAULT;
	return 0;
}

struct reservation_want placement_options_want(const struct placement_options *o,
					       const struct topology *topology)
{
	return (struct reservation_want){
		.tier = o->tier,
		.budget = o->n_cpus ? PLAN_BUDGET_OPERATOR : PLAN_BUDGET_AUTO,
		.n_cpus = o->n_cpus,
		.spread = o->spread,
		.topology = topology,
	};
}

bool placement_options_has_place(const struct placement_options *o)
{
	return !o->no_locks || o->tier != PLAN_DEFAULT;
}

void placement_options_usage(void)
{
	fputs(
	    "  --perf                performance mode: a host CPU for each vCPU in LLCs that "
	    "nobody "
	    "else uses\n"
	    "  --cpu-cap N           share N host CPUs with other such runs ($KTSTR_CPU_CAP)\n"
	    "  --spread              with --cpu-cap: rather in LLCs that nobody uses\n"
	    "  --wait DUR            wait for CPUs that others hold, as 0, 500ms, 90s, 10m (60s)\n"
	    "  --no-locks            take CPUs without asking: timings may be of others' making, "
	    "and theirs of yours\n",
	    stdout);
}
