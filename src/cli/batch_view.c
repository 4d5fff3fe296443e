#include "cli/batch_view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"

enum { DEFAULT_WIDTH = 80, DEFAULT_HEIGHT = 24, VMS_MAX = 16, MIN_WIDTH = 1 };

#define ERASE_LINE "\033[2K"

static void measure(struct batch_view *v)
{
	struct winsize ws;
	bool known = ioctl(v->out.fd, TIOCGWINSZ, &ws) == 0 && ws.ws_col && ws.ws_row;

	v->width = known ? ws.ws_col : DEFAULT_WIDTH;
	v->height = known ? ws.ws_row : DEFAULT_HEIGHT;
}

void batch_view_init(struct batch_view *v, int fd)
{
	const char *term = getenv("TERM");

	*v = (struct batch_view){ .is_terminal =
				      isatty(fd) && (!term || strcmp(term, "dumb") != 0) };
	out_queue_init(&v->out, fd);
}

void batch_view_fini(struct batch_view *v)
{
	out_queue_fini(&v->out);
}

/* Text */

static double seconds(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (double)(to_ns - from_ns) / (double)NS_PER_S : 0;
}

void batch_view_format_result(const struct batch_test *t, bool is_retry, struct buf *ret)
{
	const struct batch_attempt *last =
	    is_retry && t->n_attempts ? &t->attempts[t->n_attempts - 1] : NULL;
	const char *why = batch_text(last ? last->why : t->why);
	uint64_t us = last ? last->duration_us : t->duration_us;

	buf_printf(ret, "%-12s %8.2f s  %s", is_retry ? "again" : batch_outcome_name(t->outcome),
		   (double)us / 1e6, t->id);
	if (!is_retry && t->n_attempts)
		buf_printf(ret, " (attempt %zu)", t->n_attempts + 1);
	if (*why)
		buf_printf(ret, ": %.*s", (int)strcspn(why, "\n"), why);
}

static void add_line(struct buf *to, const char *line, unsigned width)
{
	size_t n = strlen(line);

	/* Ids are clean text; one that is cut inside a character is for a moment only. */
	buf_append(to, line, n < width ? n : width - 1);
	buf_append_str(to, "\n");
}

/* Whole seconds as 1:02 or 1:02:03. */
static void add_time(struct buf *to, double s)
{
	uint64_t t = (uint64_t)(s + 0.5);

	if (t >= 3600)
		buf_printf(to, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, t / 3600, t / 60 % 60,
			   t % 60);
	else
		buf_printf(to, "%" PRIu64 ":%02" PRIu64, t / 60, t % 60);
}

static void add_counts(const struct batch_view_state *s, struct buf *line)
{
	const struct batch_counts *c = s->counts;
	double elapsed = seconds(s->start_ns, s->now_ns);

	buf_printf(line, "%u of %zu", c->n_tests, s->n_jobs);
	for (uint32_t i = 0; i < BATCH_N_OUTCOMES; i++)
		if (c->n[i])
			buf_printf(line, "  %u %s", c->n[i], batch_outcome_name(i));
	buf_printf(line, "  %zu run  ", s->n_vms);
	add_time(line, elapsed);
	/* What is over took so long; the rest will take its share. */
	if (c->n_tests && c->n_tests < s->n_jobs) {
		buf_append_str(line, "  ETA ");
		add_time(line, elapsed / c->n_tests * (double)(s->n_jobs - c->n_tests));
	}
}

void batch_view_format_block(const struct batch_view_state *s, unsigned width, unsigned height,
			     struct buf *ret)
{
	CLEANUP(buf_fini) struct buf line = { 0 };
	size_t n = num_min(num_min(s->n_vms, VMS_MAX), height > 3 ? height - 3 : 0);

	width = (unsigned)num_max(width, MIN_WIDTH);
	add_counts(s, &line);
	add_line(ret, buf_str(&line), width);
	for (size_t i = 0; i < n; i++) {
		const struct batch_view_vm *vm = &s->vms[i];
		line.len = 0;
		buf_printf(&line, "  %8.1f s  %-9s %s", seconds(vm->start_ns, s->now_ns),
			   vm->is_waiting ? "waits" : frame_phase_name(vm->phase), vm->id);
		if (vm->attempt > 1)
			buf_printf(&line, " (attempt %u)", vm->attempt);
		add_line(ret, buf_str(&line), width);
	}
	if (n < s->n_vms && height >= 3) {
		line.len = 0;
		buf_printf(&line, "  and %zu more", s->n_vms - n);
		add_line(ret, buf_str(&line), width);
	}
}

/* The terminal */

static void put(struct batch_view *v, const struct buf *text)
{
	out_queue_put(&v->out, text->data, text->len);
	if (v->out.error)
		v->is_terminal = false; /* it is decoration: results are printed all the same */
}

/* Back to the block's first line, each line of it erased. */
static void add_erase(struct batch_view *v, struct buf *to)
{
	for (size_t i = 0; i < v->n_lines; i++)
		buf_append_str(to, "\033[1A" ERASE_LINE);
	v->n_lines = 0;
}

void batch_view_print(struct batch_view *v, const char *line)
{
	CLEANUP(buf_fini) struct buf out = { 0 };

	add_erase(v, &out);
	buf_printf(&out, "%s\n", line);
	put(v, &out);
}

void batch_view_draw(struct batch_view *v, const struct batch_view_state *s)
{
	CLEANUP(buf_fini) struct buf out = { 0 };

	if (!v->is_terminal || !out_queue_is_empty(&v->out))
		return;
	measure(v);
	add_erase(v, &out);
	size_t begin = out.len;
	batch_view_format_block(s, v->width, v->height, &out);
	for (size_t i = begin; i < out.len; i++)
		v->n_lines += out.data[i] == '\n';
	put(v, &out);
}

void batch_view_clear(struct batch_view *v)
{
	CLEANUP(buf_fini) struct buf out = { 0 };

	add_erase(v, &out);
	put(v, &out);
}
