#include "harness/scheduler.h"

#include <string.h>

#include "base/assert.h"
#include "base/buf.h"

bool scheduler_is_failure(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_FAIL:
	case OUTCOME_PANIC:
	case OUTCOME_STALL:
	case OUTCOME_TIMEOUT:
	case OUTCOME_BOOT:
		return true;
	case OUTCOME_PASS:
	case OUTCOME_SKIP:
	case OUTCOME_INCONCLUSIVE:
	case OUTCOME_INFRA:
		break;
	}
	return false;
}

void scheduler_init(struct scheduler *s, const struct scheduler_config *config)
{
	*s = (struct scheduler){
		.config = *config,
		.admission = { .limit = config->limit, .max_running = config->max_running },
		.jobs = xcalloc(config->n_jobs + 1, sizeof(*s->jobs)),
		.queue = xcalloc(config->n_jobs + 1, sizeof(*s->queue)),
		.n_waiting = config->n_jobs,
	};
	for (size_t i = 0; i < config->n_jobs; i++) {
		ASSERT(admission_can_ever(&s->admission, &config->costs[i]));
		s->queue[i] = i;
	}
}

void scheduler_fini(struct scheduler *s)
{
	freep(&s->jobs);
	freep(&s->queue);
}

void scheduler_start(struct scheduler *s)
{
	for (;;) {
		size_t at = admission_take(&s->admission, s->config.costs, s->queue, s->n_waiting);
		if (at == SIZE_MAX)
			return;
		size_t job = s->queue[at];
		s->n_waiting--;
		memmove(&s->queue[at], &s->queue[at + 1], (s->n_waiting - at) * sizeof(*s->queue));
		ASSERT(s->jobs[job].state == SCHEDULER_WAITING);
		s->jobs[job].state = SCHEDULER_RUNNING;
		s->jobs[job].n_attempts++;
		s->config.launch(s->config.ctx, job);
	}
}

bool scheduler_will_retry(const struct scheduler *s, size_t job, enum outcome outcome)
{
	return outcome == OUTCOME_INFRA && !s->stopped &&
	       s->jobs[job].n_attempts <= s->config.n_retries;
}

bool scheduler_ended(struct scheduler *s, size_t job, enum outcome outcome)
{
	struct scheduler_job *j = &s->jobs[job];
	bool again = scheduler_will_retry(s, job, outcome);

	ASSERT(j->state == SCHEDULER_RUNNING);
	admission_give_back(&s->admission, &s->config.costs[job]);
	j->state = again ? SCHEDULER_WAITING : SCHEDULER_DONE;
	if (again)
		s->queue[s->n_waiting++] = job;
	if (s->config.fail_fast && scheduler_is_failure(outcome))
		scheduler_stop(s);
	scheduler_start(s);
	return again;
}

void scheduler_stop(struct scheduler *s)
{
	s->stopped = true;
	for (size_t i = 0; i < s->n_waiting; i++)
		s->jobs[s->queue[i]].state = SCHEDULER_CANCELLED;
	s->n_waiting = 0;
}

bool scheduler_is_over(const struct scheduler *s)
{
	return s->n_waiting == 0 && s->admission.n_running == 0;
}
