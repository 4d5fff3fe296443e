/* A document back into the model. Each reader of a member says what is wrong with it, and where; the first error stays. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "harness/batch_json.h"

struct reader {
	struct error *err;
	bool failed;
	const char *where; /* id of the test; NULL: the head */
};

static void fail(struct reader *r, const char *key, const char *what)
{
	if (r->failed)
		return;
	r->failed = true;
	if (r->where)
		(void)error_set_usage(r->err, -EINVAL, "test '%.200s': '%s' is %s", r->where, key,
				      what);
	else
		(void)error_set_usage(r->err, -EINVAL, "'%s' is %s", key, what);
}

/* -- members; what cannot be read is a harmless value and an error */

static const json_t *member(struct reader *r, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		fail(r, key, "missing");
	return v;
}

static const json_t *object(struct reader *r, const json_t *o, const char *key)
{
	const json_t *v = member(r, o, key);

	if (v && !json_is_object(v))
		fail(r, key, "no object");
	return v;
}

static const json_t *array(struct reader *r, const json_t *o, const char *key, size_t max)
{
	const json_t *v = member(r, o, key);

	if (v && !json_is_array(v))
		fail(r, key, "no array");
	else if (json_array_size(v) > max)
		fail(r, key, "too long");
	return v;
}

static const char *text(struct reader *r, const json_t *o, const char *key)
{
	const json_t *v = member(r, o, key);

	if (v && !json_is_string(v))
		fail(r, key, "no text");
	return json_is_string(v) ? json_string_value(v) : "";
}

static uint64_t count_value(struct reader *r, const json_t *v, const char *key, uint64_t max)
{
	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) > max) {
		fail(r, key, "no integer in its range");
		return 0;
	}
	return (uint64_t)json_integer_value(v);
}

static uint64_t count(struct reader *r, const json_t *o, const char *key)
{
	return count_value(r, member(r, o, key), key, INT64_MAX);
}

static uint32_t count32(struct reader *r, const json_t *o, const char *key)
{
	return (uint32_t)count_value(r, member(r, o, key), key, UINT32_MAX);
}

static double number(struct reader *r, const json_t *o, const char *key)
{
	const json_t *v = member(r, o, key);

	if (v && (!json_is_number(v) || json_number_value(v) < 0))
		fail(r, key, "no number from 0 on");
	return json_is_number(v) ? json_number_value(v) : 0;
}

static bool flag(struct reader *r, const json_t *o, const char *key)
{
	const json_t *v = member(r, o, key);

	if (v && !json_is_boolean(v))
		fail(r, key, "neither true nor false");
	return json_is_true(v);
}

static void read_line(struct reader *r, const json_t *o, const char *key, char **slot)
{
	batch_set_line(slot, text(r, o, key));
}

static void read_text(struct reader *r, const json_t *o, const char *key, char **slot)
{
	const char *s = text(r, o, key);

	batch_set_text(slot, s, strlen(s));
}

/* -- a test */

static void read_declared(struct reader *r, const json_t *o, struct batch_declared *d)
{
	read_line(r, o, "topology", &d->topology);
	d->memory_mib = count32(r, o, "memory_mib");
	d->timeout_s = count32(r, o, "timeout_s");
	d->perf = flag(r, o, "perf");
	d->cpu_cap = count32(r, o, "cpu_cap");
	d->disk_mib = count32(r, o, "disk_mib");
	read_line(r, o, "disk_fs", &d->disk_fs);
	d->net = flag(r, o, "net");
}

static void read_timeline(struct reader *r, const json_t *list, struct batch_test *t)
{
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item) {
		const char *side = text(r, item, "side");
		bool is_guest = strcmp(side, "guest") == 0;
		if (!is_guest && strcmp(side, "host") != 0)
			fail(r, "side", "neither host nor guest");
		batch_test_add_phase(t, batch_phase_parse(text(r, item, "phase")),
				     count(r, item, "us"), is_guest);
	}
}

