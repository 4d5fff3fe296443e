#include "harness/batch_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/num.h"

/* -- words */

static const char *const exit_kinds[] = { "status", "signal", "not-found", "not-executable",
					  "init" };

const char *batch_exit_kind_name(uint32_t kind)
{
	return kind < ARRAY_SIZE(exit_kinds) ? exit_kinds[kind] : "?";
}

uint32_t batch_exit_kind_parse(const char *name)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(exit_kinds); i++)
		if (strcmp(name, exit_kinds[i]) == 0)
			return i;
	return UINT32_MAX;
}

uint32_t batch_phase_parse(const char *name)
{
	for (uint32_t i = 0; i <= PHASE_VERDICT; i++)
		if (strcmp(name, frame_phase_name(i)) == 0 && *name != '?')
			return i;
	return UINT32_MAX;
}

void batch_time_format(uint64_t unix_us, char text[static BATCH_TIME_MAX])
{
	/* The year 9999 is the last that fits. */
	time_t s = (time_t)num_min(unix_us / 1000000, 253402300799);
	struct tm tm;

	(void)gmtime_r(&s, &tm);
	size_t n = strftime(text, BATCH_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(text + n, BATCH_TIME_MAX - n, ".%06" PRIu64 "Z", unix_us % 1000000);
}

bool batch_time_parse(const char *text, uint64_t *ret)
{
	char again[BATCH_TIME_MAX];
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S.", &tm);

	if (!rest)
		return false;
	time_t s = timegm(&tm);
	if (s < 0)
		return false;
	uint64_t us = (uint64_t)s * 1000000 + strtoul(rest, NULL, 10);
	batch_time_format(us, again); /* whatever else strptime lets pass differs */
	if (strcmp(text, again) != 0)
		return false;
	*ret = us;
	return true;
}

/* -- the document */

/* JSON's integers end here; nothing that we count gets near. */
static json_int_t integer(uint64_t v)
{
	return (json_int_t)num_min(v, INT64_MAX);
}

static double finite_or_0(double v)
{
	return isfinite(v) ? v : 0;
}

/* @v, which is only NULL when there is no memory: all text is UTF-8, all numbers are finite. */
static json_t *have(json_t *v)
{
	if (!v)
		die_out_of_memory();
	return v;
}

static json_t *declared_json(const struct batch_declared *d)
{
	return json_pack("{s:s, s:I, s:I, s:b, s:I, s:I, s:s, s:b}", "topology",
			 batch_text(d->topology), "memory_mib", integer(d->memory_mib), "timeout_s",
			 integer(d->timeout_s), "perf", d->perf, "cpu_cap", integer(d->cpu_cap),
			 "disk_mib", integer(d->disk_mib), "disk_fs", batch_text(d->disk_fs), "net",
			 d->net);
}

static json_t *timeline_json(const struct batch_evidence *e)
{
	json_t *list = have(json_array());

	for (size_t i = 0; i < e->n_phases; i++)
		json_array_append_new(
		    list,
		    have(json_pack("{s:s, s:s, s:I}", "phase", frame_phase_name(e->phases[i].phase),
				   "side", e->phases[i].is_guest ? "guest" : "host", "us",
				   integer(e->phases[i].at_us))));
	return list;
}

static json_t *evidence_json(const struct batch_evidence *e)
{
	json_t *notes = have(json_array());

	for (size_t i = 0; i < e->n_notes; i++)
		json_array_append_new(notes, have(json_string(e->notes[i])));
	json_t *exit = e->has_exit
			   ? json_pack("{s:s, s:i}", "kind", batch_exit_kind_name(e->exit.kind),
				       "value", (int)e->exit.value)
			   : json_null();
	return json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:o, s:o}", "last_phase",
			 frame_phase_name(e->last_phase), "exit", have(exit), "deadline_by",
			 batch_text(e->deadline_by), "panic", batch_text(e->panic), "crash",
			 batch_text(e->crash), "log_tail", batch_text(e->log_tail), "notes", notes,
			 "timeline", timeline_json(e));
}

