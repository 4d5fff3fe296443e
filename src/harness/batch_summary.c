#include "harness/batch_summary.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "harness/batch_details.h"

enum { LOG_LINES = 15, SLOWEST = 3, NAMES_MAX = 20, WIDTH_MIN = 20 };

#define RED    "\033[31m"
#define GREEN  "\033[32m"
#define YELLOW "\033[33m"
#define BOLD   "\033[1m"
#define PLAIN  "\033[0m"

/* In the order in which they are explained: what is wrong with the code under test, then with the host, then the rest. */
static const struct {
	uint32_t outcome;
	const char *word;  /* of the counts */
	const char *color; /* NULL: none */
	bool explained;    /* at length */
} kinds[] = {
	{ OUTCOME_PANIC, "panicked", RED, true },
	{ OUTCOME_STALL, "stalled", RED, true },
	{ OUTCOME_FAIL, "failed", RED, true },
	{ OUTCOME_TIMEOUT, "timed out", RED, true },
	{ OUTCOME_BOOT, "did not boot", RED, true },
	{ OUTCOME_INFRA, "lost to the host (INFRA)", RED, true },
	{ OUTCOME_INCONCLUSIVE, "inconclusive", YELLOW, true },
	{ BATCH_NOT_RUN, "not run", YELLOW, false },
	{ OUTCOME_SKIP, "skipped", YELLOW, false },
	{ OUTCOME_PASS, "passed", GREEN, false },
};

static const char *color_of(uint32_t outcome)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].outcome == outcome)
			return kinds[i].color;
	return NULL;
}

static void add_colored(struct buf *ret, const struct batch_summary_style *style, const char *color,
			const char *text)
{
	bool on = style->color && color;

	buf_printf(ret, "%s%s%s", on ? color : "", text, on ? PLAIN : "");
}

void batch_summary_duration(uint64_t us, struct buf *ret)
{
	uint64_t s = us / 1000000;

	if (us < 1000000)
		buf_printf(ret, "%.1f ms", (double)us / 1e3);
	else if (s < 60)
		buf_printf(ret, "%.2f s", (double)us / 1e6);
	else if (s < 3600)
		buf_printf(ret, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else
		buf_printf(ret, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
}

/* -- lines of a width; a character is a column, which is near enough for text that is mostly Latin */

static bool begins_character(char c)
{
	return (c & 0xc0) != 0x80;
}

/* How many bytes the first @columns characters of @n bytes are. */
static size_t bytes_of(const char *text, size_t n, size_t columns)
{
	size_t at = 0;

	for (; at < n; at++)
		if (begins_character(text[at]) && columns-- == 0)
			break;
	return at;
}

/* One line of @n bytes behind @indent blanks: evidence, cut where the terminal ends. */
static void add_cut(struct buf *ret, const struct batch_summary_style *style, unsigned indent,
		    const char *text, size_t n)
{
	size_t room = style->width > indent + WIDTH_MIN ? style->width - indent : WIDTH_MIN;
	size_t fits = style->width ? bytes_of(text, n, room) : n;

	if (fits < n)
		buf_printf(ret, "%*s%.*s>\n", (int)indent, "", (int)bytes_of(text, n, room - 1),
			   text);
	else
		buf_printf(ret, "%*s%.*s\n", (int)indent, "", (int)n, text);
}

static void add_cut_lines(struct buf *ret, const struct batch_summary_style *style, unsigned indent,
			  const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		add_cut(ret, style, indent, text, n);
		text += n + (text[n] == '\n');
	}
}

/* A sentence of @n bytes, wrapped between words where that can be: the cause is never cut. */
static void add_wrapped(struct buf *ret, const struct batch_summary_style *style, unsigned indent,
			const char *text, size_t n)
{
	size_t room = style->width > indent + WIDTH_MIN ? style->width - indent : WIDTH_MIN;

	while (style->width && bytes_of(text, n, room) < n) {
		size_t take = bytes_of(text, n, room), blank = take;
		while (blank > 0 && text[blank] != ' ')
			blank--;
		if (blank > 0)
			take = blank;
		buf_printf(ret, "%*s%.*s\n", (int)indent, "", (int)take, text);
		text += take;
		n -= take;
		for (; n && *text == ' '; n--)
			text++;
	}
	buf_printf(ret, "%*s%.*s\n", (int)indent, "", (int)n, text);
}

/* -- one test */

void batch_summary_test(const struct batch_test *t, const struct batch_summary_style *style,
			struct buf *ret)
{
	CLEANUP(buf_fini) struct buf details = { 0 };
	const char *why = batch_text(t->why);

	if (t->outcome == OUTCOME_PASS)
		return;
	add_colored(ret, style, color_of(t->outcome), batch_outcome_name(t->outcome));
	buf_append_str(ret, " ");
	add_colored(ret, style, BOLD, t->id);
	if (t->duration_us) {
		buf_append_str(ret, " (");
		batch_summary_duration(t->duration_us, ret);
		buf_append_str(ret, ")");
	}
	buf_append_str(ret, "\n");
	if (*why)
		add_wrapped(ret, style, 4, why, batch_details_cause(why));
	batch_details(t, LOG_LINES, &details);
	add_cut_lines(ret, style, 6, buf_str(&details));
}

/* What needs no explanation is named, in one line each, and the rest counted. */
static void add_brief(const struct batch_test *t, const struct batch_summary_style *style,
		      struct buf *ret)
{
	CLEANUP(buf_fini) struct buf line = { 0 };
	const char *why = batch_text(t->why);

	buf_printf(&line, "%s %s%s%.*s", batch_outcome_name(t->outcome), t->id, *why ? ": " : "",
		   (int)batch_details_cause(why), why);
	add_cut(ret, style, 0, buf_str(&line), line.len);
}

/* -- the whole */

void batch_summary_counts(const struct batch_counts *c, const struct batch_summary_style *style,
			  struct buf *ret)
{
	const char *separator = ": ";

	buf_printf(ret, "%u test%s", c->n_tests, c->n_tests == 1 ? "" : "s");
	for (size_t i = ARRAY_SIZE(kinds); i-- > 0;) {
		uint32_t n = c->n[kinds[i].outcome];
		if (!n)
			continue;
		CLEANUP(freep) char *text = xasprintf("%u %s", n, kinds[i].word);
		buf_append_str(ret, separator);
		add_colored(ret, style, kinds[i].color, text);
		separator = ", ";
	}
}

static void add_kind(const struct batch_result *b, size_t kind,
		     const struct batch_summary_style *style, struct buf *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n_tests; i++) {
		const struct batch_test *t = b->tests[i];
		if (t->outcome != kinds[kind].outcome || t->outcome == OUTCOME_PASS)
			continue;
		if (kinds[kind].explained) {
			batch_summary_test(t, style, ret);
			buf_append_str(ret, "\n");
		} else if (n++ < NAMES_MAX) {
			add_brief(t, style, ret);
		}
	}
	if (n > NAMES_MAX)
		buf_printf(ret, "... and %zu more %s\n", n - NAMES_MAX, kinds[kind].word);
	if (n)
		buf_append_str(ret, "\n");
}

