/* The functions of include/ktstr.h: outcomes, subtests, metrics. */
#include "ktstr.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ktstr_level.h"
#include "ktstr_report.h"

/* Printed, and kept with the outcome. Leaves errno as it was: texts may contain "%m". */
static void say(struct ktstr *t, enum outcome outcome, const char *fmt, va_list ap)
    KTSTR_PRINTF(3, 0);
static void say(struct ktstr *t, enum outcome outcome, const char *fmt, va_list ap)
{
	char text[KTSTR_MESSAGE_MAX];
	int saved = errno;

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	ktstr_session_lock(t->session);
	ktstr_report_trouble(t, outcome, text);
	ktstr_level_add(t, outcome, text);
	ktstr_session_unlock(t->session);
	errno = saved;
}

void ktstr_fail(struct ktstr *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(t, OUTCOME_FAIL, fmt, ap);
	va_end(ap);
}

void ktstr_inconclusive(struct ktstr *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(t, OUTCOME_INCONCLUSIVE, fmt, ap);
	va_end(ap);
}

void ktstr_skip(struct ktstr *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(t, OUTCOME_SKIP, fmt, ap);
	va_end(ap);
}

bool ktstr_check(struct ktstr *t, bool holds, const char *file, int line, const char *cond,
		 const char *fmt, ...)
{
	char text[KTSTR_MESSAGE_MAX];
	va_list ap;

	if (holds) {
		atomic_fetch_add_explicit(&t->measured, 1, memory_order_relaxed);
		return true;
	}
	int saved = errno;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ktstr_fail(t, "%s:%d: %s: %s", file, line, cond, text);
	errno = saved;
	return false;
}

bool ktstr_subtest(struct ktstr *t, const char *name, void (*run)(struct ktstr *t, void *arg),
		   void *arg)
{
	pid_t pid = getpid();
	struct ktstr *sub = ktstr_level_begin_below(t, name);

	if (!sub) {
		ktstr_fail(t, "subtest '%s': it is too deep, or another one runs", name);
		return false;
	}
	run(sub, arg);
	ktstr_level_leave_if_forked(sub, pid);
	return ktstr_level_end(sub) == OUTCOME_PASS;
}

void ktstr_metric(struct ktstr *t, const char *name, double value, const char *unit,
		  enum ktstr_better better)
{
	char short_name[TEST_NAME_MAX], short_unit[TEST_NAME_MAX];

	if (!isfinite(value)) {
		ktstr_inconclusive(t, "metric '%s' is no finite number", name);
		return;
	}
	(void)snprintf(short_name, sizeof(short_name), "%s", name);
	(void)snprintf(short_unit, sizeof(short_unit), "%s", unit);
	ktstr_session_lock(t->session);
	ktstr_report_metric(t, short_name, value, short_unit, better);
	ktstr_session_unlock(t->session);
	atomic_fetch_add_explicit(&t->measured, 1, memory_order_relaxed);
}

struct ktstr_topology ktstr_topology(const struct ktstr *t)
{
	return t->session->topology;
}
