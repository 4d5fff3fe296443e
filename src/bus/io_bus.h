/*
 * A table of register windows: one for MMIO, one for x86 ports. Sorted, frozen before the first
 * vCPU runs, then read by all vCPU threads without a lock; each window locks for itself.
 */
#pragma once

#include "base/error.h"

struct io_region;

/*
 * Called on vCPU threads. @off is relative to the window, @size is 1, 2, 4 or 8 and [off, off +
 * size) lies inside. Values are little-endian numbers in the low bytes. Unknown registers read as
 * 0, writes to them are ignored.
 */
struct io_ops {
	uint64_t (*read)(struct io_region *region, uint64_t off, unsigned size);
	void (*write)(struct io_region *region, uint64_t off, unsigned size, uint64_t value);
};

struct io_region {
	uint64_t base;
	uint64_t len;
	const struct io_ops *ops;
	const char *name;
};

enum { IO_BUS_MAX_REGIONS = 32 };

struct io_bus {
	struct io_region *regions[IO_BUS_MAX_REGIONS]; /* ascending, disjoint; borrowed */
	size_t n_regions;
	_Atomic uint64_t n_unclaimed; /* accesses that hit no window */
};

/* Borrows @region, which must outlive the bus. -EINVAL: empty, wraps or overlaps; -ENOSPC. */
MUST_CHECK int io_bus_add(struct io_bus *bus, struct io_region *region);
/* The window that holds all of [addr, addr + size), or NULL. */
struct io_region *io_bus_find(const struct io_bus *bus, uint64_t addr, unsigned size);
/*
 * Any thread. False where no window claims the access (counted): the caller then reads all ones and
 * drops writes. A size that is not 1, 2, 4 or 8 is unclaimed.
 */
bool io_bus_read(struct io_bus *bus, uint64_t addr, unsigned size, uint64_t *ret);
bool io_bus_write(struct io_bus *bus, uint64_t addr, unsigned size, uint64_t value);
