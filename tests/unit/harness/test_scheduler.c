/*
 * Thousands of made-up batches: whatever runs ends at a random time with a random outcome, signals come at random moments.
 * After every event the invariants hold: budgets are kept, every job comes to exactly one end, wide jobs are not starved,
 * and nothing waits where it could run.
 */
#include "harness/scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

enum { JOBS_MAX = 120, CPUS_MAX = 16, BATCHES = 4000 };

struct world {
	struct scheduler s;
	struct admission_cost costs[JOBS_MAX];
	size_t n_jobs;
	size_t running[JOBS_MAX];
	size_t n_running;
	uint32_t n_launches[JOBS_MAX];
	uint32_t n_ends[JOBS_MAX];
	size_t order[JOBS_MAX * 4]; /* of launches */
	size_t n_order;
	uint64_t seed;
};

static uint64_t roll(struct world *w, uint64_t n)
{
	w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
	return (w->seed >> 33) % n;
}

static void launch(void *ctx, size_t job)
{
	struct world *w = ctx;

	w->running[w->n_running++] = job;
	w->n_launches[job]++;
	if (w->n_order < ARRAY_SIZE(w->order))
		w->order[w->n_order++] = job;
}

static void check_budget(const struct world *w)
{
	uint32_t cpus = 0;
	uint32_t files = 0;
	uint64_t memory = 0;

	for (size_t i = 0; i < w->n_running; i++) {
		cpus += w->costs[w->running[i]].cpus;
		files += w->costs[w->running[i]].files;
		memory += w->costs[w->running[i]].memory_mib;
	}
	assert_true(cpus <= w->s.config.limit.cpus);
	assert_true(memory <= w->s.config.limit.memory_mib);
	assert_true(w->n_running <= w->s.config.max_running);
	assert_int_equal(cpus, w->s.admission.used.cpus);
	assert_int_equal(memory, w->s.admission.used.memory_mib);
	assert_true(files <= w->s.config.limit.files);
	assert_int_equal(files, w->s.admission.used.files);
	assert_true(w->s.admission.n_passed <= ADMISSION_PASSES);
	/* Nothing that waits first could run. */
	if (w->s.n_waiting && w->n_running < w->s.config.max_running) {
		const struct admission_cost *c = &w->costs[w->s.queue[0]];
		assert_true(c->cpus > w->s.config.limit.cpus - cpus ||
			    c->files > w->s.config.limit.files - files ||
			    c->memory_mib > w->s.config.limit.memory_mib - memory);
	}
	if (w->s.n_waiting)
		assert_true(w->n_running > 0); /* or it would wait for ever */
}

static void begin(struct world *w, struct scheduler_config config)
{
	config.n_jobs = w->n_jobs;
	config.costs = w->costs;
	config.launch = launch;
	config.ctx = w;
	scheduler_init(&w->s, &config);
	scheduler_start(&w->s);
	check_budget(w);
}

static bool end_one(struct world *w, size_t at, enum outcome outcome)
{
	size_t job = w->running[at];

	w->running[at] = w->running[--w->n_running];
	bool again = scheduler_ended(&w->s, job, outcome);
	w->n_ends[job] += !again;
	check_budget(w);
	return again;
}

static enum outcome random_outcome(struct world *w)
{
	return (enum outcome)roll(w, OUTCOME_INFRA + 1);
}

static void play(struct world *w)
{
	const struct scheduler_config config = {
		.limit = { .cpus = 1 + (uint32_t)roll(w, CPUS_MAX),
			   .files = 1 + (uint32_t)roll(w, 64),
			   .memory_mib = 1 + roll(w, 64) },
		.max_running = 1 + (uint32_t)roll(w, 40),
		.n_retries = (uint32_t)roll(w, 4),
		.fail_fast = roll(w, 8) == 0,
	};
	bool is_interrupted = false;

	for (size_t i = 0; i < w->n_jobs; i++)
		w->costs[i] =
		    (struct admission_cost){ .cpus = (uint32_t)roll(w, config.limit.cpus + 1),
					     .files = (uint32_t)roll(w, config.limit.files + 1),
					     .memory_mib = roll(w, config.limit.memory_mib + 1) };
	begin(w, config);
	while (w->n_running) {
		if (roll(w, 200) == 0) {
			scheduler_stop(&w->s);
			is_interrupted = true;
			assert_int_equal(w->s.n_waiting, 0);
		}
		size_t before = w->n_order;
		enum outcome outcome = random_outcome(w);
		bool again = end_one(w, roll(w, w->n_running), outcome);
		assert_true(!again || outcome == OUTCOME_INFRA);
		if (is_interrupted || (config.fail_fast && scheduler_is_failure(outcome)))
			assert_int_equal(w->n_order, before);
	}
	assert_true(scheduler_is_over(&w->s));
	for (size_t i = 0; i < w->n_jobs; i++) {
		const struct scheduler_job *j = &w->s.jobs[i];
		assert_true(j->state == SCHEDULER_DONE || j->state == SCHEDULER_CANCELLED);
		if (!w->s.stopped)
			assert_int_equal(j->state, SCHEDULER_DONE);
		assert_int_equal(w->n_ends[i], j->state == SCHEDULER_DONE);
		assert_int_equal(w->n_launches[i], j->n_attempts);
		assert_true(j->n_attempts <= config.n_retries + 1);
	}
	scheduler_fini(&w->s);
}

static void test_thousands_of_batches_keep_every_invariant(void **state UNUSED)
{
	for (uint64_t seed = 0; seed < BATCHES; seed++) {
		struct world *w = xcalloc(1, sizeof(*w));
		w->seed = seed;
		w->n_jobs = roll(w, JOBS_MAX + 1);
		play(w);
		freep(&w);
	}
}

