/* What a batch knows of a test, into its entry of the results (harness/batch_result.h). */
#pragma once

#include "cli/batch_vm.h"
#include "harness/batch_result.h"

/* What it asks for, when it is added. */
void batch_fill_declared(struct batch_test *entry, const struct planned_test *test);
/* An attempt that ended with INFRA and is made again. */
void batch_fill_attempt(struct batch_test *entry, const struct batch_vm *vm);
/* The last attempt, with @outcome: verdict, evidence, what the test said (taken from @vm). */
void batch_fill_end(struct batch_test *entry, struct batch_vm *vm, uint32_t outcome,
		    uint64_t batch_start_ns);
/* When its process is gone. */
void batch_fill_usage(struct batch_test *entry, const struct batch_vm *vm);
