#include "base/topology_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

/* No processor has more address bits. */
#define MAX_SIZE ((uint64_t)1 << 52)

/* A part of the text, not terminated. */
struct piece {
	const char *p;
	size_t n;
};

static const char *const indexing_names[] = {
	[TOPOLOGY_CACHE_DIRECT] = "direct",
	[TOPOLOGY_CACHE_COMPLEX] = "complex",
};

static const char *const policy_names[] = {
	[TOPOLOGY_CACHE_WRITE_BACK] = "back",
	[TOPOLOGY_CACHE_WRITE_THROUGH] = "through",
};

/* --- pieces --- */

static struct piece piece_of(const char *text)
{
	return (struct piece){ text, strlen(text) };
}

/* Takes what is before the first @separator off @rest; false: there was none, @ret is all of it. */
static bool take(struct piece *rest, char separator, struct piece *ret)
{
	const char *at = memchr(rest->p, separator, rest->n);
	size_t n = at ? (size_t)(at - rest->p) : rest->n;

	*ret = (struct piece){ rest->p, n };
	rest->p += n + (at != NULL);
	rest->n -= n + (at != NULL);
	return at;
}

static bool equals(struct piece piece, const char *text)
{
	return piece.n == strlen(text) && memcmp(piece.p, text, piece.n) == 0;
}

static int parse_number(const char *what, struct piece text, uint64_t min, uint64_t max,
			uint32_t *ret, struct error *err)
{
	char digits[24];
	uint64_t v = 0;

	if (text.n >= sizeof(digits))
		return error_set_usage(err, -EINVAL, "%s: '%.*s' is no number", what, (int)text.n,
				       text.p);
	memcpy(digits, text.p, text.n);
	digits[text.n] = 0;
	if (num_parse_u64(what, digits, min, max, &v, err) < 0)
		return err->code;
	*ret = (uint32_t)v;
	return 0;
}

static int parse_size(const char *what, struct piece text, uint64_t *ret, struct error *err)
{
	static const char units[] = "KMGTkmgt";
	const char *unit = text.n ? strchr(units, text.p[text.n - 1]) : NULL;
	uint32_t v = 0;

	if (!unit || !*unit)
		return error_set_usage(err, -EINVAL,
				       "%s: '%.*s' is no size: a number with K, M, G or T", what,
				       (int)text.n, text.p);
	text.n--;
	unsigned shift = 10 * (unsigned)((unit - units) % 4 + 1);
	uint64_t max = num_min(MAX_SIZE >> shift, UINT32_MAX);
	if (parse_number(what, text, 1, max, &v, err) < 0)
		return err->code;
	*ret = (uint64_t)v << shift;
	return 0;
}

static int parse_name(const char *what, struct piece text, const char *const names[2],
		      uint32_t *ret, struct error *err)
{
	for (uint32_t i = 0; i < 2; i++)
		if (equals(text, names[i])) {
			*ret = i;
			return 0;
		}
	return error_set_usage(err, -EINVAL, "%s: '%.*s' is neither '%s' nor '%s'", what,
			       (int)text.n, text.p, names[0], names[1]);
}

/* --- n,l,c,t --- */

static bool is_uniform_text(const char *text)
{
	return text[strspn(text, "0123456789,")] == 0;
}

static int check_uniform(const uint32_t v[4], struct error *err)
{
	if (v[0] > v[1])
		return error_set_usage(
		    err, -EINVAL, "%u NUMA nodes need at least as many LLCs, not %u", v[0], v[1]);
	return 0;
}

