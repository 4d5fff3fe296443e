#include "base/topology.h"

#include <errno.h>
#include <inttypes.h>

#include "base/assert.h"
#include "base/num.h"

enum { MAX_ENTRY = UINT16_MAX - 1 }; /* of HMAT; the last one means unreachable */

struct topology topology_uniform(uint32_t nodes, uint32_t llcs, uint32_t cores, uint32_t threads)
{
	struct topology t = { .n_nodes = nodes,
			      .n_llcs = llcs,
			      .cores_per_llc = cores,
			      .threads_per_core = threads };

	ASSERT(nodes >= 1 && nodes <= TOPOLOGY_MAX_NODES && llcs >= nodes);
	for (uint32_t i = 0; i < nodes; i++) {
		t.nodes[i].n_llcs = llcs / nodes + (i < llcs % nodes);
		for (uint32_t j = 0; j < nodes; j++)
			t.distances[i][j] =
			    i == j ? TOPOLOGY_LOCAL_DISTANCE : TOPOLOGY_REMOTE_DISTANCE;
	}
	return t;
}

static bool is_plain(const struct topology_node *n)
{
	return !n->memory && !n->latency_ns && !n->bandwidth_mbs && !n->cache.size;
}

bool topology_is_uniform(const struct topology *t)
{
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		if (!is_plain(&t->nodes[i]) ||
		    t->nodes[i].n_llcs != t->n_llcs / t->n_nodes + (i < t->n_llcs % t->n_nodes))
			return false;
		for (uint32_t j = 0; j < t->n_nodes; j++)
			if (i != j && t->distances[i][j] != TOPOLOGY_REMOTE_DISTANCE)
				return false;
	}
	return t->n_llcs >= t->n_nodes;
}

/* --- numbers of nodes --- */

uint32_t topology_node_first_llc(const struct topology *t, uint32_t node)
{
	uint32_t first = 0;

	for (uint32_t i = 0; i < node; i++)
		first += t->nodes[i].n_llcs;
	return first;
}

uint32_t topology_llc_node(const struct topology *t, uint32_t llc)
{
	uint32_t node = 0;

	ASSERT(llc < t->n_llcs);
	for (uint32_t end = t->nodes[0].n_llcs; llc >= end; end += t->nodes[node].n_llcs)
		node++;
	return node;
}

uint32_t topology_cpu_node(const struct topology *t, uint32_t cpu)
{
	return topology_llc_node(t, topology_cpu_llc(t, cpu));
}

uint32_t topology_node_initiator(const struct topology *t, uint32_t node)
{
	uint32_t best = 0;

	if (t->nodes[node].n_llcs)
		return node;
	for (uint32_t i = 0; i < t->n_nodes; i++)
		if (t->nodes[i].n_llcs &&
		    (!t->nodes[best].n_llcs || t->distances[i][node] < t->distances[best][node]))
			best = i;
	return best;
}

bool topology_has_attributes(const struct topology *t)
{
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		const struct topology_node *n = &t->nodes[i];
		if (n->latency_ns || n->bandwidth_mbs || n->cache.size)
			return true;
	}
	return false;
}

static uint32_t greatest_common_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/*
 * The smallest one, so that what is rounded (accesses from afar) is rounded little: a divisor of
 * all, in which the largest still fits.
 */
uint32_t topology_bandwidth_unit(const struct topology *t)
{
	uint32_t max = 0, divisor = 0;

	for (uint32_t i = 0; i < t->n_nodes; i++) {
		uint32_t v = t->nodes[i].bandwidth_mbs;
		max = v > max ? v : max;
		divisor = greatest_common_divisor(v, divisor);
	}
	if (!max)
		return 1;
	for (uint64_t parts = (uint64_t)MAX_ENTRY * divisor / max; parts; parts--)
		if (divisor % parts == 0)
			return divisor / (uint32_t)parts;
	return 0;
}

/* --- APIC ids --- */

/* Bits that hold 0 .. n - 1. */
static uint32_t bits_for(uint32_t n)
{
	return n <= 1 ? 0 : 32 - (uint32_t)__builtin_clz(n - 1);
}

uint32_t topology_thread_bits(const struct topology *t)
{
	return bits_for(t->threads_per_core);
}

uint32_t topology_core_bits(const struct topology *t)
{
	return topology_thread_bits(t) + bits_for(t->cores_per_llc);
}

uint32_t topology_apic_id(const struct topology *t, uint32_t cpu)
{
	uint32_t thread = cpu % t->threads_per_core;

	return topology_cpu_llc(t, cpu) << topology_core_bits(t) |
	       topology_cpu_core(t, cpu) << topology_thread_bits(t) | thread;
}

/* --- check --- */

static int unrepresentable(struct error *err)
{
	return error_classify(err, ERROR_UNREPRESENTABLE);
}

/* Linux numbers nodes in the order in which it meets them, and meets processors before memory. */
static int check_nodes(const struct topology *t, struct error *err)
{
	uint64_t sum = 0;

	if (t->n_nodes < 1)
		return error_set_usage(err, -EINVAL, "there is no NUMA node");
	if (t->n_nodes > TOPOLOGY_MAX_NODES) {
		(void)error_set_text(err, -ERANGE, "%u NUMA nodes: a machine has at most %d",
				     t->n_nodes, TOPOLOGY_MAX_NODES);
		return unrepresentable(err);
	}
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		sum += t->nodes[i].n_llcs;
		if (i && t->nodes[i].n_llcs && !t->nodes[i - 1].n_llcs)
			return error_set_usage(
			    err, -EINVAL,
			    "node %u has no LLC but node %u has: put memory-only "
			    "nodes last, where guests number them",
			    i - 1, i);
	}
	if (sum == 0)
		return error_set_usage(err, -EINVAL, "no node has an LLC, so there is no CPU");
	if (sum != t->n_llcs)
		return error_set_usage(err, -EINVAL,
				       "the nodes have %" PRIu64 " LLCs, the topology has %u", sum,
				       t->n_llcs);
	return 0;
}

