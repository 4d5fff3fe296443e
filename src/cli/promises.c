#include "cli/promises.h"

#include <string.h>

#include "harness/host_caveats.h"
#include "plan/plan_placement.h"

int promises_check(struct run_result *result, const struct frame *f, pid_t pid,
		   const struct reservation *r, struct link *link, struct error *err)
{
	if (f->header.length != sizeof(result->started) || result->has_started)
		return 0;
	memcpy(&result->started, f->payload, sizeof(result->started));
	result->has_started = true;
	if (!result->started.held)
		return 0;
	if (r && verify_vm(pid, r, &result->started, &result->verification, err) < 0)
		return err->code;
	link_send(link, FRAME_VM_GO, NULL, 0);
	return 0;
}

static void add_notes(struct run_result *result, struct buf *lines)
{
	char *save = NULL;

	(void)buf_str(lines);
	for (char *line = lines->len ? strtok_r((char *)lines->data, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save))
		run_result_add_note(result, line, strlen(line));
}

void promises_note(const struct reservation *r, struct run_result *result)
{
	CLEANUP(buf_fini) struct buf lines = { 0 };
	struct host_state state;

	plan_caveats(&r->request, r->plan, &lines);
	if (r->plan->tier == PLAN_PERFORMANCE) {
		if (result->has_started)
			missing_caveats(result->started.applied, &lines);
		host_state_read(r->host->host->n_cpus, &state);
		host_caveats(&state, r->plan->n_vcpus + 1, &lines);
	}
	if (r->host->dir.fd < 0 && r->plan->tier != PLAN_DEFAULT)
		buf_append_str(&lines, "--no-locks: nothing keeps other runs off these CPUs\n");
	add_notes(result, &lines);
}
