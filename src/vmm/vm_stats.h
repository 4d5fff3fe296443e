/* A VM's counters as text for FRAME_VM_STATS: lines of "key value" (docs/run-json.md, `stats`). */
#pragma once

#include "base/buf.h"
#include "vmm/vm.h"

/* Both append. */
void vm_stats_format(const struct vm_stats *st, struct buf *text);
/* What the host did to the vCPU threads, one by one and in all; after their end. */
void vm_stats_format_vcpus(const struct vm *vm, uint32_t n_vcpus, struct buf *text);
