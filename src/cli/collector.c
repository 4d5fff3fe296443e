#include "cli/collector.h"

#include <string.h>
#include <unistd.h>

#include "abi/guest_config.h"
#include "base/clock.h"
#include "base/num.h"

enum {
	COM2_LINE_MAX = 4096,
	/* What is kept of crash texts: the guest decides how many it sends. */
	CRASH_MAX = 64 * 1024,
};

void collector_init(struct collector *c, struct run_result *result, const struct collector_ops *ops,
		    void *ctx)
{
	*c = (struct collector){ .result = result, .ops = ops, .ctx = ctx };
}

void collector_fini(struct collector *c)
{
	buf_fini(&c->com2_line);
	buf_fini(&c->com2_result);
}

static void on_phase(struct collector *c, const struct frame *f, bool is_guest)
{
	struct frame_phase p;

	if (f->header.length != sizeof(p))
		return;
	memcpy(&p, f->payload, sizeof(p));
	if (is_guest) {
		uint64_t offset = clock_now_ns() - p.time_ns;
		if (!c->guest_offset_ns || offset < c->guest_offset_ns)
			c->guest_offset_ns = offset;
	}
	run_result_add_phase(c->result, p.phase, p.time_ns, is_guest);
}

static bool starts_with(const struct buf *line, const char *prefix)
{
	size_t n = strlen(prefix);

	return line->len >= n && memcmp(line->data, prefix, n) == 0;
}

/* The lines of a test's result, sentinels included, are for nobody to read. True: this was one. */
static bool take_com2_result(struct collector *c)
{
	if (starts_with(&c->com2_line, GUEST_SENTINEL_START)) {
		c->com2_in_result = true;
		c->com2_result.len = 0;
		return true;
	}
	if (!c->com2_in_result)
		return false;
	if (starts_with(&c->com2_line, GUEST_SENTINEL_END)) {
		c->com2_in_result = false;
		test_results_add(&c->result->tests, FRAME_TEST_RESULT, c->com2_result.data,
				 c->com2_result.len);
	} else if (c->com2_result.len <= TEST_RECORD_MAX) { /* one that is longer is refused */
		buf_append(&c->com2_result, c->com2_line.data, c->com2_line.len);
	}
	return true;
}

/*
 * The fallback of a guest without port 1: its output comes as it is over COM2, what PID 1 says
 * there is marked, and its sentinels, each with an empty line before it, are not for the user. Once
 * a frame of the guest arrived, COM2 carries crash reports only.
 */
static void end_com2_line(struct collector *c)
{
	static const char *const sentinels[] = { GUEST_SENTINEL_EXIT, GUEST_SENTINEL_INIT };
	const struct buf *line = &c->com2_line;
	bool is_sentinel = take_com2_result(c);
	bool is_empty = line->len == strspn(buf_str(&c->com2_line), "\r\n");

	for (size_t i = 0; i < ARRAY_SIZE(sentinels); i++)
		is_sentinel |= starts_with(line, sentinels[i]);
	if (c->com2_owes_empty_line && !is_sentinel)
		c->ops->output(c->ctx, STDOUT_FILENO, (const uint8_t *)"\n", 1);
	c->com2_owes_empty_line = is_empty;
	if (!is_sentinel && !is_empty)
		c->ops->output(c->ctx,
			       starts_with(line, GUEST_INIT_SAYS) ? STDERR_FILENO : STDOUT_FILENO,
			       line->data, line->len);
	c->com2_line.len = 0;
}

static void on_com2(struct collector *c, const struct frame *f)
{
	sink_write(&c->result->com2, f->payload, f->header.length);
	if (c->has_guest_frames)
		return;
	for (size_t i = 0; i < f->header.length; i++) {
		buf_append(&c->com2_line, &f->payload[i], 1);
		if (f->payload[i] == '\n' || c->com2_line.len >= COM2_LINE_MAX)
			end_com2_line(c);
	}
}

static void on_outcome(struct collector *c, const struct frame *f)
{
	struct run_result *res = c->result;

	if (f->header.length < sizeof(res->outcome))
		return;
	if (c->com2_line.len)
		end_com2_line(c);
	memcpy(&res->outcome, f->payload, sizeof(res->outcome));
	buf_append(&res->why, f->payload + sizeof(res->outcome),
		   f->header.length - sizeof(res->outcome));
	res->has_outcome = true;
	c->ops->outcome(c->ctx);
}

static void on_tty(struct collector *c, const struct frame *f)
{
	if (c->ops->tty)
		c->ops->tty(c->ctx, f->payload, f->header.length);
	sink_write(&c->result->tty, f->payload, f->header.length);
}

static void on_test_frame(struct collector *c, const struct frame *f)
{
	uint8_t header[FRAME_HEADER_SIZE];

	c->result->result_bytes += f->header.length;
	test_results_add(&c->result->tests, f->header.type, f->payload, f->header.length);
	if (c->result->frames.fd < 0)
		return;
	frame_header_encode(&f->header, header);
	sink_write(&c->result->frames, header, sizeof(header));
	sink_write(&c->result->frames, f->payload, f->header.length);
}

void collector_add(struct collector *c, const struct frame *f)
{
	struct run_result *res = c->result;

	if (f->header.type < ARRAY_SIZE(res->n_frames))
		res->n_frames[f->header.type]++;
	c->has_guest_frames |= f->header.type < FRAME_EXIT_ACK;
	switch (f->header.type) {
	case FRAME_STDOUT:
		c->ops->output(c->ctx, STDOUT_FILENO, f->payload, f->header.length);
		break;
	case FRAME_STDERR:
		c->ops->output(c->ctx, STDERR_FILENO, f->payload, f->header.length);
		break;
	case FRAME_VM_TTY:
		on_tty(c, f);
		break;
	case FRAME_PHASE:
		on_phase(c, f, true);
		break;
	case FRAME_VM_PHASE:
		on_phase(c, f, false);
		break;
	case FRAME_KERNEL_LOG:
		sink_write(&res->dmesg, f->payload, f->header.length);
		break;
	case FRAME_VM_SERIAL:
		sink_write(&res->console, f->payload, f->header.length);
		break;
	case FRAME_VM_COM2:
		on_com2(c, f);
		break;
	case FRAME_CRASH:
		buf_append(&res->crash, f->payload,
			   num_min(f->header.length, CRASH_MAX - res->crash.len));
		break;
	case FRAME_VM_NOTE:
		run_result_add_note(res, (const char *)f->payload, f->header.length);
		break;
	case FRAME_VM_STATS:
		buf_append(&res->stats, f->payload, f->header.length);
		break;
	case FRAME_VM_OUTCOME:
		on_outcome(c, f);
		break;
	default:
		if (f->header.type < FRAME_STDOUT && f->header.type != FRAME_EXIT)
			on_test_frame(c, f);
		break;
	}
}

void collector_finish(struct collector *c)
{
	for (size_t i = 0; i < c->result->n_phases; i++)
		if (c->result->phases[i].is_guest)
			c->result->phases[i].time_ns += c->guest_offset_ns;
}
