#include "cli/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/topology_text.h"
#include "cli/document.h"
#include "cli/placement_json.h"

enum { LOG_TAIL_LINES = 60 };

static bool command_ended(const struct run_result *res)
{
	return res->outcome.outcome == OUTCOME_PASS || res->outcome.outcome == OUTCOME_FAIL;
}

/* The last LOG_TAIL_LINES lines of @text. */
static const char *last_lines(const char *text)
{
	const char *p = text + strlen(text);

	for (size_t n = 0; p > text; p--)
		if (p[-1] == '\n' && ++n > LOG_TAIL_LINES)
			return p;
	return text;
}

static void print_tail(const char *title, const struct sink *s)
{
	CLEANUP(freep) char *text = sink_tail(s);

	if (!*text)
		return;
	const char *tail = last_lines(text);
	fprintf(stderr, "ktstr: %s%s:\n%s%s", title, tail > text ? " (its end)" : "", tail,
		tail[strlen(tail) - 1] == '\n' ? "" : "\n");
}

static void note_loss(struct run_result *res, const struct sink *s)
{
	char why[64] = "the file has reached its limit";

	if (s->fd < 0 || !s->n_dropped)
		return;
	const char *text = s->write_error ? strerror_r(-s->write_error, why, sizeof(why)) : why;
	CLEANUP(freep)
	char *note = xasprintf("'%s' lacks %" PRIu64 " bytes: %s", s->path, s->n_dropped, text);
	run_result_add_note(res, note, strlen(note));
}

static void note_tests(struct run_result *res)
{
	const struct test_results *tests = &res->tests;

	if (tests->n_ignored) {
		CLEANUP(freep)
		char *note = xasprintf("%" PRIu64 " records of tests ignored, the first: %s",
				       tests->n_ignored, tests->why_ignored);
		run_result_add_note(res, note, strlen(note));
	}
	for (struct test_result *t = NULL; (t = test_results_next(tests, t));) {
		if (t->parent || t->has_outcome)
			continue;
		CLEANUP(freep) char *note = xasprintf("test '%s' came to no result", t->name);
		run_result_add_note(res, note, strlen(note));
	}
}

void report_note_losses(struct run_result *res)
{
	const struct sink *const sinks[] = { &res->console, &res->com2, &res->tty, &res->dmesg,
					     &res->frames };

	for (size_t i = 0; i < ARRAY_SIZE(sinks); i++)
		note_loss(res, sinks[i]);
	note_tests(res);
}

void report_outcome(const struct report *r)
{
	const struct run_result *res = r->result;

	for (size_t i = 0; i < res->n_notes; i++)
		fprintf(stderr, "ktstr: note: %s\n", res->notes[i]);
	if (res->crash.len)
		fprintf(stderr, "ktstr: a program crashed in the guest:\n%.*s%s",
			(int)res->crash.len, (const char *)res->crash.data,
			res->crash.data[res->crash.len - 1] == '\n' ? "" : "\n");
	if (command_ended(res))
		return;
	if (res->is_left) {
		fputs("\r\nktstr: the shell was left, its VM is ended\n", stderr);
		return;
	}
	if (!res->signal) {
		print_tail("kernel log", &res->dmesg);
		print_tail("console", &res->console);
		print_tail("COM2", &res->com2);
	}
	if (res->signal)
		fprintf(stderr, "ktstr: interrupted by SIG%s\n", sigabbrev_np(res->signal));
	else if (res->outcome.is_usage) /* as any other error of that class */
		fprintf(stderr, "ktstr: %.*s\n", (int)res->why.len, (const char *)res->why.data);
	else
		fprintf(stderr, "ktstr: %s: %.*s\n", outcome_name(res->outcome.outcome),
			(int)res->why.len, res->why.data ? (const char *)res->why.data : "");
}

static int by_time(const void *a, const void *b)
{
	const struct run_phase *pa = a, *pb = b;

	return pa->time_ns < pb->time_ns ? -1 : pa->time_ns > pb->time_ns;
}

static size_t sorted_phases(const struct report *r, struct run_phase phases[RUN_RESULT_MAX_PHASES])
{
	memcpy(phases, r->result->phases, sizeof(r->result->phases));
	qsort(phases, r->result->n_phases, sizeof(*phases), by_time);
	return r->result->n_phases;
}

static double ms_since(uint64_t start_ns, uint64_t time_ns)
{
	return time_ns < start_ns ? 0 : (double)(time_ns - start_ns) / (double)NS_PER_MS;
}

