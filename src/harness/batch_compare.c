#include "harness/batch_compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/num.h"

/* -- runs: the entries of a batch by series, so that the repeats of one test are neighbours */

struct run {
	char *series;
	const struct batch_test *test;
	size_t at; /* in its batch */
};

struct runs {
	struct run *all;
	size_t n;
};

static int by_series(const void *a, const void *b)
{
	const struct run *x = a, *y = b;
	int order = strcmp(x->series, y->series);

	return order ? order : x->at < y->at ? -1 : x->at > y->at;
}

static void runs_init(struct runs *r, const struct batch_result *b)
{
	*r = (struct runs){ .all = xcalloc(b->n_tests, sizeof(*r->all)), .n = b->n_tests };
	for (size_t i = 0; i < r->n; i++)
		r->all[i] = (struct run){ batch_test_series(b->tests[i]), b->tests[i], i };
	qsort(r->all, r->n, sizeof(*r->all), by_series);
}

static void runs_fini(struct runs *r)
{
	for (size_t i = 0; i < r->n; i++)
		freep(&r->all[i].series);
	freep(&r->all);
}

/* The runs of one series in one batch. */
struct group {
	const struct run *runs;
	size_t n;
};

static struct group group_at(const struct runs *r, size_t at)
{
	size_t end = at;

	while (end < r->n && strcmp(r->all[end].series, r->all[at].series) == 0)
		end++;
	return (struct group){ r->all + at, end - at };
}

/* The runs of a series on both sides; one side may have none. */
struct pair {
	struct group before, after;
};

static bool is_failure(uint32_t outcome)
{
	return outcome == OUTCOME_FAIL || (outcome >= OUTCOME_PANIC && outcome <= OUTCOME_BOOT);
}

/* The higher the worse. */
static int rank(uint32_t outcome)
{
	static const int ranks[BATCH_N_OUTCOMES] = {
		[OUTCOME_PASS] = 0,         [OUTCOME_SKIP] = 1,  [BATCH_NOT_RUN] = 2,
		[OUTCOME_INCONCLUSIVE] = 3, [OUTCOME_INFRA] = 4, [OUTCOME_FAIL] = 5,
		[OUTCOME_TIMEOUT] = 6,      [OUTCOME_BOOT] = 7,  [OUTCOME_STALL] = 8,
		[OUTCOME_PANIC] = 9,
	};

	return ranks[outcome];
}

/* The run with the worst outcome; NULL: there is none. */
static const struct batch_test *worst(const struct group *g)
{
	const struct batch_test *found = NULL;

	for (size_t i = 0; i < g->n; i++)
		if (!found || rank(g->runs[i].test->outcome) > rank(found->outcome))
			found = g->runs[i].test;
	return found;
}

static size_t count_failed(const struct group *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->n; i++)
		n += is_failure(g->runs[i].test->outcome);
	return n;
}

/* -- distributions */

struct sample {
	double *values;
	size_t n;
};

static void sample_add(struct sample *s, double value)
{
	s->values = xreallocarray(s->values, s->n + 1, sizeof(*s->values));
	s->values[s->n++] = value;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Linear between neighbours; 0 <= @q <= 1; @s is sorted and not empty. */
static double quantile(const struct sample *s, double q)
{
	double at = q * (double)(s->n - 1);
	size_t below = (size_t)at;
	double rest = at - (double)below;

	return below + 1 < s->n ? s->values[below] * (1 - rest) + s->values[below + 1] * rest
				: s->values[below];
}

/* Half of the runs are in it: what the numbers vary by themselves. */
static double spread(const struct sample *s)
{
	return quantile(s, 0.75) - quantile(s, 0.25);
}

static struct batch_shift shift_of(struct sample *before, struct sample *after)
{
	qsort(before->values, before->n, sizeof(double), by_value);
	qsort(after->values, after->n, sizeof(double), by_value);
	return (struct batch_shift){ .before = quantile(before, 0.5),
				     .after = quantile(after, 0.5),
				     .n_before = before->n,
				     .n_after = after->n,
				     .is_sure = before->n >= BATCH_COMPARE_ENOUGH &&
						after->n >= BATCH_COMPARE_ENOUGH };
}

/* Whether the medians differ by more than both gates; @absolute is in the numbers' own unit. */
static bool has_moved(const struct batch_shift *s, double percent, double absolute)
{
	double change = s->after - s->before;
	double size = change < 0 ? -change : change;
	double base = s->before < 0 ? -s->before : s->before;

	return size > absolute && size > base * percent / 100;
}

/* -- differences */

static struct batch_difference *add(struct batch_comparison *c, enum batch_change change,
				    const struct pair *p)
{
	const struct batch_test *b = worst(&p->before), *a = worst(&p->after);

	if (c->n == 0 || num_is_pow2(c->n))
		c->differences =
		    xreallocarray(c->differences, c->n ? 2 * c->n : 1, sizeof(*c->differences));
	ASSERT(a || b);
	struct batch_difference *d = &c->differences[c->n++];
	*d = (struct batch_difference){
		.change = change,
		.series = xstrdup(b ? p->before.runs->series : p->after.runs->series),
		.before = b ? b->outcome : BATCH_N_OUTCOMES,
		.after = a ? a->outcome : BATCH_N_OUTCOMES,
		.n_failed_before = count_failed(&p->before),
		.n_failed_after = count_failed(&p->after),
		.shift = { .n_before = p->before.n, .n_after = p->after.n },
		.why = a && is_failure(a->outcome) ? a->why : NULL,
	};
	return d;
}

/* Only passes: how long a failure takes says nothing. */
static void sample_durations(const struct group *g, struct sample *ret)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->runs[i].test->outcome == OUTCOME_PASS)
			sample_add(ret, (double)g->runs[i].test->duration_us / 1e3);
}

