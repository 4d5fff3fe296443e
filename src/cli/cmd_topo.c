/* `ktstr topo`: what a host has, what a guest of a topology sees, and the topologies that have names. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "base/topology_text.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/memory_size.h"
#include "cli/plan_json.h"
#include "cli/topology_json.h"
#include "cli/topology_option.h"
#include "plan/host_discover.h"
#include "plan/plan_text.h"

struct options {
	bool json, presets, help;
	const char *topology;
	const char *host;    /* NULL: this one */
	uint64_t memory_mib; /* 0: not given */
};

static int usage(FILE *to, int status)
{
	fputs("usage: ktstr topo [--host FILE.xml | --host 'numa:2 l3:2 core:4 pu:2'] [--json]\n"
	      "       ktstr topo --topology TOPOLOGY [--memory MIB] [--json]\n"
	      "       ktstr topo --presets [--json]\n"
	      "TOPOLOGY: nodes,llcs,cores,threads, a preset, @FILE or\n"
	      "  'cores=2;threads=2;node=llcs:2,memory:1G;node=memory:1G,latency_ns:300'\n"
	      "  (all keys: ktstr(1), TOPOLOGIES)\n",
	      to);
	return status;
}

static int parse(int argc, char **argv, struct options *o, struct error *err)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' },
						 { "json", no_argument, NULL, 'j' },
						 { "host", required_argument, NULL, 'H' },
						 { "memory", required_argument, NULL, 'm' },
						 { "presets", no_argument, NULL, 'p' },
						 { "topology", required_argument, NULL, 't' },
						 { 0 } };
	int id;

	opterr = 0;
	optind = 1;
	while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (id == 'h')
			o->help = true;
		else if (id == 'j')
			o->json = true;
		else if (id == 'p')
			o->presets = true;
		else if (id == 'H')
			o->host = optarg;
		else if (id == 't')
			o->topology = optarg;
		else if (id != 'm')
			return error_set_usage(err, -EINVAL,
					       "ktstr topo: wrong option '%s'; see `ktstr topo "
					       "--help`",
					       argv[optind - 1]);
		else if (num_parse_u64("--memory", optarg, 2, MEMORY_SIZE_MAX_MIB, &o->memory_mib,
				       err) < 0)
			return err->code;
	}
	if (o->help)
		return 0;
	if (optind != argc)
		return error_set_usage(err, -EINVAL, "ktstr topo: unexpected '%s'", argv[optind]);
	if ((o->presets && (o->topology || o->memory_mib)) ||
	    (o->host && (o->presets || o->topology)) || (o->memory_mib && !o->topology))
		return error_set_usage(err, -EINVAL,
				       "ktstr topo: give --topology, --presets or --host, one of "
				       "them; --memory goes with --topology");
	return 0;
}

static int print_json(json_t *doc, struct error *err)
{
	int res = doc ? json_dumpf(doc, stdout, JSON_INDENT(2)) : -1;

	putchar('\n');
	json_decref(doc);
	return res < 0 ? error_set_text(err, -EIO, "cannot write JSON") : 0;
}

/* --- presets --- */

static int print_presets_json(struct error *err)
{
	json_t *list = json_array();

	for (size_t i = 0; i < topology_n_presets; i++) {
		const struct topology_preset *p = &topology_presets[i];
		json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:i, s:i, s:i}", "name",
						      p->name, "nodes", p->nodes, "llcs", p->llcs,
						      "cores", p->cores, "threads", p->threads,
						      "n_cpus", p->llcs * p->cores * p->threads));
	}
	return print_json(json_pack("{s:i, s:o}", "version", 1, "presets", list), err);
}

