#include "ktstr_level.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ktstr_report.h"

/* Kept free at the end of a message for how much was left out. */
enum { UNSAID_ROOM = 32 };

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int badness(enum outcome outcome)
{
	switch ((int)outcome) {
	case OUTCOME_PASS:
		return 0;
	case OUTCOME_SKIP:
		return 1;
	case OUTCOME_INCONCLUSIVE:
		return 2;
	}
	return 3;
}

static void begin_locked(struct ktstr *t, const char *name)
{
	t->is_open = true;
	t->has_skipped_subtest = false;
	t->outcome = OUTCOME_PASS;
	t->message[0] = '\0';
	t->n_message = 0;
	t->n_unsaid = 0;
	atomic_store_explicit(&t->measured, 0, memory_order_relaxed);
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	ktstr_report_start(t);
	t->start_ns = now_ns();
}

void ktstr_level_begin(struct ktstr *t, const char *name)
{
	ktstr_session_lock(t->session);
	begin_locked(t, name);
	ktstr_session_unlock(t->session);
}

struct ktstr *ktstr_level_begin_below(struct ktstr *t, const char *name)
{
	struct ktstr *sub = NULL;

	ktstr_session_lock(t->session);
	if (t->depth + 1 < TEST_DEPTH_MAX && !t[1].is_open) {
		sub = t + 1; /* the levels are one array */
		begin_locked(sub, name);
	}
	ktstr_session_unlock(t->session);
	return sub;
}

void ktstr_level_add(struct ktstr *t, enum outcome outcome, const char *text)
{
	if (badness(outcome) < badness(t->outcome))
		return;
	if (badness(outcome) > badness(t->outcome)) {
		t->outcome = outcome;
		t->n_message = 0;
		t->n_unsaid = 0;
	}
	size_t room = sizeof(t->message) - UNSAID_ROOM - t->n_message;
	int n =
	    snprintf(t->message + t->n_message, room, "%s%s", t->n_message > 0 ? "\n" : "", text);
	if ((size_t)n < room) {
		t->n_message += (size_t)n;
	} else if (t->n_message == 0) {
		t->n_message = room - 1; /* the first is cut rather than left out */
	} else {
		t->message[t->n_message] = '\0';
		t->n_unsaid++;
	}
}

static void decide(struct ktstr *t)
{
	bool has_measured = atomic_load_explicit(&t->measured, memory_order_relaxed) > 0;

	if (t->outcome == OUTCOME_PASS && !has_measured && t->has_skipped_subtest)
		ktstr_level_add(t, OUTCOME_SKIP, "every subtest was skipped");
	else if (t->outcome == OUTCOME_PASS && !has_measured)
		ktstr_level_add(t, OUTCOME_INCONCLUSIVE, "nothing was checked or measured");
	if (t->n_unsaid > 0)
		t->n_message += (size_t)snprintf(t->message + t->n_message, UNSAID_ROOM,
						 "\n(and %u more)", t->n_unsaid);
}

static void tell_above(struct ktstr *t, const struct ktstr *sub)
{
	char text[KTSTR_MESSAGE_MAX];

	switch ((int)sub->outcome) {
	case OUTCOME_PASS:
		atomic_fetch_add_explicit(&t->measured, 1, memory_order_relaxed);
		return;
	case OUTCOME_SKIP:
		t->has_skipped_subtest = true;
		return;
	}
	(void)snprintf(text, sizeof(text), "%s: %.*s", sub->name,
		       (int)(sizeof(text) - TEST_NAME_MAX - 2), sub->message);
	ktstr_level_add(t, sub->outcome, text);
}

enum outcome ktstr_level_end(struct ktstr *t)
{
	ktstr_session_lock(t->session);
	decide(t);
	ktstr_report_end(t, now_ns());
	t->is_open = false;
	if (t->depth > 0)
		tell_above(t - 1, t);
	enum outcome outcome = t->outcome;
	ktstr_session_unlock(t->session);
	return outcome;
}

void ktstr_level_leave_if_forked(struct ktstr *t, pid_t pid)
{
	if (getpid() == pid)
		return;
	ktstr_fail(t, "a forked child returned from the function of '%s' instead of ending itself",
		   t->name);
	_exit(TEST_EXIT_FAIL);
}
