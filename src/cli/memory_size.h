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

uint64_t memory_size_need_mib(const struct memory_need *need);

/*
 * @asked_mib, unless that is less than @need_mib: class usage, with both numbers. Asked for nothing
 * (0): the nodes' own memory if each has some; else what all of them need or the default, whichever
 * is more, for the nodes without a size. @need NULL: a bare guest, which knows best.
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
