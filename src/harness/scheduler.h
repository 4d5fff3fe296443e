/*
 * When the jobs of a batch run, in what order, how often. Pure: events in (started, ended, stop), launches out; the owner
 * provides VMs, clocks and signals, and a unit test provides thousands of made-up batches.
 *
 *	           admitted               ended
 *	WAITING ------------> RUNNING -----------------> DONE
 *	   ^  |                  |
 *	   |  | stop             | ended with INFRA, and not too often
 *	   |  v                  |
 *	   |  CANCELLED          |
 *	   +---------------------+   at the end of the queue
 */
#pragma once

#include "abi/frame.h"
#include "harness/admission.h"

enum scheduler_state { SCHEDULER_WAITING, SCHEDULER_RUNNING, SCHEDULER_DONE, SCHEDULER_CANCELLED };

struct scheduler_job {
	enum scheduler_state state;
	uint32_t n_attempts; /* begun */
};

struct scheduler_config {
	size_t n_jobs;
	const struct admission_cost *costs; /* one per job, each admission_can_ever; borrowed */
	struct admission_cost limit;
	uint32_t max_running;
	uint32_t n_retries; /* of one job, after INFRA */
	bool fail_fast;     /* nothing more starts after an outcome that fails the batch */
	/* Starts a job. Its end is told later, never from inside. */
	void (*launch)(void *ctx, size_t job);
	void *ctx;
};

struct scheduler {
	struct scheduler_config config;
	struct admission admission;
	struct scheduler_job *jobs;
	size_t *queue; /* the first n_waiting wait, in order */
	size_t n_waiting;
	bool stopped;
};

/* Whether @outcome is a failure of the test, not of the host or the measurement. */
bool scheduler_is_failure(enum outcome outcome);

void scheduler_init(struct scheduler *s, const struct scheduler_config *config);
void scheduler_fini(struct scheduler *s); /* idempotent */
/* Starts what fits. */
void scheduler_start(struct scheduler *s);
/* Whether the end of a running job with @outcome would lead to another attempt. */
bool scheduler_will_retry(const struct scheduler *s, size_t job, enum outcome outcome);
/* A running job has ended. True: it is to run again, and its outcome is none. */
bool scheduler_ended(struct scheduler *s, size_t job, enum outcome outcome);
/* Nothing more starts; what waits is cancelled. */
void scheduler_stop(struct scheduler *s);
/* Nothing runs and nothing waits. */
bool scheduler_is_over(const struct scheduler *s);
