#include "plan/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static int compare_u32(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

static int compare_by_cpu(const void *a, const void *b)
{
	const struct host_cpu_desc *x = a;
	const struct host_cpu_desc *y = b;

	return compare_u32(x->cpu, y->cpu);
}

static int compare_by_node(const void *a, const void *b)
{
	const struct host_node *x = a;
	const struct host_node *y = b;

	return compare_u32(x->os_id, y->os_id);
}

/* The number of @os_id, with a new node at the end where it has none yet. */
static uint32_t add_node(struct host *h, uint32_t os_id)
{
	for (uint32_t i = 0; i < h->n_nodes; i++)
		if (h->nodes[i].os_id == os_id)
			return i;
	h->nodes = xreallocarray(h->nodes, h->n_nodes + 1, sizeof(*h->nodes));
	h->nodes[h->n_nodes] = (struct host_node){ .os_id = os_id };
	return h->n_nodes++;
}

static uint32_t find_node(const struct host *h, uint32_t os_id)
{
	for (uint32_t i = 0; i < h->n_nodes; i++)
		if (h->nodes[i].os_id == os_id)
			return i;
	return UINT32_MAX;
}

static void add_nodes(struct host *h, const struct host_desc *desc)
{
	for (uint32_t i = 0; i < desc->n_cpus; i++)
		(void)add_node(h, desc->cpus[i].node_os_id); /* its number changes below */
	qsort(h->nodes, h->n_nodes, sizeof(*h->nodes), compare_by_node);
}

struct key_map {
	uint32_t key;
	uint32_t value;
};

static int compare_keys(const void *a, const void *b)
{
	const struct key_map *x = a;
	const struct key_map *y = b;

	return x->key != y->key ? compare_u32(x->key, y->key) : compare_u32(x->value, y->value);
}

static int find_key(const void *a, const void *b)
{
	const struct key_map *x = a;
	const struct key_map *y = b;

	return compare_u32(x->key, y->key);
}

/* Pairs of key and position, of each key only the lowest position. Caller frees. */
static struct key_map *first_of_each_key(const struct host_desc *desc, bool of_llc, uint32_t *ret_n)
{
	struct key_map *map = xcalloc(desc->n_cpus, sizeof(*map));
	uint32_t n = 0;

	for (uint32_t i = 0; i < desc->n_cpus; i++)
		map[i] = (struct key_map){ .key = of_llc ? desc->cpus[i].llc_key
							 : desc->cpus[i].core_key,
					   .value = i };
	qsort(map, desc->n_cpus, sizeof(*map), compare_keys);
	for (uint32_t i = 0; i < desc->n_cpus; i++)
		if (i == 0 || map[i].key != map[i - 1].key)
			map[n++] = map[i];
	*ret_n = n;
	return map;
}

static uint32_t lookup(const struct key_map *map, uint32_t n, uint32_t key)
{
	const struct key_map *found =
	    bsearch(&(struct key_map){ .key = key }, map, n, sizeof(*map), find_key);

	ASSERT(found);
	return found->value;
}

static int compare_values(const void *a, const void *b)
{
	const struct key_map *x = a;
	const struct key_map *y = b;

	return compare_u32(x->value, y->value);
}

/* LLC numbers in the order of their lowest CPU; desc->cpus is sorted by CPU. */
static void add_llcs(struct host *h, const struct host_desc *desc)
{
	struct key_map *map = first_of_each_key(desc, true, &h->n_llcs);

	qsort(map, h->n_llcs, sizeof(*map), compare_values);
	for (uint32_t i = 0; i < h->n_llcs; i++)
		map[i].value = i;
	qsort(map, h->n_llcs, sizeof(*map), compare_keys);
	h->llcs = xcalloc(h->n_llcs, sizeof(*h->llcs));
	for (uint32_t i = 0; i < desc->n_cpus; i++) {
		const struct host_cpu_desc *d = &desc->cpus[i];
		h->cpus[d->cpu].llc = lookup(map, h->n_llcs, d->llc_key);
		h->llcs[h->cpus[d->cpu].llc].n++;
	}
	free(map);
}

/* A core's number is that of its lowest CPU. */
static void add_cores(struct host *h, const struct host_desc *desc)
{
	uint32_t n;
	struct key_map *map = first_of_each_key(desc, false, &n);

	for (uint32_t i = 0; i < desc->n_cpus; i++) {
		const struct host_cpu_desc *d = &desc->cpus[i];
		h->cpus[d->cpu].core = desc->cpus[lookup(map, n, d->core_key)].cpu;
	}
	free(map);
}

struct position {
	uint32_t llc, core, cpu;
};

static int compare_positions(const void *a, const void *b)
{
	const struct position *x = a;
	const struct position *y = b;

	if (x->llc != y->llc)
		return compare_u32(x->llc, y->llc);
	if (x->core != y->core)
		return compare_u32(x->core, y->core);
	return compare_u32(x->cpu, y->cpu);
}

static void put_in_order(struct host *h)
{
	struct position *all = xcalloc(h->n_cpus, sizeof(*all));
	uint32_t n = 0;

	id_set_for_each(cpu, &h->online) all[n++] =
	    (struct position){ h->cpus[cpu].llc, h->cpus[cpu].core, cpu };
	qsort(all, n, sizeof(*all), compare_positions);
	h->order = xcalloc(n, sizeof(*h->order));
	for (uint32_t i = n; i-- > 0;) {
		h->order[i] = all[i].cpu;
		h->llcs[all[i].llc].first = i;
	}
	free(all);
}

