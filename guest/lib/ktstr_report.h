/*
 * What a test says, twice: as a line on standard output for people, and as a record on the channel
 * (abi/test_protocol.h) where a host listens. Under the session's lock.
 */
#pragma once

#include "ktstr_session.h"

const char *ktstr_report_outcome_name(enum outcome outcome);

void ktstr_report_start(const struct ktstr *t);
void ktstr_report_metric(const struct ktstr *t, const char *name, double value, const char *unit,
			 enum ktstr_better better);
/* For people only: the record of the end has it. */
void ktstr_report_trouble(const struct ktstr *t, enum outcome outcome, const char *text);
void ktstr_report_end(const struct ktstr *t, uint64_t now_ns);