/* A 16-CPU job behind running 1-CPU ones, and many more of those behind it. */
static void test_wide_job_is_passed_a_bounded_number_of_times(void **state UNUSED)
{
	struct world w = { .n_jobs = 100, .seed = 1 };
	size_t at = 0;

	for (size_t i = 0; i < w.n_jobs; i++)
		w.costs[i] = (struct admission_cost){ .cpus = i == 8 ? 16 : 1 };
	begin(&w, (struct scheduler_config){ .limit = { .cpus = 16 }, .max_running = 1000 });
	/* The narrow ones go past it and use what is free. */
	assert_int_equal(w.n_running, 16);
	while (w.n_launches[8] == 0)
		(void)end_one(&w, roll(&w, w.n_running), OUTCOME_PASS);
	while (w.order[at] != 8)
		at++;
	assert_int_equal(at, 8 + ADMISSION_PASSES);
	/* And when it has ended they go on. */
	assert_int_equal(w.n_running, 1);
	(void)end_one(&w, 0, OUTCOME_PASS);
	assert_int_equal(w.n_running, 16);
	scheduler_fini(&w.s);
}

static void test_jobs_of_one_size_start_in_order(void **state UNUSED)
{
	struct world w = { .n_jobs = 50 };

	for (size_t i = 0; i < w.n_jobs; i++)
		w.costs[i] = (struct admission_cost){ .cpus = 2 };
	begin(&w, (struct scheduler_config){ .limit = { .cpus = 7 }, .max_running = 1000 });
	assert_int_equal(w.n_running, 3);
	while (w.n_running)
		(void)end_one(&w, 0, OUTCOME_PASS);
	for (size_t i = 0; i < w.n_jobs; i++)
		assert_int_equal(w.order[i], i);
	scheduler_fini(&w.s);
}

static void test_infra_is_tried_again_behind_all_others_so_often(void **state UNUSED)
{
	struct world w = { .n_jobs = 2 };

	begin(&w, (struct scheduler_config){ .max_running = 1, .n_retries = 2 });
	assert_true(end_one(&w, 0, OUTCOME_INFRA)); /* 0 */
	assert_int_equal(w.running[0], 1);
	assert_false(end_one(&w, 0, OUTCOME_FAIL)); /* 1 */
	assert_true(end_one(&w, 0, OUTCOME_INFRA));
	assert_false(end_one(&w, 0, OUTCOME_INFRA));
	assert_int_equal(w.s.jobs[0].n_attempts, 3);
	assert_int_equal(w.s.jobs[1].n_attempts, 1);
	assert_true(scheduler_is_over(&w.s));
	scheduler_fini(&w.s);
}

static void test_only_failures_of_tests_stop_a_fail_fast_batch(void **state UNUSED)
{
	for (int o = OUTCOME_PASS; o <= OUTCOME_INFRA; o++) {
		struct world w = { .n_jobs = 2 };
		bool is_failure = o == OUTCOME_FAIL || (o >= OUTCOME_PANIC && o <= OUTCOME_BOOT);

		begin(&w, (struct scheduler_config){ .max_running = 1, .fail_fast = true });
		(void)end_one(&w, 0, (enum outcome)o);
		assert_int_equal(w.n_running, !is_failure);
		assert_int_equal(w.s.jobs[1].state == SCHEDULER_CANCELLED, is_failure);
		scheduler_fini(&w.s);
	}
}

static void test_job_larger_than_the_budget_is_known(void **state UNUSED)
{
	const struct admission a = { .limit = { .cpus = 4, .files = 9, .memory_mib = 100 } };

	assert_true(admission_can_ever(&a, &(struct admission_cost){ 4, 9, 100 }));
	assert_false(admission_can_ever(&a, &(struct admission_cost){ 5, 1, 1 }));
	assert_false(admission_can_ever(&a, &(struct admission_cost){ 1, 10, 1 }));
	assert_false(admission_can_ever(&a, &(struct admission_cost){ 1, 1, 101 }));
}

static void test_lack_of_files_is_known_where_nothing_else_lacks(void **state UNUSED)
{
	const struct admission_cost costs[] = { { 2, 5, 10 } };
	const size_t queue[] = { 0, 0 };
	struct admission a = { .limit = { .cpus = 4, .files = 9, .memory_mib = 100 },
			       .max_running = 4 };

	assert_int_equal(admission_take(&a, costs, queue, 2), 0);
	assert_false(a.lacks_files);
	assert_int_equal(admission_take(&a, costs, queue, 1), SIZE_MAX);
	assert_true(a.lacks_files);
	a = (struct admission){ .limit = { .cpus = 3, .files = 9, .memory_mib = 100 },
				.max_running = 4 };
	assert_int_equal(admission_take(&a, costs, queue, 2), 0);
	assert_int_equal(admission_take(&a, costs, queue, 1), SIZE_MAX);
	assert_false(a.lacks_files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_thousands_of_batches_keep_every_invariant),
		cmocka_unit_test(test_wide_job_is_passed_a_bounded_number_of_times),
		cmocka_unit_test(test_jobs_of_one_size_start_in_order),
		cmocka_unit_test(test_infra_is_tried_again_behind_all_others_so_often),
		cmocka_unit_test(test_only_failures_of_tests_stop_a_fail_fast_batch),
		cmocka_unit_test(test_job_larger_than_the_budget_is_known),
		cmocka_unit_test(test_lack_of_files_is_known_where_nothing_else_lacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
