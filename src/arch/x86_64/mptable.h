/*
 * The MP table (Intel MultiProcessor Specification 1.4): processors for kernels that do without
 * ACPI. Its APIC ids have 8 bits, so larger machines have none.
 */
#pragma once

#include "base/buf.h"
#include "base/topology.h"

bool mptable_fits(const struct topology *t);
/* Floating pointer and configuration table behind it, to be placed at @at (16-byte aligned). */
void mptable_build(const struct topology *t, uint32_t at, struct buf *ret);