static int parse_uniform(const char *text, struct topology *ret, struct error *err)
{
	static const char *const names[] = { "numa_nodes", "llcs", "cores_per_llc",
					     "threads_per_core" };
	uint32_t v[ARRAY_SIZE(names)];
	struct piece rest = piece_of(text), field;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		bool last = i + 1 == ARRAY_SIZE(names);
		if (take(&rest, ',', &field) == last)
			return error_set_usage(err, -EINVAL,
					       "'%s' is not numa_nodes,llcs,cores_per_llc,"
					       "threads_per_core (four numbers, e.g. 1,1,4,1)",
					       text);
		if (parse_number(names[i], field, 1, UINT32_MAX, &v[i], err) < 0)
			return err->code;
	}
	if (check_uniform(v, err) < 0)
		return err->code;
	/* topology_uniform spreads over the nodes, so the rest is for topology_check. */
	if (v[0] > TOPOLOGY_MAX_NODES) {
		*ret = (struct topology){ .n_nodes = v[0] };
		return 0;
	}
	*ret = topology_uniform(v[0], v[1], v[2], v[3]);
	return 0;
}

/* --- explicit --- */

struct parser {
	struct topology t;
	bool has_distances;
	bool has_cores, has_threads;
};

enum node_key {
	KEY_LLCS,
	KEY_MEMORY,
	KEY_LATENCY,
	KEY_BANDWIDTH,
	KEY_CACHE,
	KEY_CACHE_LINE,
	KEY_CACHE_INDEXING,
	KEY_CACHE_POLICY,
	N_KEYS
};

static const char *const node_keys[N_KEYS] = {
	[KEY_LLCS] = "llcs",
	[KEY_MEMORY] = "memory",
	[KEY_LATENCY] = "latency_ns",
	[KEY_BANDWIDTH] = "bandwidth_mbs",
	[KEY_CACHE] = "cache",
	[KEY_CACHE_LINE] = "cache_line",
	[KEY_CACHE_INDEXING] = "cache_indexing",
	[KEY_CACHE_POLICY] = "cache_policy",
};

static int parse_node_value(struct topology_node *n, enum node_key key, struct piece value,
			    struct error *err)
{
	const char *what = key < N_KEYS ? node_keys[key] : NULL;
	uint32_t v = 0;

	switch (key) {
	case KEY_LLCS:
		/* so that the sum does not wrap; what is too many, topology_check says */
		return parse_number(what, value, 0, UINT32_MAX / TOPOLOGY_MAX_NODES, &n->n_llcs,
				    err);
	case KEY_MEMORY:
		return parse_size(what, value, &n->memory, err);
	case KEY_LATENCY:
		return parse_number(what, value, 1, UINT32_MAX, &n->latency_ns, err);
	case KEY_BANDWIDTH:
		return parse_number(what, value, 1, UINT32_MAX, &n->bandwidth_mbs, err);
	case KEY_CACHE:
		return parse_size(what, value, &n->cache.size, err);
	case KEY_CACHE_LINE:
		return parse_number(what, value, 1, TOPOLOGY_MAX_CACHE_LINE, &n->cache.line, err);
	case KEY_CACHE_INDEXING:
		if (parse_name(what, value, indexing_names, &v, err) < 0)
			return err->code;
		n->cache.indexing = (enum topology_cache_indexing)v;
		return 0;
	case KEY_CACHE_POLICY:
		if (parse_name(what, value, policy_names, &v, err) < 0)
			return err->code;
		n->cache.policy = (enum topology_cache_policy)v;
		return 0;
	case N_KEYS:
		break;
	}
	return error_set_usage(err, -EINVAL,
			       "unknown key; it has llcs, memory, latency_ns, "
			       "bandwidth_mbs, cache, cache_line, cache_indexing, "
			       "cache_policy");
}

/* One KEY:VALUE; @seen has a bit per key. */
static int parse_node_item(struct topology_node *n, struct piece item, unsigned *seen,
			   struct error *err)
{
	struct piece name;
	unsigned key = 0;

	if (!take(&item, ':', &name))
		return error_set_usage(err, -EINVAL, "'%.*s' is not KEY:VALUE", (int)name.n,
				       name.p);
	while (key < N_KEYS && !equals(name, node_keys[key]))
		key++;
	if (*seen & 1u << key)
		return error_set_usage(err, -EINVAL, "%s is given twice", node_keys[key]);
	*seen |= 1u << key;
	if (parse_node_value(n, (enum node_key)key, item, err) == 0)
		return 0;
	return key < N_KEYS ? err->code : error_prefix(err, "'%.*s'", (int)name.n, name.p);
}

