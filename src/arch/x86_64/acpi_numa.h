/* SRAT, SLIT and HMAT: which node processors and memory belong to, and how far nodes are apart. */
#pragma once

#include "base/buf.h"
#include "base/memory_layout.h"
#include "base/topology.h"

/* Whether there is anything to tell: more than one node, or attributes of the only one. */
bool acpi_numa_is_needed(const struct topology *t);

/* Each appends a table and returns its offset. */
size_t acpi_add_srat(struct buf *b, const struct topology *t, const struct memory_layout *memory);
size_t acpi_add_slit(struct buf *b, const struct topology *t);
size_t acpi_add_hmat(struct buf *b, const struct topology *t);