static json_t *resources_json(const struct batch_resources *r)
{
	json_t *counters = have(json_object()), *vcpus = have(json_array());

	for (size_t i = 0; i < r->n_counters; i++)
		json_object_set_new(counters, r->counters[i].name,
				    have(json_integer(integer(r->counters[i].value))));
	for (size_t i = 0; i < r->n_vcpus; i++)
		json_array_append_new(
		    vcpus, have(json_pack("{s:I, s:I}", "run_delay_us",
					  integer(r->vcpus[i].run_delay_us), "involuntary_switches",
					  integer(r->vcpus[i].involuntary_switches))));
	return json_pack("{s:I, s:I, s:I, s:o, s:f, s:s, s:o, s:o}", "user_us", integer(r->user_us),
			 "system_us", integer(r->system_us), "max_rss_kib", integer(r->max_rss_kib),
			 "steal_us",
			 r->has_steal ? json_integer(integer(r->steal_us)) : json_null(),
			 "overcommit", finite_or_0(r->overcommit), "cpus", batch_text(r->cpus),
			 "counters", counters, "vcpus", vcpus);
}

static json_t *attempts_json(const struct batch_test *t)
{
	json_t *list = have(json_array());

	for (size_t i = 0; i < t->n_attempts; i++)
		json_array_append_new(
		    list, have(json_pack("{s:s, s:I}", "why", batch_text(t->attempts[i].why),
					 "duration_us", integer(t->attempts[i].duration_us))));
	return list;
}

static json_t *test_json(const struct batch_test *t)
{
	return json_pack(
	    "{s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:o}", "id", t->id,
	    "program", t->program, "name", t->name, "repeat", integer(t->repeat), "outcome",
	    batch_outcome_name(t->outcome), "why", batch_text(t->why), "begin_us",
	    integer(t->begin_us), "duration_us", integer(t->duration_us), "output",
	    batch_text(t->output), "declared", have(declared_json(&t->declared)), "evidence",
	    have(evidence_json(&t->evidence)), "resources", have(resources_json(&t->resources)),
	    "attempts", attempts_json(t), "tests", have(test_results_json(&t->results)));
}

static json_t *counts_json(const struct batch_counts *c)
{
	json_t *counts = have(json_object());

	for (uint32_t i = 0; i < BATCH_N_OUTCOMES; i++)
		json_object_set_new(counts, batch_outcome_name(i), have(json_integer(c->n[i])));
	json_object_set_new(counts, "tests", have(json_integer(c->n_tests)));
	json_object_set_new(counts, "retried", have(json_integer(c->n_retried)));
	return counts;
}

static json_t *shard_json(const struct batch_result *b)
{
	if (!b->n_shards)
		return have(json_null());
	return have(
	    json_pack("{s:I, s:I}", "index", integer(b->shard), "count", integer(b->n_shards)));
}

/* All but the tests. */
static json_t *head_json(const struct batch_result *b)
{
	struct batch_counts counts = batch_count(b);
	char start[BATCH_TIME_MAX], seed[24];

	batch_time_format(b->start_us, start);
	(void)snprintf(seed, sizeof(seed), "%" PRIu64, b->seed);
	return json_pack(
	    "{s:s, s:i, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:f, s:i, s:i, s:o}",
	    "format", "ktstr-batch", "version", BATCH_JSON_VERSION, "ktstr", batch_text(b->version),
	    "start", start, "duration_us", integer(b->duration_us), "host", batch_text(b->host),
	    "kernel", batch_text(b->kernel), "release", batch_text(b->release), "seed", seed,
	    "shard", shard_json(b), "jobs", integer(b->jobs), "repeat", integer(b->repeat),
	    "overcommit", finite_or_0(b->overcommit), "interrupted", b->interrupted, "exit_status",
	    (int)batch_exit_status(&counts), "counts", counts_json(&counts));
}

/* Releases @v. 17 digits bring a number back as it was. */
static void dump(struct buf *ret, json_t *v, size_t flags)
{
	char *text = json_dumps(have(v), flags | JSON_REAL_PRECISION(17));

	if (!text)
		die_out_of_memory();
	buf_append_str(ret, text);
	free(text);
	json_decref(v);
}

/* Stitched from the dumps of its parts, so that the whole never exists twice in memory, and tests are lines. */
void batch_json_write(const struct batch_result *b, struct buf *ret)
{
	dump(ret, head_json(b), JSON_INDENT(2));
	ASSERT(ret->len > 2 && memcmp(ret->data + ret->len - 2, "\n}", 2) == 0);
	ret->len -= 2;
	buf_append_str(ret, ",\n  \"tests\": [");
	for (size_t i = 0; i < b->n_tests; i++) {
		buf_append_str(ret, i ? ",\n    " : "\n    ");
		dump(ret, test_json(b->tests[i]), 0);
	}
	buf_append_str(ret, "\n  ]\n}\n");
}
