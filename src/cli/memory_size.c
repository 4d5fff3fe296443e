#include "cli/memory_size.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/sysinfo.h>

#include "base/memory_layout.h"
#include "base/num.h"

enum {
	OVERHEAD_MIB = 48, /* measured with stock kernels of the series 6.1 and 6.12 */
	PER_CPU_MIB = 1,
	PAGES_PER_TABLE_PAGE = 64,
};

uint64_t memory_size_need_mib(const struct memory_need *need)
{
	uint64_t sum = need->kernel_end + need->packed + need->unpacked +
		       num_max(need->unpacked, OVERHEAD_MIB * MIB) +
		       need->n_cpus * (PER_CPU_MIB * MIB);

	sum += sum / (PAGES_PER_TABLE_PAGE - 1);
	return num_align_up(sum, TOPOLOGY_MEMORY_UNIT) / MIB;
}

int memory_size_check_unit(uint64_t mib, struct error *err)
{
	uint64_t unit = TOPOLOGY_MEMORY_UNIT / MIB;
	uint64_t below = mib / unit * unit;

	if (below == mib)
		return 0;
	return error_set_usage(err, -EINVAL,
			       "--memory %" PRIu64
			       ": not a multiple of 2 MiB; the nearest are %" PRIu64
			       " and %" PRIu64,
			       mib, below, below + unit);
}

uint64_t memory_size_default_mib(const struct topology *t, uint64_t need_mib)
{
	bool all;
	uint64_t declared_mib = memory_layout_declared(t, &all) / MIB;

	return all ? declared_mib : declared_mib + num_max(need_mib, MEMORY_SIZE_DEFAULT_MIB);
}

int memory_size_choose(uint64_t asked_mib, const struct memory_need *need, const struct topology *t,
		       uint64_t *ret_mib, struct error *err)
{
	uint64_t need_mib = need ? memory_size_need_mib(need) : 0;
	uint64_t mib = asked_mib ? asked_mib : memory_size_default_mib(t, need_mib);

	if (mib < need_mib)
		return error_set_usage(err, -ENOMEM,
				       "--memory %" PRIu64 ": too small for this kernel (%" PRIu64
				       " MiB) and initramfs (%" PRIu64 " MiB packed, %" PRIu64
				       " MiB unpacked) on %u CPUs: needs %" PRIu64 " MiB",
				       mib, need->kernel_end / MIB, need->packed / MIB,
				       need->unpacked / MIB, need->n_cpus, need_mib);
	*ret_mib = mib;
	return 0;
}

struct host_memory memory_size_of_host(void)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0) /* it has nothing to complain about */
		return (struct host_memory){ UINT64_MAX / 2, 0 };
	return (struct host_memory){ .ram = info.totalram * (uint64_t)info.mem_unit,
				     .swap = info.totalswap * (uint64_t)info.mem_unit };
}

int memory_size_check_host(uint64_t mib, const struct host_memory *host, struct error *err)
{
	if (mib <= (host->ram + host->swap) / MIB)
		return 0;
	(void)error_set_text(err, -ENOMEM,
			     "memory of %" PRIu64 " MiB: this host has %" PRIu64
			     " MiB, and %" PRIu64 " MiB of swap",
			     mib, host->ram / MIB, host->swap / MIB);
	return error_classify(err, ERROR_SKIP);
}