static int parse_node(struct parser *ps, struct piece text, struct error *err)
{
	struct topology_node n = { .cache.line = TOPOLOGY_CACHE_LINE };
	const unsigned cache_options =
	    1u << KEY_CACHE_LINE | 1u << KEY_CACHE_INDEXING | 1u << KEY_CACHE_POLICY;
	unsigned seen = 0;
	struct piece item;
	bool more;

	if (ps->t.n_nodes == TOPOLOGY_MAX_NODES) {
		(void)error_set_text(err, -ERANGE, "a machine has at most %d NUMA nodes",
				     TOPOLOGY_MAX_NODES);
		return error_classify(err, ERROR_UNREPRESENTABLE);
	}
	do {
		more = take(&text, ',', &item);
		if (parse_node_item(&n, item, &seen, err) < 0)
			return error_prefix(err, "node %u", ps->t.n_nodes);
	} while (more);
	if (!n.cache.size && (seen & cache_options))
		return error_set_usage(
		    err, -EINVAL, "node %u: options of a cache without cache:SIZE", ps->t.n_nodes);
	if (!n.cache.size)
		n.cache.line = 0;
	ps->t.n_llcs += n.n_llcs;
	ps->t.nodes[ps->t.n_nodes++] = n;
	return 0;
}

static int parse_distance_row(struct parser *ps, uint32_t row, struct piece text, struct error *err)
{
	uint32_t n = 0, v = 0;
	struct piece number;
	char what[64];
	bool more;

	do {
		more = take(&text, ',', &number);
		if (n == ps->t.n_nodes)
			return error_set_usage(err, -EINVAL,
					       "distances: the row of node %u has more than the %u "
					       "numbers of %u nodes",
					       row, n, n);
		(void)snprintf(what, sizeof(what), "distances: node %u to node %u", row, n);
		if (parse_number(what, number, 0, UINT8_MAX, &v, err) < 0)
			return err->code;
		ps->t.distances[row][n++] = (uint8_t)v;
	} while (more);
	if (n < ps->t.n_nodes)
		return error_set_usage(err, -EINVAL,
				       "distances: the row of node %u has %u numbers, there are %u "
				       "nodes",
				       row, n, ps->t.n_nodes);
	return 0;
}

static int parse_distances(struct parser *ps, struct piece text, struct error *err)
{
	uint32_t rows = 0;
	struct piece row;
	bool more;

	do {
		more = take(&text, '/', &row);
		if (rows == ps->t.n_nodes)
			return error_set_usage(err, -EINVAL,
					       "distances: more rows than the %u nodes before them",
					       rows);
		if (parse_distance_row(ps, rows++, row, err) < 0)
			return err->code;
	} while (more);
	if (rows < ps->t.n_nodes)
		return error_set_usage(err, -EINVAL, "distances: %u rows, there are %u nodes", rows,
				       ps->t.n_nodes);
	return 0;
}

static int parse_count(const char *what, struct piece value, bool *seen, uint32_t *ret,
		       struct error *err)
{
	if (*seen)
		return error_set_usage(err, -EINVAL, "%s is given twice", what);
	*seen = true;
	return parse_number(what, value, 1, UINT32_MAX, ret, err);
}

static int parse_part(struct parser *ps, struct piece part, struct error *err)
{
	struct piece name, value = part;

	if (!part.n)
		return error_set_usage(err, -EINVAL, "an empty part: there is a ';' too many");
	if (!take(&value, '=', &name))
		return error_set_usage(err, -EINVAL,
				       "'%.*s' is neither numa_nodes,llcs,cores_per_llc,"
				       "threads_per_core, nor a preset (ktstr topo --presets), nor "
				       "PART=...;PART=...",
				       (int)part.n, part.p);
	if (equals(name, "cores"))
		return parse_count("cores", value, &ps->has_cores, &ps->t.cores_per_llc, err);
	if (equals(name, "threads"))
		return parse_count("threads", value, &ps->has_threads, &ps->t.threads_per_core,
				   err);
	if (ps->has_distances)
		return error_set_usage(err, -EINVAL, "'%.*s' behind distances: they come last",
				       (int)part.n, part.p);
	if (equals(name, "node"))
		return parse_node(ps, value, err);
	if (!equals(name, "distances"))
		return error_set_usage(err, -EINVAL,
				       "'%.*s': unknown part; there are cores, threads, node, "
				       "distances",
				       (int)name.n, name.p);
	ps->has_distances = true;
	return parse_distances(ps, value, err);
}

