/* Topologies as JSON (docs/topo-json.md). */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/memory_layout.h"

/*
 * A declaration as the text that topology_parse takes, so that there is one place which knows what
 * is right. Errors (class usage) are those of JSON itself: unknown members, wrong types.
 */
MUST_CHECK int topology_json_text(const json_t *declaration, struct buf *ret, struct error *err);

/* The other way: a declaration that topology_json_text reads back. Owned by the caller. */
json_t *topology_json_declaration(const struct topology *t);

/* What a guest of that topology sees: CPUs, LLCs, nodes with their memory. Owned by the caller. */
json_t *topology_json_document(const struct topology *t, const struct memory_layout *memory);

/* "0-3", "7", "": a range of CPUs as sysfs writes it; @n may be 0. */
enum { TOPOLOGY_RANGE_MAX = 24 };
void topology_range(uint32_t first, uint32_t n, char text[static TOPOLOGY_RANGE_MAX]);
