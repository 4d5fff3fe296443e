#include "harness/exit_rule.h"

enum batch_exit exit_rule(const uint64_t counts[static N_OUTCOMES], bool interrupted)
{
	if (interrupted)
		return BATCH_EXIT_INTERRUPTED;
	if (counts[OUTCOME_FAIL] || counts[OUTCOME_PANIC] || counts[OUTCOME_STALL] ||
	    counts[OUTCOME_TIMEOUT] || counts[OUTCOME_BOOT])
		return BATCH_EXIT_FAILED;
	if (counts[OUTCOME_INFRA])
		return BATCH_EXIT_INFRA;
	if (counts[OUTCOME_INCONCLUSIVE])
		return BATCH_EXIT_INCONCLUSIVE;
	return counts[OUTCOME_PASS] ? BATCH_EXIT_OK : BATCH_EXIT_NOTHING;
}
