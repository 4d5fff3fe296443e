/* The window table: sorted at set-up, then only read. See io_bus.h. */
#include "bus/io_bus.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

int io_bus_add(struct io_bus *bus, struct io_region *region)
{
	uint64_t last;
	size_t at = 0;

	if (region->len == 0 || __builtin_add_overflow(region->base, region->len - 1, &last))
		return -EINVAL;
	if (bus->n_regions == IO_BUS_MAX_REGIONS)
		return -ENOSPC;
	while (at < bus->n_regions && bus->regions[at]->base < region->base)
		at++;
	if (at < bus->n_regions && bus->regions[at]->base <= last)
		return -EINVAL;
	if (at > 0 && region->base - bus->regions[at - 1]->base < bus->regions[at - 1]->len)
		return -EINVAL;
	memmove(&bus->regions[at + 1], &bus->regions[at],
		(bus->n_regions - at) * sizeof(bus->regions[0])); /* NOLINT: the pointers move */
	bus->regions[at] = region;
	bus->n_regions++;
	return 0;
}

struct io_region *io_bus_find(const struct io_bus *bus, uint64_t addr, unsigned size)
{
	size_t lo = 0;
	size_t hi = bus->n_regions;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (bus->regions[mid]->base <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return NULL;
	struct io_region *region = bus->regions[lo - 1];
	uint64_t off = addr - region->base;
	return size <= region->len && off <= region->len - size ? region : NULL;
}

/* As io_bus_find, for an access: odd sizes hit nothing, and what hits nothing is counted. */
static struct io_region *claim(struct io_bus *bus, uint64_t addr, unsigned size)
{
	struct io_region *region = NULL;

	if (size == 1 || size == 2 || size == 4 || size == 8)
		region = io_bus_find(bus, addr, size);
	if (!region)
		atomic_fetch_add_explicit(&bus->n_unclaimed, 1, memory_order_relaxed);
	return region;
}

bool io_bus_read(struct io_bus *bus, uint64_t addr, unsigned size, uint64_t *ret)
{
	struct io_region *region = claim(bus, addr, size);

	if (!region)
		return false;
	*ret = region->ops->read(region, addr - region->base, size);
	return true;
}

bool io_bus_write(struct io_bus *bus, uint64_t addr, unsigned size, uint64_t value)
{
	struct io_region *region = claim(bus, addr, size);

	if (!region)
		return false;
	region->ops->write(region, addr - region->base, size, value);
	return true;
}
