/* The options of a run that say where on the host it runs: --perf, --cpu-cap, --spread, --wait, --no-locks. */
#pragma once

#include "harness/reservation.h"

struct placement_options {
	bool perf;
	bool spread;
	bool no_locks;
	const char *cpu_cap; /* as given */
	uint64_t wait_ms;
	/* Set by placement_options_finish. */
	enum plan_tier tier;
	uint32_t n_cpus; /* an operator's; 0: nobody's */
};

/*
 * A person who waits wants to know soon, a script's next run is usually over within this: the batch runner, which nobody watches,
 * waits for longer.
 */
enum { PLACEMENT_DEFAULT_WAIT_MS = 60 * 1000 };
#define PLACEMENT_OPTIONS_INIT ((struct placement_options){ .wait_ms = PLACEMENT_DEFAULT_WAIT_MS })

MUST_CHECK int placement_options_parse_wait(const char *arg, uint64_t *ret_ms, struct error *err);
/* After all options: the tier, with KTSTR_CPU_CAP's value @env_cap (may be NULL). Errors are class usage. */
MUST_CHECK int placement_options_finish(struct placement_options *o, const char *env_cap,
					struct error *err);
struct reservation_want placement_options_want(const struct placement_options *o,
					       const struct topology *topology);
/* Without locks and without a wish for CPUs there is nothing to plan: the VM runs wherever this process may. */
bool placement_options_has_place(const struct placement_options *o);
void placement_options_usage(void);
