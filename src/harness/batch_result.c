#include "harness/batch_result.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/num.h"
#include "base/text.h"

const char *batch_outcome_name(uint32_t outcome)
{
	return outcome == BATCH_NOT_RUN ? "NOT_RUN" : outcome_name(outcome);
}

bool batch_outcome_parse(const char *name, uint32_t *ret)
{
	for (uint32_t i = 0; name && i < BATCH_N_OUTCOMES; i++)
		if (strcmp(name, batch_outcome_name(i)) == 0) {
			*ret = i;
			return true;
		}
	return false;
}

/* -- texts */

static void replace(char **slot, char *text)
{
	freep(slot);
	*slot = text;
}

void batch_set_line(char **slot, const char *text)
{
	replace(slot, text_line(batch_text(text), BATCH_LINE_MAX));
}

void batch_set_path(char **slot, const char *text)
{
	replace(slot, text_line(batch_text(text), BATCH_ID_MAX));
}

void batch_set_why(char **slot, const void *text, size_t n)
{
	replace(slot, text_head(text, n, BATCH_WHY_MAX));
}

void batch_set_text(char **slot, const void *text, size_t n)
{
	replace(slot, text_head(text, n, BATCH_TEXT_MAX));
}

void batch_set_tail(char **slot, const void *text, size_t n)
{
	replace(slot, text_tail(text, n, BATCH_TEXT_MAX));
}

const char *batch_text(const char *text)
{
	return text ? text : "";
}

/* -- the batch */

void batch_result_init(struct batch_result *b)
{
	*b = (struct batch_result){ .repeat = 1, .overcommit = 1 };
}

static void free_evidence(struct batch_evidence *e)
{
	for (size_t i = 0; i < e->n_notes; i++)
		freep(&e->notes[i]);
	freep(&e->deadline_by);
	freep(&e->panic);
	freep(&e->crash);
	freep(&e->log_tail);
}

static void free_resources(struct batch_resources *r)
{
	for (size_t i = 0; i < r->n_counters; i++)
		freep(&r->counters[i].name);
	freep(&r->counters);
	freep(&r->vcpus);
	freep(&r->cpus);
}

static void free_test(struct batch_test *t)
{
	for (size_t i = 0; i < t->n_attempts; i++)
		freep(&t->attempts[i].why);
	free_evidence(&t->evidence);
	free_resources(&t->resources);
	test_results_fini(&t->results);
	freep(&t->declared.topology);
	freep(&t->declared.disk_fs);
	freep(&t->id);
	freep(&t->program);
	freep(&t->name);
	freep(&t->why);
	freep(&t->output);
	free(t);
}

static void keep_test(void *node UNUSED) /* the list owns it */
{
}

void batch_result_fini(struct batch_result *b)
{
	tdestroy(b->ids, keep_test);
	for (size_t i = 0; i < b->n_tests; i++)
		free_test(b->tests[i]);
	freep(&b->tests);
	freep(&b->version);
	freep(&b->host);
	freep(&b->kernel);
	freep(&b->release);
	batch_result_init(b);
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct batch_test *)a)->id, ((const struct batch_test *)b)->id);
}

struct batch_test *batch_result_find(const struct batch_result *b, const char *id)
{
	struct batch_test key = { .id = (char *)(uintptr_t)id }; /* only compared */
	struct batch_test *const *found = tfind(&key, &b->ids, by_id);

	return found ? *found : NULL;
}

static char *make_id(const struct batch_test *t, uint32_t namesake)
{
	const char *slash = strrchr(t->program, '/');
	const char *base = slash ? slash + 1 : t->program;
	char number[2][16] = { "", "" };

	if (namesake > 1)
		(void)snprintf(number[0], sizeof(number[0]), "~%u", namesake);
	if (t->repeat)
		(void)snprintf(number[1], sizeof(number[1]), "#%u", t->repeat);
	CLEANUP(freep) char *file = text_line(base, BATCH_ID_MAX / 2 - 32);
	CLEANUP(freep) char *name = text_line(t->name, BATCH_ID_MAX / 2 - 32);
	return xasprintf("%s/%s%s%s", file, name, number[0], number[1]);
}

