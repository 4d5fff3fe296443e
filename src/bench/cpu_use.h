/* CPU time of a VMM's process, its vCPU threads told apart from the rest. */
#pragma once

#include <sys/types.h>

#include "base/id_set.h"

struct cpu_use {
	double all_ms;   /* every thread, also those that have ended */
	double vcpus_ms; /* threads that run vCPUs: the guest, and its exits */
};

/*
 * What @pid has used so far. vCPU threads are known by their names: "vcpuN" of ktstr, "CPU N/KVM" of
 * QEMU with debug-threads=on. Members are NAN where /proc does not tell.
 */
void cpu_use_read(pid_t pid, struct cpu_use *ret);

/* How long the CPUs of @cpus have been idle since boot, all of them together; NAN where /proc does not tell. */
double cpu_use_idle_s(const struct id_set *cpus);
