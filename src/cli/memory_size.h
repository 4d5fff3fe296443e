/*
 * How much memory a VM gets: what its kernel and initramfs need, what was asked for, what this host
 * has. Pure functions; sizes in bytes unless a name says MiB.
 *
 * The need, found with stock kernels and checked in tests/lab (a VM of exactly that size boots):
 *
 *	  up to the kernel's end		it lies there until the guest is gone
 *	+ initramfs, packed			freed only after it was unpacked
 *	+ initramfs, unpacked, twice		its tmpfs takes at most half of the memory;
 *						at least unpacked + 48 MiB: slabs, per-CPU areas, user space
 *	+ 1 MiB per CPU
 *	+ 1/63 of all that			64 of 4096 bytes: the kernel's table of pages
 *
 * rounded up to 2 MiB.
 */
#pragma once

#include "base/topology.h"

struct memory_need {
	uint64_t kernel_end;
	uint64_t packed;
	uint64_t unpacked; /* 0: not known, somebody else's initramfs */
	uint32_t n_cpus;
};

enum { MEMORY_SIZE_DEFAULT_MIB = 512 };
/* No x86 processor has more address bits than 52. */
#define MEMORY_SIZE_MAX_MIB (UINT64_C(1) << (52 - 20))

uint64_t memory_size_need_mib(const struct memory_need *need);

/* Class usage, with the nearest that are a multiple of 2 MiB. */
MUST_CHECK int memory_size_check_unit(uint64_t mib, struct error *err);

/*
 * The nodes' own memory if each has some; else @need_mib or 512 MiB, whichever is more, for those
 * without a size.
 */
uint64_t memory_size_default_mib(const struct topology *t, uint64_t need_mib);

/*
 * @asked_mib, or the default where it is 0. Less than is needed: class usage, with both numbers.
 * @need NULL: a bare guest, which knows best.
 */
MUST_CHECK int memory_size_choose(uint64_t asked_mib, const struct memory_need *need,
				  const struct topology *t, uint64_t *ret_mib, struct error *err);

/* Memory and swap of a host. */
struct host_memory {
	uint64_t ram;
	uint64_t swap;
};
struct host_memory memory_size_of_host(void);
/* Class skip, with both numbers, where a VM of @mib could not fill its memory. */
MUST_CHECK int memory_size_check_host(uint64_t mib, const struct host_memory *host,
				      struct error *err);
