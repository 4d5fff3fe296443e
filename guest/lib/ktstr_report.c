#include "ktstr_report.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ktstr_json.h"

/* How long a test waits for the receipt of its start: PID 1 may be starved by the scheduler under test. */
enum { RECEIPT_MS = 1000 };

const char *ktstr_report_outcome_name(enum outcome outcome)
{
	switch ((int)outcome) {
	case OUTCOME_PASS:
		return "PASS";
	case OUTCOME_SKIP:
		return "SKIP";
	case OUTCOME_INCONCLUSIVE:
		return "INCONCLUSIVE";
	}
	return "FAIL";
}

static const char *better_name(enum ktstr_better better)
{
	switch (better) {
	case KTSTR_HIGHER_IS_BETTER:
		return "higher";
	case KTSTR_LOWER_IS_BETTER:
		return "lower";
	case KTSTR_NEITHER_IS_BETTER:
		break;
	}
	return "neither";
}

/* -- records */

struct record {
	FILE *f;
	char *text;
	size_t n;
};

/* The members that every record has. False: no host listens, or there is no memory. */
static bool begin_record(struct record *r, const struct ktstr *t, const char *name)
{
	*r = (struct record){ 0 };
	if (t->session->channel_fd < 0)
		return false;
	r->f = open_memstream(&r->text, &r->n);
	if (!r->f) {
		fprintf(stderr, "ktstr: a record is lost: %m\n");
		return false;
	}
	fprintf(r->f, "{\"version\":%d,\"depth\":%u", TEST_PROTOCOL_VERSION, t->depth);
	ktstr_json_add_string(r->f, "name", name);
	return true;
}

/* @receipt_fd goes along, -1: none. */
static int send_message(int fd, enum frame_type type, const struct record *r, int receipt_fd)
{
	uint32_t type_le = htole32(type);
	struct iovec iov[] = { { &type_le, sizeof(type_le) }, { r->text, r->n } };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };
	ssize_t sent;

	if (receipt_fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		*c = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(c), &receipt_fd, sizeof(int));
	}
	do {
		sent = sendmsg(fd, &message, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* Comes back when PID 1 has passed the message on. */
static int send_with_receipt(int fd, enum frame_type type, const struct record *r)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return send_message(fd, type, r, -1);
	int res = send_message(fd, type, r, ends[1]);
	close(ends[1]);
	struct pollfd p = { .fd = ends[0] };
	if (res == 0)
		(void)poll(&p, 1, RECEIPT_MS); /* sooner or later, the message is under way */
	close(ends[0]);
	return res;
}

static void send_record(struct record *r, const struct ktstr *t, enum frame_type type)
{
	int fd = t->session->channel_fd;

	fputc('}', r->f);
	int res = fclose(r->f) == 0 ? 0 : -errno;
	/* A test may be the last thing that its kernel does: then the host knows which. */
	if (res == 0)
		res = type == FRAME_SCENARIO_START ? send_with_receipt(fd, type, r)
						   : send_message(fd, type, r, -1);
	if (res < 0)
		fprintf(stderr, "ktstr: a record is lost: %s\n", strerrordesc_np(-res));
	free(r->text);
}

/* -- lines */

static void indent(uint32_t depth)
{
	for (uint32_t i = 0; i < depth; i++)
		fputs("  ", stdout);
}

void ktstr_report_start(const struct ktstr *t)
{
	struct record r;

	indent(t->depth);
	printf("RUN  %s\n", t->name);
	if (begin_record(&r, t, t->name))
		send_record(&r, t, FRAME_SCENARIO_START);
}

void ktstr_report_metric(const struct ktstr *t, const char *name, double value, const char *unit,
			 enum ktstr_better better)
{
	struct record r;

	indent(t->depth + 1);
	printf("metric %s: %g %s%s\n", name, value, unit,
	       better == KTSTR_HIGHER_IS_BETTER  ? " (higher is better)"
	       : better == KTSTR_LOWER_IS_BETTER ? " (lower is better)"
						 : "");
	if (!begin_record(&r, t, name))
		return;
	ktstr_json_add_number(r.f, "value", value);
	ktstr_json_add_string(r.f, "unit", unit);
	ktstr_json_add_string(r.f, "better", better_name(better));
	send_record(&r, t, FRAME_PAYLOAD_METRICS);
}

void ktstr_report_trouble(const struct ktstr *t, enum outcome outcome, const char *text)
{
	indent(t->depth + 1);
	printf("%s: %s\n", ktstr_report_outcome_name(outcome), text);
}

void ktstr_report_end(const struct ktstr *t, uint64_t now_ns)
{
	const char *outcome = ktstr_report_outcome_name(t->outcome);
	double ms = (double)(now_ns - t->start_ns) / 1e6;
	struct record r;

	indent(t->depth);
	printf("%s %s (%.1f ms)%s%.*s\n", outcome, t->name, ms, t->n_message > 0 ? ": " : "",
	       (int)strcspn(t->message, "\n"), t->message);
	if (!begin_record(&r, t, t->name))
		return;
	ktstr_json_add_string(r.f, "outcome", outcome);
	ktstr_json_add_string(r.f, "message", t->message);
	ktstr_json_add_number(r.f, "duration_ms", ms);
	send_record(&r, t, t->depth == 0 ? FRAME_TEST_RESULT : FRAME_SCENARIO_END);
}
