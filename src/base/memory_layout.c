#include "base/memory_layout.h"

#include <errno.h>
#include <inttypes.h>

#include "base/num.h"

uint64_t memory_layout_declared(const struct topology *t, bool *ret_all)
{
	uint64_t sum = 0;

	*ret_all = true;
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		if (!t->nodes[i].memory)
			*ret_all = false;
		if (!num_add_u64(sum, t->nodes[i].memory, &sum))
			return UINT64_MAX;
	}
	return sum;
}

static int check_sizes(const struct topology *t, uint64_t bytes, struct error *err)
{
	bool all;
	uint64_t declared = memory_layout_declared(t, &all);

	if (!bytes || bytes % TOPOLOGY_MEMORY_UNIT)
		return error_set_usage(err, -EINVAL,
				       "memory of %" PRIu64 " KiB is not a multiple of 2 MiB",
				       bytes / KIB);
	for (uint32_t i = 0; i < t->n_nodes; i++)
		if (t->nodes[i].memory % TOPOLOGY_MEMORY_UNIT)
			return error_set_usage(err, -EINVAL,
					       "node %u: memory of %" PRIu64
					       " KiB is not a multiple of 2 MiB",
					       i, t->nodes[i].memory / KIB);
	if (!all && declared == bytes)
		return error_set_usage(
		    err, -EINVAL,
		    "the nodes' own memory adds up to %" PRIu64
		    " MiB, all there is: nothing is left for those without a size",
		    declared / MIB);
	if (all ? declared != bytes : declared > bytes)
		return error_set_usage(err, -EINVAL,
				       "the nodes' own memory adds up to %" PRIu64
				       " MiB, but the memory of all nodes is %" PRIu64 " MiB",
				       declared / MIB, bytes / MIB);
	return 0;
}

/* Units that node @node gets of @units to share among @n sharers, of which it is number @i. */
static uint64_t share(uint64_t units, uint32_t n, uint32_t i)
{
	return (units / n + (i < units % n)) * TOPOLOGY_MEMORY_UNIT;
}

static int node_sizes(const struct topology *t, uint64_t bytes, uint64_t *sizes, struct error *err)
{
	bool all;
	uint64_t rest = bytes - memory_layout_declared(t, &all);
	uint64_t min = t->n_nodes > 1 ? MEMORY_LAYOUT_MIN_NODE : TOPOLOGY_MEMORY_UNIT;
	uint32_t sharers = 0, i_sharer = 0;

	for (uint32_t i = 0; i < t->n_nodes; i++)
		sharers += !t->nodes[i].memory;
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		sizes[i] = t->nodes[i].memory;
		if (!sizes[i])
			sizes[i] = share(rest / TOPOLOGY_MEMORY_UNIT, sharers, i_sharer++);
		if (sizes[i] < min)
			return error_set_usage(
			    err, -EINVAL,
			    "memory of %" PRIu64 " MiB has %" PRIu64
			    " MiB for node %u: each of the %u nodes needs %" PRIu64 " MiB at least",
			    bytes / MIB, sizes[i] / MIB, i, t->n_nodes, min / MIB);
	}
	return 0;
}

static void add_range(struct memory_layout *l, uint32_t node, uint64_t gpa, uint64_t len)
{
	if (len)
		l->ranges[l->n_ranges++] =
		    (struct memory_range){ .gpa = gpa, .len = len, .node = node };
}

int memory_layout_make(const struct topology *t, uint64_t bytes, const struct memory_space *space,
		       struct memory_layout *ret, struct error *err)
{
	struct memory_layout l = { 0 };
	uint64_t sizes[TOPOLOGY_MAX_NODES] = { 0 };
	uint64_t room = space->limit - space->start - (space->gap_end - space->gap_start);
	uint64_t at = space->start;

	if (check_sizes(t, bytes, err) < 0 || node_sizes(t, bytes, sizes, err) < 0)
		return err->code;
	if (bytes > room)
		return error_set_usage(err, -ERANGE,
				       "memory of %" PRIu64
				       " MiB: the machine's addresses end at %" PRIu64
				       " MiB, which leaves room for %" PRIu64 " MiB",
				       bytes / MIB, space->limit / MIB, room / MIB);
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		uint64_t below =
		    at < space->gap_start ? num_min(sizes[i], space->gap_start - at) : 0;

		add_range(&l, i, at, below);
		at += below;
		if (below == sizes[i])
			continue;
		at = num_max(at, space->gap_end);
		add_range(&l, i, at, sizes[i] - below);
		at += sizes[i] - below;
	}
	*ret = l;
	return 0;
}

uint64_t memory_layout_end(const struct memory_layout *layout)
{
	const struct memory_range *last = &layout->ranges[layout->n_ranges - 1];

	return last->gpa + last->len;
}

uint64_t memory_layout_node_bytes(const struct memory_layout *layout, uint32_t node)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < layout->n_ranges; i++)
		if (layout->ranges[i].node == node)
			sum += layout->ranges[i].len;
	return sum;
}
