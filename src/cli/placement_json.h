/* Where a VM ran, as the `placement` of docs/run-json.md. */
#pragma once

#include <jansson.h>

#include "cli/place.h"

/* null where it ran wherever the process might. */
json_t *placement_json(const struct place *place, const struct run_result *result);
