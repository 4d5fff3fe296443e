/* A plan in the words of who applies it (base/placement.h), and what a user should know of it before. */
#pragma once

#include "base/buf.h"
#include "base/placement.h"
#include "plan/plan.h"

/* @request is the one that @plan answers. Ends with placement_fini. */
struct placement plan_placement(const struct host *host, const struct plan_request *request,
				const struct plan *plan);
/*
 * Appends a line, each with its newline, for everything in which the guest's CPUs are not what it thinks they are: fewer than it
 * has, on several nodes, not aligned. Nothing for a plan that gives what was asked for.
 */
void plan_caveats(const struct plan_request *request, const struct plan *plan, struct buf *to);
