#include "harness/verdict.h"

#include <stdio.h>
#include <string.h>

#include "abi/test_protocol.h"
#include "base/assert.h"

/* "status 3", "SIGSEGV", ... */
static void describe_exit(const struct frame_exit *e, char *text, size_t n)
{
	switch ((enum frame_exit_kind)e->kind) {
	case EXIT_STATUS:
		(void)snprintf(text, n, "ended with status %d", e->value);
		return;
	case EXIT_SIGNAL: {
		const char *name = sigabbrev_np(e->value);
		(void)snprintf(text, n, "died by signal %d (SIG%s)", e->value, name ? name : "?");
		return;
	}
	case EXIT_NOT_FOUND:
	case EXIT_NOT_EXEC:
		(void)snprintf(text, n, "could not be executed in the guest: %s",
			       strerrordesc_np(e->value) ? strerrordesc_np(e->value) : "?");
		return;
	case EXIT_INIT:
		break;
	}
	(void)snprintf(text, n, "ended in no known way (kind %u, value %d)", e->kind, e->value);
}

static bool is_status(const struct frame_exit *e, int status)
{
	return e->kind == EXIT_STATUS && e->value == status;
}

static void fail(struct verdict *v, const char *head, const struct frame_exit *e)
{
	char how[100];

	describe_exit(e, how, sizeof(how));
	v->outcome = OUTCOME_FAIL;
	v->source = VERDICT_FROM_US;
	(void)snprintf(v->why, sizeof(v->why), "%s%s", head, how);
}

/* The VM came to its end as it should: what the program said and did decides. */
static void decide_program(const struct verdict_input *in, struct verdict *v)
{
	char head[64];

	if (!in->has_exit) {
		/* Only a guest without PID 1 can do that. */
		v->outcome = OUTCOME_FAIL;
		v->source = VERDICT_FROM_US;
		(void)snprintf(v->why, sizeof(v->why),
			       "the guest powered off and reported no exit status");
	} else if (!in->has_record && is_status(&in->exit, TEST_EXIT_USAGE)) {
		fail(v, "the program refused to run the test and ", &in->exit);
	} else if (!in->has_record) {
		fail(v, "the test gave no result: its program ", &in->exit);
	} else if (in->record != OUTCOME_FAIL && !is_status(&in->exit, test_exit_of(in->record))) {
		/* It got worse after the record was sent. */
		(void)snprintf(head, sizeof(head), "the test said %s, but its program ",
			       outcome_name(in->record));
		fail(v, head, &in->exit);
	} else {
		v->outcome = in->record;
		v->source = VERDICT_FROM_RECORD;
	}
}

void verdict_decide(const struct verdict_input *in, struct verdict *ret)
{
	ASSERT(!in->has_record || in->record <= OUTCOME_INCONCLUSIVE);
	*ret = (struct verdict){ .outcome = in->vm, .source = VERDICT_FROM_VM };
	switch (in->vm) {
	case OUTCOME_PASS:
	case OUTCOME_FAIL:
		decide_program(in, ret);
		return;
	case OUTCOME_INFRA:
		/* No host could run it as it is declared: the declaration is wrong. */
		if (in->is_usage)
			ret->outcome = OUTCOME_FAIL;
		return;
	case OUTCOME_SKIP: /* this host cannot */
	case OUTCOME_PANIC:
	case OUTCOME_STALL:
	case OUTCOME_TIMEOUT:
	case OUTCOME_BOOT:
		return; /* whatever the test said */
	case OUTCOME_INCONCLUSIVE:
		break;
	}
	/* No judge says so: a broken VM process. */
	ret->outcome = OUTCOME_INFRA;
	ret->source = VERDICT_FROM_US;
	(void)snprintf(ret->why, sizeof(ret->why), "the VM process sent an unknown outcome (%u)",
		       (unsigned)in->vm);
}