static struct batch_test *new_test(const char *program, const char *name, uint32_t repeat)
{
	struct batch_test *t = xcalloc(1, sizeof(*t));

	batch_set_path(&t->program, program);
	batch_set_line(&t->name, name);
	t->repeat = repeat;
	t->outcome = BATCH_NOT_RUN;
	test_results_init(&t->results);
	return t;
}

/* Takes ownership of @t; NULL (and @t is no more) if there is no room, or its id is taken. */
static struct batch_test *insert(struct batch_result *b, struct batch_test *t)
{
	if (b->n_tests == BATCH_TESTS_MAX || batch_result_find(b, t->id)) {
		free_test(t);
		return NULL;
	}
	if (!tsearch(t, &b->ids, by_id))
		die_out_of_memory();
	if (b->n_tests == 0 || num_is_pow2(b->n_tests))
		b->tests = xreallocarray(b->tests, b->n_tests ? 2 * b->n_tests : 1,
					 sizeof(struct batch_test *));
	b->tests[b->n_tests++] = t;
	return t;
}

struct batch_test *batch_result_add(struct batch_result *b, const char *program, const char *name,
				    uint32_t repeat)
{
	struct batch_test *t = new_test(program, name, repeat);

	for (uint32_t namesake = 1; !t->id || batch_result_find(b, t->id); namesake++)
		replace(&t->id, make_id(t, namesake));
	return insert(b, t);
}

struct batch_test *batch_result_add_as(struct batch_result *b, const char *id, const char *program,
				       const char *name, uint32_t repeat)
{
	struct batch_test *t = new_test(program, name, repeat);

	batch_set_path(&t->id, id);
	return insert(b, t);
}

void batch_result_move(struct batch_result *b, struct batch_result *from)
{
	tdestroy(from->ids, keep_test);
	for (size_t i = 0; i < from->n_tests; i++) {
		const struct batch_test *there = insert(b, from->tests[i]);
		ASSERT(there);
	}
	freep(&from->tests);
	from->n_tests = 0;
	from->ids = NULL;
}

char *batch_test_series(const struct batch_test *t)
{
	const char *hash = t->repeat ? strrchr(t->id, '#') : NULL;

	return hash ? xasprintf("%.*s", (int)(hash - t->id), t->id) : xstrdup(t->id);
}

/* -- evidence and resources */

void batch_test_add_note(struct batch_test *t, const char *text, size_t n)
{
	struct batch_evidence *e = &t->evidence;
	CLEANUP(freep) char *copy = text_head(text, n, BATCH_LINE_MAX);

	if (e->n_notes == BATCH_NOTES_MAX)
		batch_set_line(&e->notes[BATCH_NOTES_MAX - 1], "and more notes than are kept");
	else
		batch_set_line(&e->notes[e->n_notes++], copy);
}

void batch_test_add_phase(struct batch_test *t, uint32_t phase, uint64_t at_us, bool is_guest)
{
	struct batch_evidence *e = &t->evidence;
	size_t i = e->n_phases;

	if (i == BATCH_PHASES_MAX)
		return;
	for (; i > 0 && e->phases[i - 1].at_us > at_us; i--)
		e->phases[i] = e->phases[i - 1];
	e->phases[i] = (struct batch_phase){ .at_us = at_us, .phase = phase, .is_guest = is_guest };
	e->n_phases++;
}

void batch_test_add_attempt(struct batch_test *t, const char *why, size_t n, uint64_t duration_us)
{
	/* The last place takes the latest. */
	size_t at = t->n_attempts < BATCH_ATTEMPTS_MAX ? t->n_attempts++ : BATCH_ATTEMPTS_MAX - 1;

	batch_set_why(&t->attempts[at].why, why, n);
	t->attempts[at].duration_us = duration_us;
}

