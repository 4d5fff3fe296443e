#include "cli/run_result.h"

void run_result_init(struct run_result *r)
{
	*r = (struct run_result){ .console = SINK_INIT,
				  .com2 = SINK_INIT,
				  .tty = SINK_INIT,
				  .dmesg = SINK_INIT,
				  .frames = SINK_INIT };
	test_results_init(&r->tests);
}

void run_result_fini(struct run_result *r)
{
	buf_fini(&r->why);
	buf_fini(&r->stats);
	buf_fini(&r->crash);
	for (size_t i = 0; i < r->n_notes; i++)
		freep(&r->notes[i]);
	sink_fini(&r->console);
	sink_fini(&r->com2);
	sink_fini(&r->tty);
	sink_fini(&r->dmesg);
	sink_fini(&r->frames);
	test_results_fini(&r->tests);
}

void run_result_add_phase(struct run_result *r, uint32_t phase, uint64_t time_ns, bool is_guest)
{
	if (r->n_phases < RUN_RESULT_MAX_PHASES)
		r->phases[r->n_phases++] = (struct run_phase){ time_ns, phase, is_guest };
}

void run_result_add_note(struct run_result *r, const char *text, size_t n)
{
	if (r->n_notes < RUN_RESULT_MAX_NOTES)
		r->notes[r->n_notes++] = xasprintf("%.*s", (int)n, text);
}

void run_result_fail(struct run_result *r, const char *why)
{
	if (r->has_outcome)
		return;
	buf_append_str(&r->why, why);
	r->outcome = (struct frame_outcome){ .outcome = OUTCOME_INFRA };
	r->has_outcome = true;
}