static void add_slowest(const struct batch_result *b, struct buf *ret)
{
	const struct batch_test *slowest[SLOWEST] = { NULL };

	for (size_t i = 0; i < b->n_tests; i++) {
		const struct batch_test *t = b->tests[i];
		for (size_t at = 0; at < SLOWEST && t && t->duration_us; at++)
			if (!slowest[at] || slowest[at]->duration_us < t->duration_us) {
				const struct batch_test *next = slowest[at];
				slowest[at] = t;
				t = next;
			}
	}
	for (size_t at = 0; at < SLOWEST && slowest[at]; at++) {
		buf_printf(ret, "%s%s (", at ? ", " : "slowest: ", slowest[at]->id);
		batch_summary_duration(slowest[at]->duration_us, ret);
		buf_append_str(ret, at + 1 == SLOWEST || !slowest[at + 1] ? ")\n" : ")");
	}
}

void batch_summary_write(const struct batch_result *b, const struct batch_summary_style *style,
			 struct buf *ret)
{
	const struct batch_counts c = batch_count(b);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		add_kind(b, i, style, ret);
	if (b->n_tests > SLOWEST)
		add_slowest(b, ret);
	batch_summary_counts(&c, style, ret);
	buf_append_str(ret, ", in ");
	batch_summary_duration(b->duration_us, ret);
	if (c.n_retried)
		buf_printf(ret, "; %u tried again after INFRA", c.n_retried);
	if (b->interrupted)
		buf_printf(ret, "; interrupted by signal %d", b->interrupted);
	buf_printf(ret, "\nkernel %s, seed %" PRIu64 "%s\n",
		   *batch_text(b->release)  ? b->release
		   : *batch_text(b->kernel) ? b->kernel
					    : "?",
		   b->seed, b->n_shards ? ", one shard" : "");
}
