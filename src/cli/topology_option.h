/* The value of --topology, and the memory that goes with it. */
#pragma once

#include "base/memory_layout.h"
#include "base/topology.h"

/* A text of topology_parse, or @FILE with a JSON document (topology_json.h). Class usage, unrepresentable. */
MUST_CHECK int topology_option_parse(const char *arg, struct topology *ret, struct error *err);

/*
 * The machine's memory: @mib of --memory (0: not given, so memory_size_default_mib of a guest whose
 * need is not known), and where each node's part lies. Errors are class usage.
 */
MUST_CHECK int topology_option_memory(const struct topology *t, uint64_t mib, uint64_t *ret_mib,
				      struct memory_layout *ret, struct error *err);