void report_timeline(const struct report *r)
{
	struct run_phase phases[RUN_RESULT_MAX_PHASES];
	size_t n = sorted_phases(r, phases);
	double last = 0;

	fprintf(stderr, "ktstr: timeline, ms from process start\n");
	for (size_t i = 0; i < n; i++) {
		double ms = ms_since(r->start_ns, phases[i].time_ns);
		fprintf(stderr, "  %10.2f  %+10.2f  %s%s\n", ms, ms - last,
			phases[i].is_guest ? "guest: " : "", frame_phase_name(phases[i].phase));
		last = ms;
	}
	double end = ms_since(r->start_ns, r->end_ns);
	fprintf(stderr, "  %10.2f  %+10.2f  exit, status %d\n", end, end - last, r->exit_code);
	if (!r->disk)
		return;
	CLEANUP(freep) char *disk = disk_describe(r->disk);
	fprintf(stderr, "ktstr: disk: %s\n", disk);
}

/* JSON strings must be UTF-8; what a guest prints need not be. */
static json_t *json_text(const char *text, size_t n)
{
	json_t *s = json_stringn(text, n);

	if (s)
		return s;
	CLEANUP(freep) char *ascii = xmalloc(n + 1);
	for (size_t i = 0; i < n; i++) {
		ascii[i] = text[i];
		if (ascii[i] & 0x80)
			ascii[i] = '?';
	}
	return json_stringn(ascii, n);
}

static json_t *json_timeline(const struct report *r)
{
	struct run_phase phases[RUN_RESULT_MAX_PHASES];
	size_t n = sorted_phases(r, phases);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:f}", "phase",
						      frame_phase_name(phases[i].phase), "side",
						      phases[i].is_guest ? "guest" : "host", "ms",
						      ms_since(r->start_ns, phases[i].time_ns)));
	return list;
}

/* "key value" lines into numbers. */
static json_t *json_stats(const struct run_result *res)
{
	json_t *stats = json_object();
	struct buf copy = { 0 };
	char *save = NULL;

	buf_append(&copy, res->stats.data, res->stats.len);
	(void)buf_str(&copy);
	for (char *line = strtok_r((char *)copy.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');
		if (!space)
			continue;
		*space = 0;
		json_object_set_new(stats, line,
				    json_integer((json_int_t)strtoull(space + 1, NULL, 10)));
	}
	buf_fini(&copy);
	return stats;
}

static json_t *json_notes(const struct run_result *res)
{
	json_t *list = json_array();

	for (size_t i = 0; i < res->n_notes; i++)
		json_array_append_new(list, json_text(res->notes[i], strlen(res->notes[i])));
	return list;
}

static json_t *json_disk(const struct report *r)
{
	const struct disk_options *o = &r->options->disk;
	const struct blk_file *f = &r->disk->config.file;

	return json_pack("{s:o*, s:s*, s:s, s:I, s:I, s:s, s:s*}", "file",
			 o->path ? json_text(o->path, strlen(o->path)) : NULL, "fs",
			 disk_fs_name(o->fs), "source", disk_source_name(r->disk), "copied_bytes",
			 (json_int_t)r->disk->copied_bytes, "bytes", (json_int_t)f->capacity, "io",
			 f->is_direct ? "direct" : "buffered", "why_buffered", f->why_buffered);
}

static json_t *json_document(const struct report *r)
{
	const struct run_result *res = r->result;
	const struct frame_outcome *o = &res->outcome;
	CLEANUP(buf_fini) struct buf topology = { 0 };

	topology_format(&r->options->topology, &topology);
	json_t *doc =
	    json_pack("{s:i, s:s, s:s, s:i, s:o, s:o, s:s, s:I}", "version", 1, "outcome",
		      res->signal || res->is_left ? "INTERRUPTED" : outcome_name(o->outcome),
		      "last_phase", frame_phase_name(o->last_phase), "exit_status", r->exit_code,
		      "kernel", json_text(r->kernel, strlen(r->kernel)), "release",
		      json_text(r->release, strlen(r->release)), "topology", buf_str(&topology),
		      "memory_mib", (json_int_t)r->options->memory_mib);
	if (!doc)
		return NULL;
	json_object_set_new(doc, "why", json_text((const char *)res->why.data, res->why.len));
	json_object_set_new(doc, "crash", json_text((const char *)res->crash.data, res->crash.len));
	json_object_set_new(doc, "notes", json_notes(res));
	json_object_set_new(doc, "timeline", json_timeline(r));
	json_object_set_new(doc, "total_ms", json_real(ms_since(r->start_ns, r->end_ns)));
	if (r->disk)
		json_object_set_new(doc, "disk", json_disk(r));
	json_object_set_new(doc, "placement", placement_json(r->place, res));
	json_object_set_new(doc, "result_bytes", json_integer((json_int_t)res->result_bytes));
	json_object_set_new(doc, "tests", test_results_json(&res->tests));
	json_object_set_new(doc, "stats", json_stats(res));
	return doc;
}

int report_json(const struct report *r, const char *path, struct error *err)
{
	return document_write(json_document(r), path, err);
}