static int print_presets(struct error *err UNUSED)
{
	printf("%-20s %5s %5s %5s %7s %5s\n", "preset", "nodes", "llcs", "cores", "threads",
	       "cpus");
	for (size_t i = 0; i < topology_n_presets; i++) {
		const struct topology_preset *p = &topology_presets[i];
		printf("%-20s %5d %5d %5d %7d %5d\n", p->name, p->nodes, p->llcs, p->cores,
		       p->threads, p->llcs * p->cores * p->threads);
	}
	return 0;
}

/* --- a topology --- */

static void print_node(const struct topology *t, const struct memory_layout *memory, uint32_t node)
{
	const struct topology_node *n = &t->nodes[node];
	uint32_t per_llc = topology_cpus_per_llc(t), first = topology_node_first_llc(t, node);
	char range[TOPOLOGY_RANGE_MAX];

	printf("node %u: %" PRIu64 " MiB, distances", node,
	       memory_layout_node_bytes(memory, node) / MIB);
	for (uint32_t i = 0; i < t->n_nodes; i++)
		printf(" %u", t->distances[node][i]);
	if (n->latency_ns)
		printf(", %u ns", n->latency_ns);
	if (n->bandwidth_mbs)
		printf(", %u MB/s", n->bandwidth_mbs);
	if (n->cache.size)
		printf(", behind a cache of %" PRIu64 " KiB", n->cache.size / KIB);
	printf("%s\n", n->n_llcs ? "" : ", memory only");
	for (uint32_t llc = first; llc < first + n->n_llcs; llc++) {
		topology_range(llc * per_llc, per_llc, range);
		printf("  LLC %u: CPUs %s\n", llc, range);
	}
}

static void print_text(const struct topology *t, const struct memory_layout *memory)
{
	CLEANUP(buf_fini) struct buf text = { 0 };

	topology_format(t, &text);
	printf("%s\n%u CPUs: %u LLCs of %u cores with %u threads; NUMA nodes: %u\n", buf_str(&text),
	       topology_n_cpus(t), t->n_llcs, t->cores_per_llc, t->threads_per_core, t->n_nodes);
	for (uint32_t node = 0; node < t->n_nodes; node++)
		print_node(t, memory, node);
}

static int print_topology(const struct options *o, struct error *err)
{
	struct memory_layout memory;
	struct topology t;
	uint64_t mib;

	if (topology_option_parse(o->topology, &t, err) < 0 ||
	    topology_option_memory(&t, o->memory_mib, &mib, &memory, err) < 0)
		return err->code;
	if (o->json)
		return print_json(topology_json_document(&t, &memory), err);
	print_text(&t, &memory);
	return 0;
}

/* --- a host --- */

static int print_host(const struct options *o, struct error *err)
{
	CLEANUP(host_source_fini) struct host_source source = { .spec = o->host };
	CLEANUP(buf_fini) struct buf text = { 0 };
	const struct host *host;

	if (host_source_get(&source, &host, err) < 0)
		return err->code;
	if (o->json)
		return print_json(
		    json_pack("{s:i, s:o}", "version", 1, "host", plan_json_host(host)), err);
	printf("%u CPUs: %u LLCs; NUMA nodes: %u\n", host->n_cpus, host->n_llcs, host->n_nodes);
	plan_draw(host, NULL, NULL, &host->allowed, &text);
	(void)fwrite(text.data, 1, text.len, stdout); /* errors show at the flush */
	return 0;
}

int cmd_topo(const struct command_context *ctx UNUSED, int argc, char **argv)
{
	struct options o = { 0 };
	struct error err;
	int res;

	if (parse(argc, argv, &o, &err) < 0)
		return command_fail(&err);
	if (o.help)
		return usage(stdout, EXIT_CODE_OK);
	if (o.topology)
		res = print_topology(&o, &err);
	else if (!o.presets)
		res = print_host(&o, &err);
	else
		res = o.json ? print_presets_json(&err) : print_presets(&err);
	if (res == 0 && fflush(stdout))
		res = error_set(&err, errno, "standard output");
	return res < 0 ? command_fail(&err) : EXIT_CODE_OK;
}
