#include "harness/host_caveats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/frame.h"
#include "base/file.h"

enum { STAT_MAX = 1 << 20 };

uint32_t host_state_parse_running(const char *stat)
{
	static const char key[] = "\nprocs_running ";
	const char *p = strstr(stat, key);

	return p ? (uint32_t)strtoul(p + sizeof(key) - 1, NULL, 10) : 0;
}

static int64_t read_number(const char *path, int64_t otherwise)
{
	char line[32];

	return file_read_line(path, line, sizeof(line)) == 0 ? strtoll(line, NULL, 10) : otherwise;
}

void host_state_read(uint32_t n_online, struct host_state *ret)
{
	CLEANUP(buf_fini) struct buf stat = { 0 };
	struct error err;

	*ret = (struct host_state){
		.n_online = n_online,
		.rt_runtime_us = read_number("/proc/sys/kernel/sched_rt_runtime_us", -1),
		.rt_period_us = read_number("/proc/sys/kernel/sched_rt_period_us", 0),
	};
	if (file_read("/proc/stat", STAT_MAX, &stat, &err) == 0)
		ret->n_running = host_state_parse_running(buf_str(&stat));
}

void host_caveats(const struct host_state *s, uint32_t n_taken, struct buf *to)
{
	uint32_t others = s->n_running ? s->n_running - 1 : 0;
	uint32_t left = s->n_online > n_taken ? s->n_online - n_taken : 0;

	if (others > left)
		buf_printf(
		    to,
		    "performance mode: %u other tasks want to run now and the VM leaves this "
		    "host %u of its %u CPUs: they will be in the measurement\n",
		    others, left, s->n_online);
	if (s->rt_period_us > 0 && s->rt_runtime_us >= 0 && s->rt_runtime_us < s->rt_period_us)
		buf_printf(to,
			   "performance mode: real-time tasks may be stopped for %" PRId64
			   " us of each %" PRId64
			   " us, so busy vCPUs, too: `sysctl kernel.sched_rt_runtime_us=-1` ends "
			   "that\n",
			   s->rt_period_us - s->rt_runtime_us, s->rt_period_us);
}

void missing_caveats(uint32_t applied, struct buf *to)
{
	static const struct {
		uint32_t bit;
		const char *text;
	} missing[] = {
		{ APPLIED_FIFO, "no SCHED_FIFO for this user, it needs a real-time priority of 2 "
				"(`ulimit -r`): other tasks can put vCPUs off their CPUs" },
		{ APPLIED_HUGEPAGES,
		  "not enough free pages of 2 MiB on the VM's nodes (`sysctl vm.nr_hugepages`): "
		  "its memory is in normal ones, which cost the guest TLB misses" },
		{ APPLIED_LOCKED, "RLIMIT_MEMLOCK is too small for its memory (`ulimit -l`), which "
				  "may be swapped out" },
		{ APPLIED_PAUSE, "this KVM cannot spin in the guest: each PAUSE may exit" },
		{ APPLIED_HLT, "this KVM cannot halt in the guest: each HLT exits" },
		{ APPLIED_CLOCK,
		  "KVM's clock is not the TSC alone (an unstable TSC, a nested host): "
		  "times that the guest measures vary more" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(missing); i++)
		if (!(applied & missing[i].bit))
			buf_printf(to, "performance mode: %s\n", missing[i].text);
}