/* After the nodes and their LLCs: none of the factors is 0 then. */
static int check_cpus(const struct topology *t, struct error *err)
{
	uint64_t per_llc, cpus;

	if (t->cores_per_llc < 1 || t->threads_per_core < 1)
		return error_set_usage(err, -EINVAL,
				       "%u cores per LLC with %u threads: both must be 1 at least",
				       t->cores_per_llc, t->threads_per_core);
	if (!num_mul_u64(t->cores_per_llc, t->threads_per_core, &per_llc) ||
	    !num_mul_u64(per_llc, t->n_llcs, &cpus) || cpus > TOPOLOGY_MAX_CPUS) {
		(void)error_set_text(
		    err, -ERANGE, "%u LLCs x %u cores x %u threads: a machine has at most %d CPUs",
		    t->n_llcs, t->cores_per_llc, t->threads_per_core, TOPOLOGY_MAX_CPUS);
		return unrepresentable(err);
	}
	/* Bit fields are as wide as the next power of two. */
	if (1u << topology_core_bits(t) > TOPOLOGY_MAX_LLC_IDS) {
		(void)error_set_text(
		    err, -ERANGE,
		    "%u cores x %u threads below an LLC need %u APIC ids (powers of "
		    "two): CPUID has room for %d",
		    t->cores_per_llc, t->threads_per_core, 1u << topology_core_bits(t),
		    TOPOLOGY_MAX_LLC_IDS);
		return unrepresentable(err);
	}
	return 0;
}

static int check_cache(const struct topology_cache *c, uint32_t node, struct error *err)
{
	if (!c->size)
		return 0;
	if (!num_is_pow2(c->line) || c->line > TOPOLOGY_MAX_CACHE_LINE)
		return error_set_usage(
		    err, -EINVAL, "node %u: a cache line of %u bytes is no power of two up to %d",
		    node, c->line, TOPOLOGY_MAX_CACHE_LINE);
	if (c->size % KIB || c->size % c->line)
		return error_set_usage(
		    err, -EINVAL,
		    "node %u: a cache of %" PRIu64
		    " bytes is not a multiple of 1 KiB and its lines of %u bytes",
		    node, c->size, c->line);
	return 0;
}

static int check_node(const struct topology *t, uint32_t node, struct error *err)
{
	const struct topology_node *n = &t->nodes[node];

	if (n->memory % TOPOLOGY_MEMORY_UNIT)
		return error_set_usage(
		    err, -EINVAL, "node %u: memory of %" PRIu64 " KiB is not a multiple of 2 MiB",
		    node, n->memory / KIB);
	if (n->latency_ns > TOPOLOGY_MAX_LATENCY_NS) {
		(void)error_set_text(err, -ERANGE,
				     "node %u: a latency of %u ns: ACPI can tell at most %d ns",
				     node, n->latency_ns, TOPOLOGY_MAX_LATENCY_NS);
		return unrepresentable(err);
	}
	return check_cache(&n->cache, node, err);
}

static int check_distance(const struct topology *t, uint32_t from, uint32_t to, struct error *err)
{
	uint32_t d = t->distances[from][to], back = t->distances[to][from];

	if (from == to && d != TOPOLOGY_LOCAL_DISTANCE)
		return error_set_usage(err, -EINVAL,
				       "distances: node %u to itself is %u; it must be %d", from, d,
				       TOPOLOGY_LOCAL_DISTANCE);
	if (from != to && (d <= TOPOLOGY_LOCAL_DISTANCE || d > TOPOLOGY_MAX_DISTANCE))
		return error_set_usage(
		    err, -ERANGE, "distances: node %u to node %u is %u; it must be %d to %d", from,
		    to, d, TOPOLOGY_LOCAL_DISTANCE + 1, TOPOLOGY_MAX_DISTANCE);
	if (d != back)
		return error_set_usage(
		    err, -EINVAL,
		    "distances: node %u to node %u is %u, but node %u to node %u "
		    "is %u; it must be the same both ways",
		    from, to, d, to, from, back);
	return 0;
}

static int check_bandwidths(const struct topology *t, struct error *err)
{
	if (topology_bandwidth_unit(t))
		return 0;
	(void)error_set_text(
	    err, -ERANGE,
	    "the nodes' bandwidths have no common unit in which each is a number of "
	    "at most %d, and ACPI has but one unit for all; round them",
	    MAX_ENTRY);
	return unrepresentable(err);
}

int topology_check(const struct topology *t, struct error *err)
{
	if (check_nodes(t, err) < 0 || check_cpus(t, err) < 0)
		return err->code;
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		if (check_node(t, i, err) < 0)
			return err->code;
		for (uint32_t j = 0; j < t->n_nodes; j++)
			if (check_distance(t, i, j, err) < 0)
				return err->code;
	}
	return check_bandwidths(t, err);
}
