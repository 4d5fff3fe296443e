#include "harness/batch_details.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "harness/batch_json.h"

size_t batch_details_cause(const char *why)
{
	return strcspn(why, "\n");
}

const char *batch_details_outcome(const struct test_result *r)
{
	return r->has_outcome ? outcome_name(r->outcome) : "no result";
}

/* Lines of @text, each behind @indent; no line for an empty text. */
static void add_lines(struct buf *ret, const char *indent, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		buf_printf(ret, "%s%.*s\n", indent, (int)n, text);
		text += n + (text[n] == '\n');
	}
}

static void add_section(struct buf *ret, const char *title, const char *text)
{
	if (!*text)
		return;
	buf_printf(ret, "%s:\n", title);
	add_lines(ret, "  ", text);
}

static const char *last_lines(const char *text, size_t n_lines)
{
	const char *p = text + strlen(text);

	if (p > text && p[-1] == '\n')
		p--;
	for (size_t n = 0; p > text; p--)
		if (p[-1] == '\n' && ++n == n_lines)
			return p;
	return n_lines ? text : "";
}

/* Of the kernel's words on PID 1: "[ 1.2]   with arguments:", "[ 1.2]     /init", and so on. */
static bool is_continued(const char *line)
{
	const char *words = strstr(line, "] ");

	return words && words < strchrnul(line, '\n') && strncmp(words, "]   ", 4) == 0;
}

/* A kernel's own start says nothing about a test. One that did not come as far as PID 1 has said it all. */
static const char *after_boot(const char *log)
{
	static const char init[] = "] Run /init as init process\n";
	const char *p = strstr(log, init);

	if (!p)
		return log;
	for (p += strlen(init); is_continued(p); p += *p == '\n')
		p = strchrnul(p, '\n');
	return p;
}

/* "pair/often/fast", from the test's own name on downwards without it. */
static void add_path(struct buf *ret, const struct test_result *r)
{
	const struct test_result *chain[TEST_DEPTH_MAX];
	size_t n = 0;

	for (; r->parent && n < TEST_DEPTH_MAX; r = r->parent)
		chain[n++] = r;
	while (n > 0) {
		buf_append_str(ret, chain[n - 1]->name);
		if (--n > 0)
			buf_append_str(ret, " > ");
	}
}

static void add_subtests(struct buf *ret, const struct batch_test *t)
{
	for (struct test_result *r = NULL; (r = test_results_next(&t->results, r));) {
		if (!r->parent || (r->has_outcome && r->outcome == OUTCOME_PASS))
			continue;
		buf_append_str(ret, "subtest ");
		add_path(ret, r);
		buf_printf(ret, ": %s\n", batch_details_outcome(r));
		add_lines(ret, "  ", batch_text(r->message));
	}
}

void batch_details_metrics(const struct batch_test *t, struct buf *ret)
{
	struct list *node;

	for (struct test_result *r = NULL; (r = test_results_next(&t->results, r));)
		list_for_each (node, &r->metrics) {
			const struct test_metric *m = container_of(node, struct test_metric, node);
			if (r->parent) {
				add_path(ret, r);
				buf_append_str(ret, ": ");
			}
			buf_printf(ret, "%s: %.9g%s%s\n", m->name, m->value, *m->unit ? " " : "",
				   m->unit);
		}
}

static void add_course(struct buf *ret, const struct batch_test *t)
{
	const struct batch_evidence *e = &t->evidence;

	if (e->has_exit)
		buf_printf(ret, "exit: %s %d\n", batch_exit_kind_name(e->exit.kind),
			   (int)e->exit.value);
	if (e->n_phases || e->last_phase)
		buf_printf(ret, "last phase: %s\n", frame_phase_name(e->last_phase));
	if (*batch_text(e->deadline_by))
		buf_printf(ret, "deadline last moved by: %s\n", e->deadline_by);
	for (size_t i = 0; i < t->n_attempts; i++) {
		const char *why = batch_text(t->attempts[i].why);
		buf_printf(ret, "attempt %zu: INFRA: %.*s\n", i + 1, (int)batch_details_cause(why),
			   why);
	}
	for (size_t i = 0; i < e->n_notes; i++)
		buf_printf(ret, "note: %s\n", e->notes[i]);
}

static void add_resources(struct buf *ret, const struct batch_resources *r)
{
	uint64_t delay_us = 0, switches = 0;

	for (size_t i = 0; i < r->n_vcpus; i++) {
		(void)num_add_u64(delay_us, r->vcpus[i].run_delay_us,
				  &delay_us); /* a sum for the eye */
		(void)num_add_u64(switches, r->vcpus[i].involuntary_switches, &switches);
	}
	if (r->user_us || r->system_us || r->max_rss_kib)
		buf_printf(ret,
			   "used: %" PRIu64 " ms user, %" PRIu64 " ms system, %" PRIu64 " MiB\n",
			   r->user_us / 1000, r->system_us / 1000, r->max_rss_kib / 1024);
	if (r->n_vcpus)
		buf_printf(ret,
			   "vCPUs waited to run: %" PRIu64 " ms, switched out %" PRIu64 " times\n",
			   delay_us / 1000, switches);
	if (r->has_steal)
		buf_printf(ret, "steal: %" PRIu64 " ms\n", r->steal_us / 1000);
	if (r->overcommit > 1)
		buf_printf(ret, "overcommit: %.2f vCPUs per CPU\n", r->overcommit);
	if (*batch_text(r->cpus))
		buf_printf(ret, "ran on CPUs: %s\n", r->cpus);
}

void batch_details(const struct batch_test *t, size_t log_lines, struct buf *ret)
{
	const struct batch_evidence *e = &t->evidence;
	const char *why = batch_text(t->why);
	size_t cause = batch_details_cause(why);

	add_lines(ret, "", why + cause + (why[cause] == '\n'));
	add_subtests(ret, t);
	add_section(ret, "panic", batch_text(e->panic));
	add_section(ret, "a program crashed in the guest", batch_text(e->crash));
	add_section(ret, "kernel log, its end",
		    last_lines(after_boot(batch_text(e->log_tail)), log_lines));
	add_course(ret, t);
	add_resources(ret, &t->resources);
	if (*batch_text(t->output))
		buf_printf(ret, "kept in: %s\n", t->output);
}