static void read_exit(struct reader *r, const json_t *v, struct batch_evidence *e)
{
	if (!v || json_is_null(v))
		return;
	const json_t *value = member(r, v, "value");
	if (!json_is_integer(value) ||
	    json_integer_value(value) != (int32_t)json_integer_value(value))
		fail(r, "value", "no exit status");
	e->has_exit = true;
	e->exit.kind = batch_exit_kind_parse(text(r, v, "kind"));
	e->exit.value = (int32_t)json_integer_value(value);
}

static void read_evidence(struct reader *r, const json_t *o, struct batch_test *t)
{
	struct batch_evidence *e = &t->evidence;
	const json_t *notes = array(r, o, "notes", BATCH_NOTES_MAX);
	size_t i;
	json_t *item;

	e->last_phase = batch_phase_parse(text(r, o, "last_phase"));
	read_exit(r, member(r, o, "exit"), e);
	read_line(r, o, "deadline_by", &e->deadline_by);
	read_text(r, o, "panic", &e->panic);
	read_text(r, o, "crash", &e->crash);
	read_text(r, o, "log_tail", &e->log_tail);
	json_array_foreach (notes, i, item) {
		if (json_is_string(item))
			batch_test_add_note(t, json_string_value(item), json_string_length(item));
		else
			fail(r, "notes", "no array of texts");
	}
	read_timeline(r, array(r, o, "timeline", BATCH_PHASES_MAX), t);
}

static void read_vcpus(struct reader *r, const json_t *list, struct batch_test *t)
{
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item) {
		struct batch_vcpu *v = batch_test_vcpu(t, (uint32_t)i);
		if (!v)
			return; /* array() has told */
		v->run_delay_us = count(r, item, "run_delay_us");
		v->involuntary_switches = count(r, item, "involuntary_switches");
	}
}

static void read_resources(struct reader *r, const json_t *o, struct batch_test *t)
{
	struct batch_resources *res = &t->resources;
	const json_t *steal = member(r, o, "steal_us");
	json_t *counters = (json_t *)(uintptr_t)object(r, o, "counters");
	const char *name;
	json_t *value;

	res->user_us = count(r, o, "user_us");
	res->system_us = count(r, o, "system_us");
	res->max_rss_kib = count(r, o, "max_rss_kib");
	res->has_steal = steal && !json_is_null(steal);
	if (res->has_steal)
		res->steal_us = count_value(r, steal, "steal_us", INT64_MAX);
	res->overcommit = number(r, o, "overcommit");
	read_line(r, o, "cpus", &res->cpus);
	json_object_foreach (counters, name, value)
		batch_test_add_counter(t, name, count_value(r, value, "counters", INT64_MAX));
	read_vcpus(r, array(r, o, "vcpus", BATCH_VCPUS_MAX), t);
}

static void read_attempts(struct reader *r, const json_t *list, struct batch_test *t)
{
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item) {
		const char *why = text(r, item, "why");
		batch_test_add_attempt(t, why, strlen(why), count(r, item, "duration_us"));
	}
}

static void read_results(struct reader *r, const json_t *o, struct batch_test *t)
{
	struct error err;

	if (!r->failed &&
	    test_results_read_json(&t->results, json_object_get(o, "tests"), &err) < 0)
		fail(r, "tests", "not as results of tests are");
}

