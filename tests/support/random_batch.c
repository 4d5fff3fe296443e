#include "support/random_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static uint64_t next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Often small, sometimes 0, sometimes large. */
static uint64_t number(uint64_t *s)
{
	return next(s) >> (next(s) % 64) >> 1;
}

static uint32_t number32(uint64_t *s)
{
	return (uint32_t)number(s);
}

static const char *hostile(uint64_t *s, struct buf *b)
{
	static const char *const pieces[] = { "plain words ", "]]>",          "<a&b>\"'",
					      "\x1b[31m",     "\n",           "\t",
					      "\r\n",         "\xff",         "\xc2\x9b",
					      "gr\xc3\xbcn",  "\xef\xbf\xbe", "# \\",
					      "  ...",        "---",          "'''" };
	size_t n = next(s) % 8;

	b->len = 0;
	if (next(s) % 64 == 0)
		n = 20000;
	for (size_t i = 0; i < n; i++)
		buf_append_str(b, pieces[next(s) % ARRAY_SIZE(pieces)]);
	return buf_str(b);
}

static void make_results(struct batch_test *t, uint64_t *s, struct buf *b)
{
	static const char *const betters[] = { "higher", "lower", "neither" };
	struct test_result *parent = NULL;
	char name[32];

	for (size_t i = next(s) % 6, depth = 0; i > 0; i--, depth++) {
		(void)snprintf(name, sizeof(name), "sub <%u>", (unsigned)i);
		struct test_result *r =
		    test_results_open(&t->results, depth < TEST_DEPTH_MAX ? parent : NULL, name);
		for (size_t m = next(s) % 3; m > 0; m--)
			test_result_add_metric(r, hostile(s, b), (double)number(s) / 7, "us",
					       betters[next(s) % 3]);
		if (next(s) % 4)
			test_result_close(r, (enum outcome)(next(s) % 4), hostile(s, b),
					  (double)number32(s) / 3);
		parent = next(s) % 2 ? r : r->parent;
	}
}

static void make_evidence(struct batch_test *t, uint64_t *s, struct buf *b)
{
	struct batch_evidence *e = &t->evidence;

	e->last_phase = PHASE_INIT;
	e->has_exit = next(s) % 2;
	if (e->has_exit)
		e->exit = (struct frame_exit){ .kind = next(s) % 5, .value = (int32_t)next(s) };
	batch_set_line(&e->deadline_by, hostile(s, b));
	batch_set_text(&e->panic, hostile(s, b), b->len);
	batch_set_text(&e->crash, hostile(s, b), b->len);
	batch_set_tail(&e->log_tail, hostile(s, b), b->len);
	for (size_t i = next(s) % 3; i > 0; i--)
		batch_test_add_note(t, hostile(s, b), b->len);
	for (size_t i = next(s) % 5; i > 0; i--)
		batch_test_add_phase(t, PHASE_INIT + i, number(s), next(s) % 2);
	for (size_t i = next(s) % 3; i > 0; i--)
		batch_test_add_attempt(t, hostile(s, b), b->len, number(s));
}

static void make_resources(struct batch_test *t, uint64_t *s, struct buf *b)
{
	struct batch_resources *r = &t->resources;

	r->user_us = number(s);
	r->system_us = number(s);
	r->max_rss_kib = number(s);
	r->has_steal = next(s) % 2;
	r->steal_us = r->has_steal ? number(s) : 0;
	r->overcommit = (double)(next(s) % 100) / 3;
	batch_set_line(&r->cpus, "0-3,8");
	for (size_t i = next(s) % 4; i > 0; i--)
		batch_test_add_counter(t, hostile(s, b), next(s));
	for (uint32_t i = (uint32_t)(next(s) % 4); i > 0; i--)
		*batch_test_vcpu(t, i) = (struct batch_vcpu){ number(s), number(s) };
}

static void make_test(struct batch_result *batch, uint64_t *s, struct buf *b)
{
	CLEANUP(freep) char *program = xasprintf("/x/%s", next(s) % 2 ? "prog" : hostile(s, b));
	struct batch_test *t = batch_result_add(
	    batch, program, next(s) % 2 ? "pair/fair" : hostile(s, b), (uint32_t)(next(s) % 4));

	t->outcome = (uint32_t)(next(s) % BATCH_N_OUTCOMES);
	batch_set_why(&t->why, hostile(s, b), b->len);
	t->begin_us = number(s);
	t->duration_us = number(s);
	batch_set_path(&t->output, hostile(s, b));
	batch_set_line(&t->declared.topology, "1,2,2,1");
	t->declared.memory_mib = number32(s);
	t->declared.timeout_s = number32(s);
	t->declared.cpu_cap = number32(s);
	t->declared.disk_mib = number32(s);
	batch_set_line(&t->declared.disk_fs, next(s) % 2 ? "ext4" : "");
	t->declared.perf = next(s) % 2;
	t->declared.net = next(s) % 2;
	make_evidence(t, s, b);
	make_resources(t, s, b);
	make_results(t, s, b);
}

