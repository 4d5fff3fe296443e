#include "cli/exit_code.h"

static int of_exit(const struct frame_exit *exit)
{
	switch ((enum frame_exit_kind)exit->kind) {
	case EXIT_STATUS:
		if (exit->value >= 0 && exit->value <= UINT8_MAX)
			return exit->value;
		break; /* no status of a process, and never to be cut down to 0 */
	case EXIT_SIGNAL:
		return EXIT_CODE_SIGNAL + (exit->value & 0x7f);
	case EXIT_NOT_FOUND:
		return EXIT_CODE_NOT_FOUND;
	case EXIT_NOT_EXEC:
		return EXIT_CODE_NOT_EXECUTABLE;
	case EXIT_INIT:
		break;
	}
	return EXIT_CODE_INFRA;
}

int exit_code_of_outcome(const struct frame_outcome *o)
{
	switch ((enum outcome)o->outcome) {
	case OUTCOME_PASS:
	case OUTCOME_FAIL:
		return o->has_exit                  ? of_exit(&o->exit)
		       : o->outcome == OUTCOME_PASS ? EXIT_CODE_OK
						    : EXIT_CODE_FAILURE;
	case OUTCOME_SKIP:
		return EXIT_CODE_SKIP;
	case OUTCOME_PANIC:
		return EXIT_CODE_PANIC;
	case OUTCOME_STALL:
		return EXIT_CODE_STALL;
	case OUTCOME_TIMEOUT:
		return EXIT_CODE_TIMEOUT;
	case OUTCOME_BOOT:
		return EXIT_CODE_BOOT;
	case OUTCOME_INCONCLUSIVE:
	case OUTCOME_INFRA:
		break;
	}
	return o->is_usage ? EXIT_CODE_USAGE : EXIT_CODE_INFRA;
}

int exit_code_of_error(const struct error *err)
{
	switch (err->class) {
	case ERROR_USAGE:
	case ERROR_UNREPRESENTABLE:
		return EXIT_CODE_USAGE;
	case ERROR_SKIP:
		return EXIT_CODE_SKIP;
	case ERROR_INFRA:
		break;
	}
	return EXIT_CODE_INFRA;
}
