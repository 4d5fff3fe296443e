/* A test or a subtest from its beginning to its outcome. */
#pragma once

#include "ktstr_session.h"

void ktstr_level_begin(struct ktstr *t, const char *name);
/* A subtest of @t. NULL: no deeper level is free. */
struct ktstr *ktstr_level_begin_below(struct ktstr *t, const char *name);
/* The outcome of @t becomes @outcome if that is worse; @text is kept if it explains the outcome. Under the lock. */
void ktstr_level_add(struct ktstr *t, enum outcome outcome, const char *text);
/* Decides, reports, and tells the level above. */
enum outcome ktstr_level_end(struct ktstr *t);
/* Ends the process, and fails @t, if this is not process @pid any more: a child fell out of the test. */
void ktstr_level_leave_if_forked(struct ktstr *t, pid_t pid);