static void default_distances(struct topology *t)
{
	for (uint32_t i = 0; i < t->n_nodes; i++)
		for (uint32_t j = 0; j < t->n_nodes; j++)
			t->distances[i][j] =
			    i == j ? TOPOLOGY_LOCAL_DISTANCE : TOPOLOGY_REMOTE_DISTANCE;
}

static int parse_explicit(const char *text, struct topology *ret, struct error *err)
{
	struct parser ps = { .t = { .cores_per_llc = 1, .threads_per_core = 1 } };
	struct piece rest = piece_of(text), part;
	bool more;

	do {
		more = take(&rest, ';', &part);
		if (parse_part(&ps, part, err) < 0)
			return err->code;
	} while (more);
	if (!ps.has_distances)
		default_distances(&ps.t);
	*ret = ps.t;
	return 0;
}

int topology_parse(const char *text, struct topology *ret, struct error *err)
{
	const struct topology_preset *preset = topology_preset_find(text);
	struct topology t;
	int res;

	if (preset)
		t = topology_uniform(preset->nodes, preset->llcs, preset->cores, preset->threads);
	else if ((res = is_uniform_text(text) ? parse_uniform(text, &t, err)
					      : parse_explicit(text, &t, err)) < 0)
		return res;
	if (topology_check(&t, err) < 0)
		return err->code;
	*ret = t;
	return 0;
}

/* --- format --- */

/* The largest unit that keeps it whole; what topology_check lets pass is a multiple of 1 KiB. */
static void format_size(struct buf *out, const char *key, uint64_t v)
{
	static const char units[] = "KMGT";
	size_t unit = 0;

	for (v /= KIB; unit + 2 < sizeof(units) && v % KIB == 0; v /= KIB)
		unit++;
	buf_printf(out, ",%s:%" PRIu64 "%c", key, v, units[unit]);
}

static void format_node(struct buf *out, const struct topology_node *n)
{
	const struct topology_cache *c = &n->cache;

	buf_printf(out, ";node=llcs:%u", n->n_llcs);
	if (n->memory)
		format_size(out, "memory", n->memory);
	if (n->latency_ns)
		buf_printf(out, ",latency_ns:%u", n->latency_ns);
	if (n->bandwidth_mbs)
		buf_printf(out, ",bandwidth_mbs:%u", n->bandwidth_mbs);
	if (!c->size)
		return;
	format_size(out, "cache", c->size);
	if (c->line != TOPOLOGY_CACHE_LINE)
		buf_printf(out, ",cache_line:%u", c->line);
	if (c->indexing != TOPOLOGY_CACHE_DIRECT)
		buf_printf(out, ",cache_indexing:%s", indexing_names[c->indexing]);
	if (c->policy != TOPOLOGY_CACHE_WRITE_BACK)
		buf_printf(out, ",cache_policy:%s", policy_names[c->policy]);
}

void topology_format(const struct topology *t, struct buf *out)
{
	if (topology_is_uniform(t)) {
		buf_printf(out, "%u,%u,%u,%u", t->n_nodes, t->n_llcs, t->cores_per_llc,
			   t->threads_per_core);
		return;
	}
	buf_printf(out, "cores=%u;threads=%u", t->cores_per_llc, t->threads_per_core);
	for (uint32_t i = 0; i < t->n_nodes; i++)
		format_node(out, &t->nodes[i]);
	for (uint32_t i = 0; i < t->n_nodes; i++)
		for (uint32_t j = 0; j < t->n_nodes; j++)
			buf_printf(out, "%s%u",
				   j   ? ","
				   : i ? "/"
				       : ";distances=",
				   t->distances[i][j]);
}
