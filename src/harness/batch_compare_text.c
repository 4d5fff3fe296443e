/* A comparison as text and as JSON. */
#include <string.h>

#include "harness/batch_compare.h"
#include "harness/batch_details.h"

static const struct {
	const char *name, *title;
	const char *color;
} changes[BATCH_N_CHANGES] = {
	[BATCH_CHANGE_NEW_FAILURE] = { "new-failure", "new failures", "\033[31m" },
	[BATCH_CHANGE_NOT_MEASURED] = { "not-measured", "without a verdict now", "\033[33m" },
	[BATCH_CHANGE_MISSING] = { "missing", "missing now", "\033[33m" },
	[BATCH_CHANGE_SLOWER] = { "slower", "slower", "\033[33m" },
	[BATCH_CHANGE_METRIC_WORSE] = { "metric-worse", "metrics worse", "\033[33m" },
	[BATCH_CHANGE_FIXED] = { "fixed", "fixed", "\033[32m" },
	[BATCH_CHANGE_NEW] = { "new", "new tests", "" },
	[BATCH_CHANGE_FASTER] = { "faster", "faster", "\033[32m" },
	[BATCH_CHANGE_METRIC_BETTER] = { "metric-better", "metrics better", "\033[32m" },
};

const char *batch_change_name(enum batch_change change)
{
	return changes[change].name;
}

static const char *outcome_or(uint32_t outcome, const char *none)
{
	return outcome < BATCH_N_OUTCOMES ? batch_outcome_name(outcome) : none;
}

static void add_shift(struct buf *ret, const struct batch_difference *d)
{
	const struct batch_shift *s = &d->shift;

	buf_printf(ret, " %.6g -> %.6g %s", s->before, s->after, d->metric ? d->unit : "ms");
	if (s->before > 0 || s->before < 0)
		buf_printf(ret, " (%+.1f %%)",
			   100 * (s->after - s->before) / (s->before < 0 ? -s->before : s->before));
	buf_printf(ret, ", medians of %zu and %zu%s", s->n_before, s->n_after,
		   s->is_sure ? "" : ": too few runs to tell from noise");
}

static void add_outcomes(struct buf *ret, const struct batch_difference *d)
{
	const struct batch_shift *s = &d->shift;

	buf_printf(ret, " %s -> %s", outcome_or(d->before, "not there"),
		   outcome_or(d->after, "not there"));
	if (s->n_before > 1 || s->n_after > 1)
		buf_printf(ret, ", failed %zu of %zu -> %zu of %zu", d->n_failed_before,
			   s->n_before, d->n_failed_after, s->n_after);
	if (d->why && *d->why)
		buf_printf(ret, "\n      %.*s", (int)batch_details_cause(d->why), d->why);
}

static bool is_shift(enum batch_change change)
{
	return change == BATCH_CHANGE_SLOWER || change == BATCH_CHANGE_FASTER ||
	       change == BATCH_CHANGE_METRIC_WORSE || change == BATCH_CHANGE_METRIC_BETTER;
}

static void add_difference(struct buf *ret, const struct batch_difference *d)
{
	buf_printf(ret, "  %s%s%s:", d->series, d->metric ? ": " : "", batch_text(d->metric));
	if (is_shift(d->change))
		add_shift(ret, d);
	else
		add_outcomes(ret, d);
	buf_append_str(ret, "\n");
}

void batch_comparison_write(const struct batch_comparison *c,
			    const struct batch_summary_style *style, struct buf *ret)
{
	enum batch_change last = BATCH_N_CHANGES;

	for (size_t i = 0; i < c->n; i++) {
		const struct batch_difference *d = &c->differences[i];
		if (d->change != last)
			buf_printf(ret, "%s%s%s:\n", style->color ? changes[d->change].color : "",
				   changes[d->change].title, style->color ? "\033[0m" : "");
		last = d->change;
		add_difference(ret, d);
	}
	buf_printf(ret, "%zu tests compared, %zu differences, %zu still failing\n", c->n_compared,
		   c->n, c->n_still_failing);
}

static json_t *difference_json(const struct batch_difference *d)
{
	json_t *o = json_pack(
	    "{s:s, s:s, s:s?, s:s?, s:I, s:I, s:I, s:I}", "change", changes[d->change].name, "test",
	    d->series, "before", outcome_or(d->before, NULL), "after", outcome_or(d->after, NULL),
	    "n_before", (json_int_t)d->shift.n_before, "n_after", (json_int_t)d->shift.n_after,
	    "n_failed_before", (json_int_t)d->n_failed_before, "n_failed_after",
	    (json_int_t)d->n_failed_after);

	if (is_shift(d->change)) {
		json_object_set_new(o, "metric", json_string(d->metric ? d->metric : "duration"));
		json_object_set_new(o, "unit", json_string(d->metric ? d->unit : "ms"));
		json_object_set_new(o, "median_before", json_real(d->shift.before));
		json_object_set_new(o, "median_after", json_real(d->shift.after));
		json_object_set_new(o, "enough_runs", json_boolean(d->shift.is_sure));
	} else if (d->why) {
		json_object_set_new(o, "why", json_string(d->why));
	}
	return o;
}

json_t *batch_comparison_json(const struct batch_comparison *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->n; i++)
		json_array_append_new(list, difference_json(&c->differences[i]));
	return json_pack("{s:s, s:i, s:i, s:I, s:I, s:o}", "format", "ktstr-comparison", "version",
			 1, "exit_status", batch_comparison_exit_status(c), "compared",
			 (json_int_t)c->n_compared, "still_failing", (json_int_t)c->n_still_failing,
			 "differences", list);
}
