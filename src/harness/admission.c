#include "harness/admission.h"

#include "base/assert.h"

bool admission_can_ever(const struct admission *a, const struct admission_cost *cost)
{
	return cost->cpus <= a->limit.cpus && cost->files <= a->limit.files &&
	       cost->memory_mib <= a->limit.memory_mib;
}

static bool fits(struct admission *a, const struct admission_cost *cost)
{
	if (a->n_running >= a->max_running || cost->cpus > a->limit.cpus - a->used.cpus ||
	    cost->memory_mib > a->limit.memory_mib - a->used.memory_mib)
		return false;
	if (cost->files <= a->limit.files - a->used.files)
		return true;
	a->lacks_files = true;
	return false;
}

static size_t find(struct admission *a, const struct admission_cost *costs, const size_t *queue,
		   size_t n)
{
	if (n && fits(a, &costs[queue[0]]))
		return 0;
	if (a->n_passed >= ADMISSION_PASSES)
		return SIZE_MAX;
	for (size_t i = 1; i < n && i < ADMISSION_DEPTH; i++)
		if (fits(a, &costs[queue[i]]))
			return i;
	return SIZE_MAX;
}

size_t admission_take(struct admission *a, const struct admission_cost *costs, const size_t *queue,
		      size_t n)
{
	size_t i = find(a, costs, queue, n);

	if (i == SIZE_MAX)
		return i;
	a->n_passed = i == 0 ? 0 : a->n_passed + 1;
	a->used.cpus += costs[queue[i]].cpus;
	a->used.files += costs[queue[i]].files;
	a->used.memory_mib += costs[queue[i]].memory_mib;
	a->n_running++;
	return i;
}

void admission_give_back(struct admission *a, const struct admission_cost *cost)
{
	ASSERT(a->n_running > 0 && a->used.cpus >= cost->cpus && a->used.files >= cost->files &&
	       a->used.memory_mib >= cost->memory_mib);
	a->n_running--;
	a->used.cpus -= cost->cpus;
	a->used.files -= cost->files;
	a->used.memory_mib -= cost->memory_mib;
}