void random_batch(struct batch_result *b, uint64_t seed, size_t n_max)
{
	CLEANUP(buf_fini) struct buf scratch = { 0 };
	uint64_t s = seed * 0x9e3779b97f4a7c15 + 1;

	b->start_us = next(&s) % 253402300799000000;
	b->duration_us = number(&s);
	batch_set_line(&b->version, hostile(&s, &scratch));
	batch_set_line(&b->host, hostile(&s, &scratch));
	batch_set_path(&b->kernel, hostile(&s, &scratch));
	batch_set_line(&b->release, hostile(&s, &scratch));
	b->seed = next(&s);
	b->n_shards = (uint32_t)(next(&s) % 4);
	b->shard = b->n_shards ? 1 + (uint32_t)(next(&s) % b->n_shards) : 0;
	b->jobs = number32(&s);
	b->repeat = number32(&s);
	b->overcommit = (double)(next(&s) % 1000) / 7;
	b->interrupted = (int)(next(&s) % 3);
	for (size_t i = next(&s) % (n_max + 1); i > 0; i--)
		make_test(b, &s, &scratch);
}

/* -- equality, member by member; doubles are to come back exactly */

#define SAME(member)                                                                               \
	do {                                                                                       \
		if (a->member != b->member)                                                        \
			return #member;                                                            \
	} while (0)
#define SAME_TEXT(member)                                                                          \
	do {                                                                                       \
		if (strcmp(batch_text(a->member), batch_text(b->member)) != 0)                     \
			return #member;                                                            \
	} while (0)
static const char *evidence_difference(const struct batch_evidence *a,
				       const struct batch_evidence *b)
{
	SAME(last_phase);
	SAME(has_exit);
	SAME(exit.kind);
	SAME(exit.value);
	SAME_TEXT(deadline_by);
	SAME_TEXT(panic);
	SAME_TEXT(crash);
	SAME_TEXT(log_tail);
	SAME(n_notes);
	for (size_t i = 0; i < a->n_notes; i++)
		SAME_TEXT(notes[i]);
	SAME(n_phases);
	for (size_t i = 0; i < a->n_phases; i++) {
		SAME(phases[i].at_us);
		SAME(phases[i].phase);
		SAME(phases[i].is_guest);
	}
	return NULL;
}

static const char *resources_difference(const struct batch_resources *a,
					const struct batch_resources *b)
{
	SAME(user_us);
	SAME(system_us);
	SAME(max_rss_kib);
	SAME(has_steal);
	SAME(steal_us);
	SAME(overcommit);
	SAME_TEXT(cpus);
	SAME(n_counters);
	for (size_t i = 0; i < a->n_counters; i++) {
		SAME_TEXT(counters[i].name);
		SAME(counters[i].value);
	}
	SAME(n_vcpus);
	for (size_t i = 0; i < a->n_vcpus; i++) {
		SAME(vcpus[i].run_delay_us);
		SAME(vcpus[i].involuntary_switches);
	}
	return NULL;
}

static const char *metrics_difference(const struct test_result *x, const struct test_result *y)
{
	struct list *other = y->metrics.next, *node;

	list_for_each (node, &x->metrics) {
		if (other == &y->metrics)
			return "metrics lost";
		const struct test_metric *a = container_of(node, struct test_metric, node);
		const struct test_metric *b = container_of(other, struct test_metric, node);
		SAME_TEXT(name);
		SAME_TEXT(unit);
		SAME_TEXT(better);
		SAME(value);
		other = other->next;
	}
	return other == &y->metrics ? NULL : "metrics more";
}

static const char *results_difference(const struct test_results *x, const struct test_results *y)
{
	struct test_result *a = NULL, *b = NULL;

	for (;;) {
		a = test_results_next(x, a);
		b = test_results_next(y, b);
		if (!a || !b)
			return a || b ? "results lost" : NULL;
		SAME_TEXT(name);
		SAME(has_outcome);
		SAME(outcome);
		SAME_TEXT(message);
		SAME(duration_ms);
		if (!a->parent != !b->parent ||
		    (a->parent && strcmp(a->parent->name, b->parent->name) != 0))
			return "results' parent";
		const char *difference = metrics_difference(a, b);
		if (difference)
			return difference;
	}
}

static const char *declared_difference(const struct batch_declared *a,
				       const struct batch_declared *b)
{
	SAME_TEXT(topology);
	SAME(memory_mib);
	SAME(timeout_s);
	SAME(cpu_cap);
	SAME(disk_mib);
	SAME_TEXT(disk_fs);
	SAME(perf);
	SAME(net);
	return NULL;
}

static const char *test_difference(const struct batch_test *a, const struct batch_test *b)
{
	const char *difference;

	SAME_TEXT(id);
	SAME_TEXT(program);
	SAME_TEXT(name);
	SAME(repeat);
	SAME(outcome);
	SAME_TEXT(why);
	SAME(begin_us);
	SAME(duration_us);
	SAME_TEXT(output);
	SAME(n_attempts);
	for (size_t i = 0; i < a->n_attempts; i++) {
		SAME_TEXT(attempts[i].why);
		SAME(attempts[i].duration_us);
	}
	if ((difference = declared_difference(&a->declared, &b->declared)) ||
	    (difference = evidence_difference(&a->evidence, &b->evidence)) ||
	    (difference = resources_difference(&a->resources, &b->resources)))
		return difference;
	return results_difference(&a->results, &b->results);
}

const char *batch_difference(const struct batch_result *a, const struct batch_result *b)
{
	SAME(start_us);
	SAME(duration_us);
	SAME_TEXT(version);
	SAME_TEXT(host);
	SAME_TEXT(kernel);
	SAME_TEXT(release);
	SAME(seed);
	SAME(shard);
	SAME(n_shards);
	SAME(jobs);
	SAME(repeat);
	SAME(overcommit);
	SAME(interrupted);
	SAME(n_tests);
	for (size_t i = 0; i < a->n_tests; i++) {
		const char *difference = test_difference(a->tests[i], b->tests[i]);
		if (difference)
			return difference;
	}
	return NULL;
}