/* Majority vote of its CPUs; the lowest node of equals. */
static uint32_t vote(const struct host *h, const struct host_llc *llc, uint32_t *votes)
{
	uint32_t best = 0;

	memset(votes, 0, h->n_nodes * sizeof(*votes));
	for (uint32_t i = 0; i < llc->n; i++)
		votes[h->cpus[h->order[llc->first + i]].node]++;
	for (uint32_t node = 1; node < h->n_nodes; node++)
		if (votes[node] > votes[best])
			best = node;
	return best;
}

static void place_llcs(struct host *h)
{
	uint32_t *votes = xcalloc(h->n_nodes, sizeof(*votes));

	for (uint32_t i = 0; i < h->n_llcs; i++) {
		h->llcs[i].node = vote(h, &h->llcs[i], votes);
		h->nodes[h->llcs[i].node].n_llcs++;
	}
	free(votes);
}

/* Only where every node with a CPU is in the matrix: half a matrix would be a guess. */
static void add_distances(struct host *h, const struct host_desc *desc)
{
	uint32_t *at = xcalloc(h->n_nodes, sizeof(*at));
	uint32_t n_found = 0;

	for (uint32_t i = 0; desc->distances && i < desc->n_nodes; i++) {
		uint32_t node = find_node(h, desc->node_os_ids[i]);
		if (node == UINT32_MAX)
			continue; /* memory only */
		at[node] = i;
		n_found++;
	}
	if (n_found == h->n_nodes) {
		h->distances = xmalloc((size_t)h->n_nodes * h->n_nodes);
		for (uint32_t from = 0; from < h->n_nodes; from++)
			for (uint32_t to = 0; to < h->n_nodes; to++)
				h->distances[from * h->n_nodes + to] =
				    desc->distances[at[from] * desc->n_nodes + at[to]];
	}
	free(at);
}

static int check(const struct host_desc *desc, struct error *err)
{
	for (uint32_t i = 1; i < desc->n_cpus; i++)
		if (desc->cpus[i].cpu == desc->cpus[i - 1].cpu)
			return error_set_text(err, -EINVAL, "host: CPU %u is there twice",
					      desc->cpus[i].cpu);
	return 0;
}

static int set_allowed(struct host *h, const struct host_desc *desc, struct error *err)
{
	h->allowed = h->online;
	if (desc->allowed)
		id_set_intersect(&h->allowed, desc->allowed);
	if (id_set_is_empty(&h->allowed))
		return error_set_text(err, -EINVAL,
				      "host: none of the CPUs that this process may use is online");
	return 0;
}

int host_new(const struct host_desc *desc, struct host **ret, struct error *err)
{
	ASSERT(desc->n_cpus > 0);
	qsort(desc->cpus, desc->n_cpus, sizeof(*desc->cpus), compare_by_cpu);
	if (check(desc, err) < 0)
		return err->code;

	struct host *h = xcalloc(1, sizeof(*h));
	h->n_cpus = desc->n_cpus;
	h->n_ids = desc->cpus[desc->n_cpus - 1].cpu + 1;
	h->cpus = xcalloc(h->n_ids, sizeof(*h->cpus));
	for (uint32_t i = 0; i < h->n_ids; i++)
		h->cpus[i].llc = HOST_NO_LLC;
	add_nodes(h, desc);
	for (uint32_t i = 0; i < desc->n_cpus; i++) {
		const struct host_cpu_desc *d = &desc->cpus[i];
		id_set_add(&h->online, d->cpu);
		h->cpus[d->cpu].node = find_node(h, d->node_os_id);
		h->nodes[h->cpus[d->cpu].node].n_cpus++;
	}
	add_llcs(h, desc);
	add_cores(h, desc);
	put_in_order(h);
	place_llcs(h);
	add_distances(h, desc);
	if (set_allowed(h, desc, err) < 0) {
		(void)host_free(h);
		return err->code;
	}
	*ret = h;
	return 0;
}

struct host *host_free(struct host *h)
{
	if (!h)
		return NULL;
	free(h->cpus);
	free(h->llcs);
	free(h->nodes);
	free(h->order);
	free(h->distances);
	free(h);
	return NULL;
}

uint32_t host_distance(const struct host *h, uint32_t from, uint32_t to)
{
	if (h->distances)
		return h->distances[from * h->n_nodes + to];
	return from == to ? HOST_DISTANCE_LOCAL : HOST_DISTANCE_REMOTE;
}

void host_nodes_by_distance(const struct host *h, uint32_t from, uint32_t *ret)
{
	uint32_t n = 0;

	/* Insertion keeps equal distances in order; itself comes first whatever a matrix says. */
	ret[n++] = from;
	for (uint32_t node = 0; node < h->n_nodes; node++) {
		uint32_t at = n;
		if (node == from)
			continue;
		for (; at > 1 && host_distance(h, from, ret[at - 1]) > host_distance(h, from, node);
		     at--)
			ret[at] = ret[at - 1];
		ret[at] = node;
		n++;
	}
}
