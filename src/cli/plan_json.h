/* Hosts, plans and locks as JSON: docs/plan-json.md. The caller owns what is returned. */
#pragma once

#include <jansson.h>

#include "plan/lock_scan.h"
#include "plan/plan.h"

json_t *plan_json_host(const struct host *host);
json_t *plan_json_plan(const struct host *host, const struct plan *plan);
/* Locks, waiters apart. */
json_t *plan_json_locks(const struct lock_scan *scan);
/* "0-3,8" */
json_t *plan_json_set(const struct id_set *set);
