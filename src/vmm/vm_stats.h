/* A VM's counters as text for FRAME_VM_STATS: lines of "key value" (docs/run-json.md, `stats`). */
#pragma once

#include "base/buf.h"
#include "vmm/vm.h"

/* Appends. */
void vm_stats_format(const struct vm_stats *st, struct buf *text);