static void compare_durations(struct batch_comparison *c, const struct pair *p,
			      const struct batch_compare_gates *gates)
{
	struct sample b = { 0 }, a = { 0 };

	sample_durations(&p->before, &b);
	sample_durations(&p->after, &a);
	if (b.n && a.n) {
		struct batch_shift s = shift_of(&b, &a);
		if (has_moved(&s, gates->percent, (double)gates->duration_us / 1e3))
			add(c, s.after > s.before ? BATCH_CHANGE_SLOWER : BATCH_CHANGE_FASTER, p)
			    ->shift = s;
	}
	freep(&b.values);
	freep(&a.values);
}

/* -- metrics: by the names of their subtests, their own and their unit */

struct metric {
	char *key; /* "often: latency" */
	const struct test_metric *metric;
};

struct metrics {
	struct metric *all;
	size_t n;
};

static char *metric_key(const struct test_result *r, const struct test_metric *m)
{
	struct buf key = { 0 };
	const struct test_result *chain[TEST_DEPTH_MAX];
	size_t n = 0;

	for (; r->parent && n < TEST_DEPTH_MAX; r = r->parent)
		chain[n++] = r;
	while (n > 0)
		buf_printf(&key, "%s: ", chain[--n]->name);
	buf_append_str(&key, m->name);
	return (char *)(uintptr_t)buf_str(&key); /* the buffer's memory becomes the caller's */
}

static int by_key(const void *a, const void *b)
{
	const struct metric *x = a, *y = b;
	int order = strcmp(x->key, y->key);

	return order ? order : strcmp(x->metric->unit, y->metric->unit);
}

static void metrics_init(struct metrics *all, const struct group *g)
{
	struct list *node;

	for (size_t i = 0; i < g->n; i++) {
		const struct test_results *results = &g->runs[i].test->results;
		for (struct test_result *r = NULL; (r = test_results_next(results, r));)
			list_for_each (node, &r->metrics) {
				const struct test_metric *m =
				    container_of(node, struct test_metric, node);
				if (all->n == 0 || num_is_pow2(all->n))
					all->all = xreallocarray(all->all, all->n ? 2 * all->n : 1,
								 sizeof(*all->all));
				all->all[all->n++] = (struct metric){ metric_key(r, m), m };
			}
	}
	if (all->n)
		qsort(all->all, all->n, sizeof(*all->all), by_key);
}

static void metrics_fini(struct metrics *all)
{
	for (size_t i = 0; i < all->n; i++)
		freep(&all->all[i].key);
	freep(&all->all);
}

/* Takes what has the same key as [*at], and moves on behind it. */
static void sample_metric(const struct metrics *all, size_t *at, struct sample *ret)
{
	const struct metric *first = &all->all[*at];

	while (*at < all->n && by_key(first, &all->all[*at]) == 0)
		sample_add(ret, all->all[(*at)++].metric->value);
}

static void compare_metric(struct batch_comparison *c, const struct pair *p, double percent,
			   const struct metric *m, struct sample *b, struct sample *a)
{
	struct batch_shift s = shift_of(b, a);
	bool grew = s.after > s.before, higher_is_better = strcmp(m->metric->better, "higher") == 0;

	if (strcmp(m->metric->better, "neither") == 0)
		return;
	double own = spread(b) > spread(a) ? spread(b) : spread(a);
	if (!has_moved(&s, percent, own))
		return;
	struct batch_difference *d = add(
	    c, grew == higher_is_better ? BATCH_CHANGE_METRIC_BETTER : BATCH_CHANGE_METRIC_WORSE,
	    p);
	d->shift = s;
	d->metric = xstrdup(m->key);
	d->unit = xstrdup(m->metric->unit);
}

