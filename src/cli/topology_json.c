#include "cli/topology_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "base/topology_text.h"

/* --- in --- */

/* Numbers and words only: nothing that could be taken for another part of the text. */
static int append_value(struct buf *out, const char *key, const json_t *value, struct error *err)
{
	const char *s = json_string_value(value);

	if (json_is_integer(value)) {
		buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return 0;
	}
	if (s && s[0] && strspn(s, "0123456789abcdefghijklmnopqrstuvwxyzKMGT") == strlen(s)) {
		buf_append_str(out, s);
		return 0;
	}
	return error_set_usage(err, -EINVAL, "%s: neither a whole number nor a word", key);
}

static int append_node(struct buf *out, size_t i, const json_t *node, struct error *err)
{
	const char *key, *separator = "";
	json_t *value;

	if (!json_is_object(node) || json_object_size(node) == 0)
		return error_set_usage(err, -EINVAL, "nodes: member %zu is no object with members",
				       i);
	buf_append_str(out, ";node=");
	json_object_foreach ((json_t *)(uintptr_t)node, key, value) {
		if (!key[0] || key[strspn(key, "abcdefghijklmnopqrstuvwxyz_")])
			return error_set_usage(err, -EINVAL, "node %zu: '%s': unknown key", i, key);
		buf_printf(out, "%s%s:", separator, key);
		if (append_value(out, key, value, err) < 0)
			return error_prefix(err, "node %zu", i);
		separator = ",";
	}
	return 0;
}

static int append_nodes(struct buf *out, const json_t *nodes, struct error *err)
{
	if (!nodes)
		return error_set_usage(err, -EINVAL, "nodes: missing; an object for each node");
	if (!json_is_array(nodes) || json_array_size(nodes) == 0)
		return error_set_usage(err, -EINVAL, "nodes: not an array of objects");
	for (size_t i = 0; i < json_array_size(nodes); i++)
		if (append_node(out, i, json_array_get(nodes, i), err) < 0)
			return err->code;
	return 0;
}

static int append_distances(struct buf *out, const json_t *rows, struct error *err)
{
	if (!json_is_array(rows) || json_array_size(rows) == 0)
		return error_set_usage(err, -EINVAL, "distances: not an array of arrays");
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		if (!json_is_array(row) || json_array_size(row) == 0)
			return error_set_usage(
			    err, -EINVAL, "distances: the row of node %zu is no array of numbers",
			    i);
		for (size_t k = 0; k < json_array_size(row); k++) {
			buf_append_str(out, k ? "," : i ? "/" : ";distances=");
			if (append_value(out, "distances", json_array_get(row, k), err) < 0)
				return error_prefix(err, "node %zu to node %zu", i, k);
		}
	}
	return 0;
}

static int append_count(struct buf *out, const char *key, const json_t *value, struct error *err)
{
	buf_printf(out, "%s=", key);
	if (append_value(out, key, value, err) < 0)
		return err->code;
	buf_append_str(out, ";");
	return 0;
}

