#include "harness/batch_merge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/num.h"

/* More shards than this nobody has; a hostile document may say so. */
enum { SHARDS_MAX = 65536 };

void batch_merge_init(struct batch_merge *m, struct batch_result *into)
{
	*m = (struct batch_merge){ .into = into };
}

void batch_merge_fini(struct batch_merge *m)
{
	buf_fini(&m->notes);
	buf_fini(&m->shards);
	freep(&m->first);
}

/* Paths differ between machines, so the release decides where there is one. */
static bool same_kernel(const struct batch_result *a, const struct batch_result *b)
{
	if (*batch_text(a->release) || *batch_text(b->release))
		return strcmp(batch_text(a->release), batch_text(b->release)) == 0;
	return strcmp(batch_text(a->kernel), batch_text(b->kernel)) == 0;
}

static const char *kernel_name(const struct batch_result *b)
{
	return *batch_text(b->release) ? b->release : batch_text(b->kernel);
}

static int check_shard(struct batch_merge *m, const struct batch_result *from, const char *name,
		       struct error *err)
{
	if (from->n_shards > SHARDS_MAX)
		return error_set_usage(err, -EINVAL, "'%s': more than %d shards", name, SHARDS_MAX);
	if (m->first && from->n_shards != m->into->n_shards)
		return error_set_usage(
		    err, -EINVAL,
		    "'%s' is one of %u shards and '%s' one of %u (0: no shard): they do not belong "
		    "together",
		    m->first, m->into->n_shards, name, from->n_shards);
	if (from->n_shards && m->shards.len && m->shards.data[from->shard - 1])
		return error_set_usage(err, -EINVAL,
				       "'%s': shard %u of %u is there already: give each once",
				       name, from->shard, from->n_shards);
	return 0;
}

static int check(struct batch_merge *m, const struct batch_result *from, const char *name,
		 struct error *err)
{
	if (check_shard(m, from, name, err) < 0)
		return err->code;
	if (m->first && !same_kernel(m->into, from))
		return error_set_usage(err, -EINVAL,
				       "'%s' is about kernel '%s', '%s' about '%s': report each "
				       "alone, or use --compare",
				       m->first, kernel_name(m->into), name, kernel_name(from));
	if (m->into->n_tests + from->n_tests + from->n_shards > BATCH_TESTS_MAX)
		return error_set_usage(err, -EFBIG, "'%s': more than %d tests in all", name,
				       BATCH_TESTS_MAX);
	for (size_t i = 0; i < from->n_tests; i++)
		if (batch_result_find(m->into, from->tests[i]->id))
			return error_set_usage(err, -EEXIST,
					       "'%s': test '%.200s' is in another document, too: "
					       "give each once, or use "
					       "--compare",
					       name, from->tests[i]->id);
	return 0;
}

static void note_differences(struct batch_merge *m, const struct batch_result *from,
			     const char *name)
{
	const struct batch_result *into = m->into;

	if (into->seed != from->seed)
		buf_printf(&m->notes, "'%s' and '%s' ran with different seeds\n", m->first, name);
	if (strcmp(batch_text(into->version), batch_text(from->version)) != 0)
		buf_printf(&m->notes, "'%s' is of ktstr %s, '%s' of ktstr %s\n", m->first,
			   batch_text(into->version), name, batch_text(from->version));
	if (strcmp(batch_text(into->host), batch_text(from->host)) != 0)
		buf_printf(&m->notes, "'%s' and '%s' ran on different hosts\n", m->first, name);
}

static void take_head(struct batch_merge *m, const struct batch_result *from, const char *name)
{
	struct batch_result *into = m->into;

	m->first = xstrdup(name);
	batch_set_line(&into->version, from->version);
	batch_set_line(&into->host, from->host);
	batch_set_path(&into->kernel, from->kernel);
	batch_set_line(&into->release, from->release);
	into->start_us = from->start_us;
	into->duration_us = from->duration_us;
	into->seed = from->seed;
	into->n_shards = from->n_shards;
	into->shard = from->shard;
	into->jobs = from->jobs;
	into->repeat = from->repeat;
	into->overcommit = from->overcommit;
	into->interrupted = from->interrupted;
	buf_append_zeros(&m->shards, from->n_shards);
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	uint64_t s;

	return num_add_u64(a, b, &s) ? s : UINT64_MAX; /* only in forged documents */
}

/* Times count from the earliest start. */
static void join_times(struct batch_result *into, struct batch_result *from)
{
	uint64_t start_us = num_min(into->start_us, from->start_us);
	uint64_t end_us =
	    num_max(sum(into->start_us, into->duration_us), sum(from->start_us, from->duration_us));
	struct batch_result *const both[] = { into, from };

	for (size_t i = 0; i < ARRAY_SIZE(both); i++)
		for (size_t t = 0; t < both[i]->n_tests; t++)
			both[i]->tests[t]->begin_us =
			    sum(both[i]->tests[t]->begin_us, both[i]->start_us - start_us);
	into->start_us = start_us;
	into->duration_us = end_us - start_us;
}

static void join_head(struct batch_result *into, struct batch_result *from)
{
	join_times(into, from);
	into->jobs = (uint32_t)num_max(into->jobs, from->jobs);
	into->repeat = (uint32_t)num_max(into->repeat, from->repeat);
	if (from->overcommit > into->overcommit)
		into->overcommit = from->overcommit;
	if (!into->interrupted)
		into->interrupted = from->interrupted;
}

int batch_merge_add(struct batch_merge *m, struct batch_result *from, const char *name,
		    struct error *err)
{
	if (check(m, from, name, err) < 0)
		return err->code;
	if (m->first) {
		note_differences(m, from, name);
		join_head(m->into, from);
	} else {
		take_head(m, from, name);
	}
	if (from->n_shards)
		m->shards.data[from->shard - 1] = 1;
	batch_result_move(m->into, from);
	return 0;
}

void batch_merge_finish(struct batch_merge *m)
{
	static const char why[] = "no document of this shard was given: its verdicts are lost";
	uint32_t n = m->into->n_shards;
	char name[32];

	for (uint32_t i = 0; i < n; i++) {
		if (m->shards.data[i])
			continue;
		(void)snprintf(name, sizeof(name), "%u-of-%u", i + 1, n);
		struct batch_test *t = batch_result_add(m->into, "shard", name, 0);
		ASSERT(t); /* check() kept room */
		t->outcome = OUTCOME_INFRA;
		batch_set_why(&t->why, why, strlen(why));
	}
	m->into->shard = m->into->n_shards = 0;
}
