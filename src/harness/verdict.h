/*
 * A test's outcome, from how its VM ended and what the test itself said (DESIGN.md, section 9). Neither alone will do: a
 * program that leaves with status 0 and no result did not pass, and a kernel that panics after a PASS did not either. Pure.
 */
#pragma once

#include "abi/frame.h"

struct verdict_input {
	enum outcome vm;        /* of the judge in the VM process */
	bool is_usage;          /* INFRA because the test asks for what cannot be */
	bool has_exit;          /* the program's end was reported: */
	struct frame_exit exit; /* how */
	bool has_record;        /* the test's own result came: */
	enum outcome record;    /* PASS, FAIL, SKIP, INCONCLUSIVE */
};

enum verdict_source { VERDICT_FROM_VM, VERDICT_FROM_RECORD, VERDICT_FROM_US };

struct verdict {
	enum outcome outcome;
	enum verdict_source source; /* whose text tells why: the VM's, the record's message, or: */
	char why[160];
};

void verdict_decide(const struct verdict_input *in, struct verdict *ret);