static bool is_known(const char *key)
{
	static const char *const keys[] = { "cores", "threads", "nodes", "distances" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

int topology_json_text(const json_t *declaration, struct buf *ret, struct error *err)
{
	json_t *object = (json_t *)(uintptr_t)declaration; /* jansson's macros know no const */
	const json_t *cores = json_object_get(object, "cores");
	const json_t *threads = json_object_get(object, "threads");
	const json_t *distances = json_object_get(object, "distances");
	CLEANUP(buf_fini) struct buf parts = { 0 };
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return error_set_usage(err, -EINVAL, "not a JSON object");
	json_object_foreach (object, key, value)
		if (!is_known(key))
			return error_set_usage(err, -EINVAL,
					       "'%s': unknown; there are cores, threads, nodes, "
					       "distances",
					       key);
	if ((cores && append_count(ret, "cores", cores, err) < 0) ||
	    (threads && append_count(ret, "threads", threads, err) < 0) ||
	    append_nodes(&parts, json_object_get(object, "nodes"), err) < 0 ||
	    (distances && append_distances(&parts, distances, err) < 0))
		return err->code;
	buf_append(ret, parts.data + 1, parts.len - 1); /* behind the first ';' */
	return 0;
}

/* --- out --- */

static void set_number(json_t *object, const char *key, uint64_t v)
{
	json_object_set_new(object, key, json_integer((json_int_t)v));
}

static json_t *size_text(uint64_t bytes)
{
	char text[32];

	if (bytes % MIB == 0)
		(void)snprintf(text, sizeof(text), "%" PRIu64 "M", bytes / MIB);
	else
		(void)snprintf(text, sizeof(text), "%" PRIu64 "K", bytes / KIB);
	return json_string(text);
}

static void set_attributes(json_t *object, const struct topology_node *n)
{
	const struct topology_cache *c = &n->cache;

	if (n->latency_ns)
		set_number(object, "latency_ns", n->latency_ns);
	if (n->bandwidth_mbs)
		set_number(object, "bandwidth_mbs", n->bandwidth_mbs);
	if (!c->size)
		return;
	json_object_set_new(object, "cache", size_text(c->size));
	set_number(object, "cache_line", c->line);
	json_object_set_new(
	    object, "cache_indexing",
	    json_string(c->indexing == TOPOLOGY_CACHE_COMPLEX ? "complex" : "direct"));
	json_object_set_new(
	    object, "cache_policy",
	    json_string(c->policy == TOPOLOGY_CACHE_WRITE_THROUGH ? "through" : "back"));
}

static json_t *distance_row(const struct topology *t, uint32_t node)
{
	json_t *row = json_array();

	for (uint32_t i = 0; i < t->n_nodes; i++)
		json_array_append_new(row, json_integer(t->distances[node][i]));
	return row;
}

json_t *topology_json_declaration(const struct topology *t)
{
	json_t *nodes = json_array(), *distances = json_array();

	for (uint32_t i = 0; i < t->n_nodes; i++) {
		json_t *node = json_object();
		set_number(node, "llcs", t->nodes[i].n_llcs);
		if (t->nodes[i].memory)
			json_object_set_new(node, "memory", size_text(t->nodes[i].memory));
		set_attributes(node, &t->nodes[i]);
		json_array_append_new(nodes, node);
		json_array_append_new(distances, distance_row(t, i));
	}
	return json_pack("{s:I, s:I, s:o, s:o}", "cores", (json_int_t)t->cores_per_llc, "threads",
			 (json_int_t)t->threads_per_core, "nodes", nodes, "distances", distances);
}

void topology_range(uint32_t first, uint32_t n, char text[static TOPOLOGY_RANGE_MAX])
{
	text[0] = 0;
	if (n == 1)
		(void)snprintf(text, TOPOLOGY_RANGE_MAX, "%u", first);
	else if (n > 1)
		(void)snprintf(text, TOPOLOGY_RANGE_MAX, "%u-%u", first, first + n - 1);
}

static json_t *cpus(const struct topology *t)
{
	json_t *list = json_array();

	for (uint32_t cpu = 0; cpu < topology_n_cpus(t); cpu++) {
		json_t *o = json_object();
		set_number(o, "cpu", cpu);
		set_number(o, "node", topology_cpu_node(t, cpu));
		set_number(o, "llc", topology_cpu_llc(t, cpu));
		set_number(o, "core", topology_cpu_core(t, cpu));
		set_number(o, "thread", cpu % t->threads_per_core);
		set_number(o, "apic_id", topology_apic_id(t, cpu));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *llcs(const struct topology *t)
{
	uint32_t n = topology_cpus_per_llc(t);
	json_t *list = json_array();

	for (uint32_t llc = 0; llc < t->n_llcs; llc++) {
		char range[TOPOLOGY_RANGE_MAX];
		json_t *o = json_object();
		topology_range(llc * n, n, range);
		set_number(o, "llc", llc);
		set_number(o, "node", topology_llc_node(t, llc));
		json_object_set_new(o, "cpus", json_string(range));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *memory_ranges(const struct memory_layout *memory, uint32_t node)
{
	json_t *list = json_array();

	for (size_t i = 0; i < memory->n_ranges; i++) {
		const struct memory_range *r = &memory->ranges[i];
		if (r->node == node)
			json_array_append_new(list, json_pack("{s:I, s:I}", "start_mib",
							      (json_int_t)(r->gpa / MIB), "mib",
							      (json_int_t)(r->len / MIB)));
	}
	return list;
}

static json_t *nodes(const struct topology *t, const struct memory_layout *memory)
{
	uint32_t per_llc = topology_cpus_per_llc(t);
	json_t *list = json_array();

	for (uint32_t node = 0; node < t->n_nodes; node++) {
		uint32_t first = topology_node_first_llc(t, node), n = t->nodes[node].n_llcs;
		char range[TOPOLOGY_RANGE_MAX];
		json_t *o = json_object();

		set_number(o, "node", node);
		topology_range(first * per_llc, n * per_llc, range);
		json_object_set_new(o, "cpus", json_string(range));
		set_number(o, "memory_mib", memory_layout_node_bytes(memory, node) / MIB);
		json_object_set_new(o, "memory", memory_ranges(memory, node));
		json_object_set_new(o, "distances", distance_row(t, node));
		set_number(o, "initiator", topology_node_initiator(t, node));
		set_attributes(o, &t->nodes[node]);
		json_array_append_new(list, o);
	}
	return list;
}

json_t *topology_json_document(const struct topology *t, const struct memory_layout *memory)
{
	CLEANUP(buf_fini) struct buf text = { 0 };

	topology_format(t, &text);
	return json_pack("{s:i, s:s, s:o, s:I, s:o, s:o, s:o}", "version", 1, "topology",
			 buf_str(&text), "declaration", topology_json_declaration(t), "n_cpus",
			 (json_int_t)topology_n_cpus(t), "cpus", cpus(t), "llcs", llcs(t), "nodes",
			 nodes(t, memory));
}
