/*
 * The file, all numbers decimal:
 *
 *	ktstr host 1 BOOT_ID ONLINE     the version of this format, and the key
 *	N_CPUS N_NODES HAS_DISTANCES
 *	CPU LLC CORE NODE               for each online CPU; keys of host_cpu_desc
 *	NODE_OS_ID ...                  and the matrix of distances, row by row
 */
#include "plan/host_cache.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"

enum { CACHE_MAX = 1 << 20 };

int host_cache_key(char ret[static HOST_CACHE_KEY_MAX])
{
	char boot_id[64];
	char online[512];

	int res = file_read_line("/proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id));
	if (res == 0)
		res = file_read_line("/sys/devices/system/cpu/online", online, sizeof(online));
	if (res < 0)
		return res;
	(void)snprintf(ret, HOST_CACHE_KEY_MAX, "ktstr host 1 %s %s", boot_id, online);
	return 0;
}

/* The next number of @text, at most @max; false at anything else. */
static bool next(const char **text, uint32_t max, uint32_t *ret)
{
	char *end;

	errno = 0;
	unsigned long v = strtoul(*text, &end, 10);
	if (end == *text || errno || v > max)
		return false;
	*text = end;
	*ret = (uint32_t)v;
	return true;
}

struct parsed {
	struct host_desc desc;
	uint32_t *node_os_ids;
	uint8_t *distances;
};

static void parsed_fini(struct parsed *p)
{
	freep(&p->desc.cpus);
	freep(&p->node_os_ids);
	freep(&p->distances);
}

static bool parse_nodes(const char *text, struct parsed *p)
{
	uint32_t n = p->desc.n_nodes, v;

	p->node_os_ids = xcalloc(n, sizeof(*p->node_os_ids));
	p->distances = xcalloc((size_t)n * n, 1);
	for (uint32_t i = 0; i < n; i++)
		if (!next(&text, ID_SET_MAX - 1, &p->node_os_ids[i]))
			return false;
	for (size_t i = 0; i < (size_t)n * n; i++) {
		if (!next(&text, UINT8_MAX, &v))
			return false;
		p->distances[i] = (uint8_t)v;
	}
	p->desc.node_os_ids = p->node_os_ids;
	p->desc.distances = p->distances;
	return true;
}

static bool parse(const char *text, struct parsed *p)
{
	uint32_t has_distances;

	if (!next(&text, ID_SET_MAX, &p->desc.n_cpus) || p->desc.n_cpus == 0 ||
	    !next(&text, ID_SET_MAX, &p->desc.n_nodes) || !next(&text, 1, &has_distances))
		return false;
	p->desc.cpus = xcalloc(p->desc.n_cpus, sizeof(*p->desc.cpus));
	for (uint32_t i = 0; i < p->desc.n_cpus; i++) {
		struct host_cpu_desc *c = &p->desc.cpus[i];
		if (!next(&text, ID_SET_MAX - 1, &c->cpu) ||
		    !next(&text, UINT32_MAX, &c->llc_key) ||
		    !next(&text, UINT32_MAX, &c->core_key) ||
		    !next(&text, ID_SET_MAX - 1, &c->node_os_id))
			return false;
	}
	if (has_distances)
		return parse_nodes(text, p);
	p->desc.n_nodes = 0;
	return true;
}

struct host *host_cache_read(const char *path, const char *key, const struct id_set *allowed)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	CLEANUP(parsed_fini) struct parsed p = { .desc.allowed = allowed };
	size_t n_key = strlen(key);
	struct host *host;
	struct error err;

	if (access(path, R_OK) < 0 || file_read(path, CACHE_MAX, &text, &err) < 0)
		return NULL;
	const char *body = buf_str(&text) + n_key;
	if (strncmp(buf_str(&text), key, n_key) != 0 || *body != '\n' || !parse(body, &p) ||
	    host_new(&p.desc, &host, &err) < 0)
		return NULL;
	return host;
}

static void format(const struct host *h, const char *key, struct buf *to)
{
	buf_printf(to, "%s\n%u %u %d\n", key, h->n_cpus, h->n_nodes, h->distances != NULL);
	id_set_for_each(cpu, &h->online)
	{
		const struct host_cpu *c = &h->cpus[cpu];
		buf_printf(to, "%u %u %u %u\n", cpu, c->llc, c->core, h->nodes[c->node].os_id);
	}
	for (uint32_t i = 0; h->distances && i < h->n_nodes; i++)
		buf_printf(to, "%u\n", h->nodes[i].os_id);
	for (size_t i = 0; h->distances && i < (size_t)h->n_nodes * h->n_nodes; i++)
		buf_printf(to, "%u\n", h->distances[i]);
}

static int make_folder(const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	CLEANUP(freep) char *dir = slash ? xasprintf("%.*s", (int)(slash - path), path) : NULL;

	return dir && *dir ? file_make_dirs(dir, 0755, err) : 0;
}

void host_cache_write(const char *path, const char *key, const struct host *host)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct error err;

	format(host, key, &text);
	if (text.len > CACHE_MAX || make_folder(path, &err) < 0 ||
	    file_replace(path, 0644, text.data, text.len, &err) < 0)
		log_debug("host: not kept in '%s'", path);
}