static void read_test(struct reader *r, const json_t *o, struct batch_result *b)
{
	const char *id = text(r, o, "id"), *why = text(r, o, "why");

	r->where = id;
	if (!*id || strlen(id) > BATCH_ID_MAX)
		fail(r, "id", "empty or too long");
	struct batch_test *t =
	    r->failed ? NULL
		      : batch_result_add_as(b, id, text(r, o, "program"), text(r, o, "name"),
					    count32(r, o, "repeat"));
	if (!t) {
		fail(r, "id", "there twice");
		return;
	}
	if (!batch_outcome_parse(text(r, o, "outcome"), &t->outcome))
		fail(r, "outcome", "unknown");
	batch_set_why(&t->why, why, strlen(why));
	t->begin_us = count(r, o, "begin_us");
	t->duration_us = count(r, o, "duration_us");
	batch_set_path(&t->output, text(r, o, "output"));
	read_declared(r, object(r, o, "declared"), &t->declared);
	read_evidence(r, object(r, o, "evidence"), t);
	read_resources(r, object(r, o, "resources"), t);
	read_attempts(r, array(r, o, "attempts", BATCH_ATTEMPTS_MAX), t);
	read_results(r, o, t);
}

/* -- the batch */

static void read_shard(struct reader *r, const json_t *v, struct batch_result *b)
{
	if (!v || json_is_null(v))
		return;
	b->shard = count32(r, v, "index");
	b->n_shards = count32(r, v, "count");
	if (b->shard < 1 || b->shard > b->n_shards)
		fail(r, "shard", "no I of N");
}

static void read_head(struct reader *r, const json_t *doc, struct batch_result *b)
{
	struct error err;

	if (!batch_time_parse(text(r, doc, "start"), &b->start_us))
		fail(r, "start", "no time such as 2026-01-31T12:00:00.000000Z");
	b->duration_us = count(r, doc, "duration_us");
	read_line(r, doc, "ktstr", &b->version);
	read_line(r, doc, "host", &b->host);
	batch_set_path(&b->kernel, text(r, doc, "kernel"));
	read_line(r, doc, "release", &b->release);
	if (num_parse_u64("seed", text(r, doc, "seed"), 0, UINT64_MAX, &b->seed, &err) < 0)
		fail(r, "seed", "no number as text");
	read_shard(r, member(r, doc, "shard"), b);
	b->jobs = count32(r, doc, "jobs");
	b->repeat = count32(r, doc, "repeat");
	b->overcommit = number(r, doc, "overcommit");
	b->interrupted = (int)count_value(r, member(r, doc, "interrupted"), "interrupted", 64);
}

/* What the document says of itself must be what its tests say: else it is cut, or somebody edited it. */
static void check_counts(struct reader *r, const json_t *doc, const struct batch_result *b)
{
	struct batch_counts counts = batch_count(b);
	const json_t *said = object(r, doc, "counts");

	for (uint32_t i = 0; i < BATCH_N_OUTCOMES; i++)
		if (count32(r, said, batch_outcome_name(i)) != counts.n[i])
			fail(r, "counts", "not what its tests are");
}

static void read_document(struct reader *r, const json_t *doc, struct batch_result *b)
{
	const char *format = json_string_value(json_object_get(doc, "format"));
	const json_t *tests;
	size_t i;
	json_t *item;

	if (!format || strcmp(format, "ktstr-batch") != 0) {
		fail(r, "format", "not \"ktstr-batch\": no document of `ktstr test --json`");
		return;
	}
	if (count(r, doc, "version") != BATCH_JSON_VERSION) {
		fail(r, "version", "not 1: written by another version of ktstr");
		return;
	}
	read_head(r, doc, b);
	tests = array(r, doc, "tests", BATCH_TESTS_MAX);
	json_array_foreach (tests, i, item) {
		r->where = NULL;
		if (r->failed)
			return;
		if (json_is_object(item))
			read_test(r, item, b);
		else
			fail(r, "tests", "no array of objects");
	}
	r->where = NULL;
	check_counts(r, doc, b);
}

int batch_json_read(struct batch_result *b, const void *text, size_t n, struct error *err)
{
	struct reader r = { .err = err };
	json_error_t why;
	json_t *doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);

	if (!doc)
		return error_set_usage(err, -EINVAL, "no JSON: line %d: %s", why.line, why.text);
	read_document(&r, doc, b);
	json_decref(doc);
	return r.failed ? err->code : 0;
}