static void compare_metrics(struct batch_comparison *c, const struct pair *p, double percent)
{
	struct metrics b = { 0 }, a = { 0 };
	size_t at_b = 0, at_a = 0;

	metrics_init(&b, &p->before);
	metrics_init(&a, &p->after);
	while (at_b < b.n && at_a < a.n) {
		struct sample sb = { 0 }, sa = { 0 };
		const struct metric *m = &a.all[at_a];
		int order = by_key(&b.all[at_b], m);
		if (order <= 0)
			sample_metric(&b, &at_b, &sb);
		if (order >= 0)
			sample_metric(&a, &at_a, &sa);
		if (order == 0)
			compare_metric(c, p, percent, m, &sb, &sa);
		freep(&sb.values);
		freep(&sa.values);
	}
	metrics_fini(&b);
	metrics_fini(&a);
}

/* -- one series, all series */

static void compare_outcomes(struct batch_comparison *c, const struct pair *p)
{
	uint32_t b = worst(&p->before)->outcome, a = worst(&p->after)->outcome;

	if (is_failure(a) && !is_failure(b))
		add(c, BATCH_CHANGE_NEW_FAILURE, p);
	else if (is_failure(a))
		c->n_still_failing++;
	else if (a == OUTCOME_PASS && is_failure(b))
		add(c, BATCH_CHANGE_FIXED, p);
	else if (a != OUTCOME_PASS && (b == OUTCOME_PASS || is_failure(b)))
		add(c, BATCH_CHANGE_NOT_MEASURED, p);
}

static void compare_series(struct batch_comparison *c, const struct pair *p,
			   const struct batch_compare_gates *gates)
{
	if (!p->after.n) {
		add(c, BATCH_CHANGE_MISSING, p);
	} else if (!p->before.n) {
		add(c,
		    is_failure(worst(&p->after)->outcome) ? BATCH_CHANGE_NEW_FAILURE
							  : BATCH_CHANGE_NEW,
		    p);
	} else {
		c->n_compared++;
		compare_outcomes(c, p);
		compare_durations(c, p, gates);
		compare_metrics(c, p, gates->percent);
	}
}

static int by_change(const void *a, const void *b)
{
	const struct batch_difference *x = a, *y = b;

	if (x->change != y->change)
		return x->change < y->change ? -1 : 1;
	int order = strcmp(x->series, y->series);
	return order || !x->metric || !y->metric ? order : strcmp(x->metric, y->metric);
}

void batch_compare(const struct batch_result *before, const struct batch_result *after,
		   const struct batch_compare_gates *gates, struct batch_comparison *ret)
{
	struct runs b, a;
	size_t at_b = 0, at_a = 0;

	*ret = (struct batch_comparison){ 0 };
	runs_init(&b, before);
	runs_init(&a, after);
	while (at_b < b.n || at_a < a.n) {
		struct pair p = { 0 };
		int order = at_b == b.n   ? 1
			    : at_a == a.n ? -1
					  : strcmp(b.all[at_b].series, a.all[at_a].series);
		if (order <= 0)
			p.before = group_at(&b, at_b);
		if (order >= 0)
			p.after = group_at(&a, at_a);
		compare_series(ret, &p, gates);
		at_b += p.before.n;
		at_a += p.after.n;
	}
	runs_fini(&b);
	runs_fini(&a);
	if (ret->n)
		qsort(ret->differences, ret->n, sizeof(*ret->differences), by_change);
}

void batch_comparison_fini(struct batch_comparison *c)
{
	for (size_t i = 0; i < c->n; i++) {
		freep(&c->differences[i].series);
		freep(&c->differences[i].metric);
		freep(&c->differences[i].unit);
	}
	freep(&c->differences);
	c->n = 0;
}

int batch_comparison_exit_status(const struct batch_comparison *c)
{
	int status = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct batch_difference *d = &c->differences[i];
		if (d->change == BATCH_CHANGE_NEW_FAILURE)
			return 1;
		if (d->change == BATCH_CHANGE_NOT_MEASURED || d->change == BATCH_CHANGE_MISSING ||
		    ((d->change == BATCH_CHANGE_SLOWER || d->change == BATCH_CHANGE_METRIC_WORSE) &&
		     d->shift.is_sure))
			status = 2;
	}
	return status;
}