void batch_test_add_counter(struct batch_test *t, const char *name, uint64_t value)
{
	struct batch_resources *r = &t->resources;

	CLEANUP(freep) char *clean = text_line(name, BATCH_LINE_MAX);
	value = num_min(value, INT64_MAX); /* JSON has no more */
	for (size_t i = 0; i < r->n_counters; i++)
		if (strcmp(r->counters[i].name, clean) == 0) {
			r->counters[i].value = value;
			return;
		}
	if (r->n_counters == BATCH_COUNTERS_MAX)
		return;
	r->counters = xreallocarray(r->counters, r->n_counters + 1, sizeof(*r->counters));
	struct batch_counter *c = &r->counters[r->n_counters++];
	*c = (struct batch_counter){ .value = value };
	c->name = TAKE_PTR(clean);
}

/* What a vCPU was kept from has its own place, and a bound of its own. */
static bool add_vcpu_stat(struct batch_test *t, const char *name, uint64_t value)
{
	struct batch_vcpu *vcpu;
	char what[32];
	uint32_t index;

	/* NOLINTNEXTLINE(cert-err34-c): digits only, and few */
	if (sscanf(name, "vcpu%9u.%31s", &index, what) != 2)
		return false;
	bool is_delay = strcmp(what, "run_delay_us") == 0;
	if (!is_delay && strcmp(what, "involuntary_switches") != 0)
		return false;
	vcpu = batch_test_vcpu(t, index);
	if (vcpu)
		*(is_delay ? &vcpu->run_delay_us : &vcpu->involuntary_switches) =
		    num_min(value, INT64_MAX); /* JSON has no more */
	return true;
}

void batch_test_add_stats(struct batch_test *t, const void *text, size_t n)
{
	CLEANUP(freep) char *copy = text_head(text, n, BATCH_TEXT_MAX);
	char *save = NULL;

	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');
		if (!space)
			continue;
		*space = 0;
		uint64_t value = strtoull(space + 1, NULL, 10);
		if (!add_vcpu_stat(t, line, value))
			batch_test_add_counter(t, line, value);
	}
}

struct batch_vcpu *batch_test_vcpu(struct batch_test *t, uint32_t index)
{
	struct batch_resources *r = &t->resources;

	if (index >= BATCH_VCPUS_MAX)
		return NULL;
	if (index >= r->n_vcpus) {
		r->vcpus = xreallocarray(r->vcpus, index + 1, sizeof(*r->vcpus));
		memset(r->vcpus + r->n_vcpus, 0, (index + 1 - r->n_vcpus) * sizeof(*r->vcpus));
		r->n_vcpus = index + 1;
	}
	return &r->vcpus[index];
}

/* -- the verdict on the whole */

void batch_count_add(struct batch_counts *c, const struct batch_test *t)
{
	ASSERT(t->outcome < BATCH_N_OUTCOMES);
	c->n[t->outcome]++;
	c->n_tests++;
	c->n_retried += t->n_attempts > 0;
}

struct batch_counts batch_count(const struct batch_result *b)
{
	struct batch_counts c = { 0 };

	for (size_t i = 0; i < b->n_tests; i++)
		batch_count_add(&c, b->tests[i]);
	return c;
}

enum batch_exit batch_exit_status(const struct batch_counts *c)
{
	if (c->n[OUTCOME_FAIL] || c->n[OUTCOME_PANIC] || c->n[OUTCOME_STALL] ||
	    c->n[OUTCOME_TIMEOUT] || c->n[OUTCOME_BOOT])
		return BATCH_EXIT_FAIL;
	if (c->n[OUTCOME_INFRA])
		return BATCH_EXIT_INFRA;
	if (c->n_tests == c->n[BATCH_NOT_RUN])
		return BATCH_EXIT_NOTHING;
	if (c->n[OUTCOME_INCONCLUSIVE] || c->n[BATCH_NOT_RUN])
		return BATCH_EXIT_INCONCLUSIVE;
	return c->n[OUTCOME_PASS] ? BATCH_EXIT_PASS : BATCH_EXIT_NOTHING;
}
