/*
 * hwloc's objects to struct host. CPUs that the process may not use are asked for, too (INCLUDE_DISALLOWED): without them
 * the LLCs of two processes in different cpusets would have different numbers, and both would lock "LLC 0".
 */
#include "plan/host_discover.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <hwloc.h>

#include "base/file.h"
#include "plan/host_cache.h"

enum { STATUS_MAX = 65536 };

static void topology_destroyp(hwloc_topology_t *t)
{
	if (*t)
		hwloc_topology_destroy(*t);
	*t = NULL;
}

int host_parse_status(const char *status, struct id_set *ret)
{
	static const char key[] = "\nCpus_allowed_list:";
	const char *p = strstr(status, key);
	char list[4096];

	if (!p)
		return -ENOENT;
	p += sizeof(key) - 1;
	p += strspn(p, " \t");
	size_t n = strcspn(p, "\n");
	if (n >= sizeof(list))
		return -E2BIG;
	memcpy(list, p, n);
	list[n] = 0;
	return id_set_parse(list, ret);
}

/* False where the kernel refuses; its set is as large as the kernel's, so try with more room. */
static bool read_affinity(struct id_set *ret)
{
	CLEANUP(freep) cpu_set_t *set = CPU_ALLOC(ID_SET_MAX);
	size_t size = CPU_ALLOC_SIZE(ID_SET_MAX);

	if (!set)
		die_out_of_memory();
	CPU_ZERO_S(size, set);
	if (sched_getaffinity(0, size, set) < 0)
		return false;
	*ret = (struct id_set){ 0 };
	for (uint32_t cpu = 0; cpu < ID_SET_MAX; cpu++)
		if (CPU_ISSET_S(cpu, size, set))
			id_set_add(ret, cpu);
	return !id_set_is_empty(ret);
}

int host_read_allowed(const char *status_path, struct id_set *ret, struct error *err)
{
	CLEANUP(buf_fini) struct buf status = { 0 };

	if (!status_path) {
		if (read_affinity(ret))
			return 0;
		status_path = "/proc/self/status";
	}
	if (file_read(status_path, STATUS_MAX, &status, err) < 0)
		return error_prefix(err, "which CPUs this process may use is unknown "
					 "(sched_getaffinity fails, too)");
	int res = host_parse_status(buf_str(&status), ret);
	if (res < 0)
		return error_set(err, res,
				 "which CPUs this process may use is unknown: '%s' has no usable "
				 "Cpus_allowed_list",
				 status_path);
	return 0;
}

/* The lowest node that the CPU is local to: memory-only nodes have higher numbers. */
static uint32_t node_of(hwloc_topology_t t, const struct hwloc_obj *pu)
{
	uint32_t best = UINT32_MAX;

	for (hwloc_obj_t node = NULL;
	     (node = hwloc_get_next_obj_by_type(t, HWLOC_OBJ_NUMANODE, node));)
		if (hwloc_bitmap_isset(node->cpuset, pu->os_index) && node->os_index < best)
			best = node->os_index;
	return best == UINT32_MAX ? 0 : best;
}

static uint32_t llc_of(hwloc_topology_t t, hwloc_obj_t pu)
{
	static const hwloc_obj_type_t types[] = { HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE,
						  HWLOC_OBJ_PACKAGE };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		hwloc_obj_t o = hwloc_get_ancestor_obj_by_type(t, types[i], pu);
		if (o)
			return (uint32_t)o->gp_index;
	}
	return (uint32_t)hwloc_get_root_obj(t)->gp_index;
}

static int add_cpus(hwloc_topology_t t, struct host_desc *desc, struct error *err)
{
	hwloc_const_bitmap_t online = hwloc_topology_get_topology_cpuset(t);

	for (hwloc_obj_t pu = NULL; (pu = hwloc_get_next_obj_by_type(t, HWLOC_OBJ_PU, pu));) {
		if (!hwloc_bitmap_isset(online, pu->os_index))
			continue;
		if (pu->os_index >= ID_SET_MAX)
			return error_set_text(err, -ERANGE,
					      "CPU %u: only CPUs below %d are supported",
					      pu->os_index, ID_SET_MAX);
		hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(t, HWLOC_OBJ_CORE, pu);
		desc->cpus = xreallocarray(desc->cpus, desc->n_cpus + 1, sizeof(*desc->cpus));
		desc->cpus[desc->n_cpus++] = (struct host_cpu_desc){
			.cpu = pu->os_index,
			.llc_key = llc_of(t, pu),
			.core_key = (uint32_t)(core ? core : pu)->gp_index,
			.node_os_id = node_of(t, pu),
		};
	}
	return desc->n_cpus ? 0 : error_set_text(err, -EINVAL, "no CPU");
}

/* The matrix of the firmware, in arrays that the caller frees; nothing where there is none. */
static void read_distances(hwloc_topology_t t, uint32_t **ret_ids, uint8_t **ret_values,
			   uint32_t *ret_n)
{
	struct hwloc_distances_s *d = NULL;
	unsigned n = 1;

	*ret_n = 0;
	if (hwloc_distances_get_by_type(t, HWLOC_OBJ_NUMANODE, &n, &d,
					HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) < 0 ||
	    n == 0)
		return;
	*ret_ids = xcalloc(d->nbobjs, sizeof(**ret_ids));
	*ret_values = xcalloc((size_t)d->nbobjs * d->nbobjs, 1);
	for (unsigned i = 0; i < d->nbobjs; i++)
		(*ret_ids)[i] = d->objs[i]->os_index;
	for (size_t i = 0; i < (size_t)d->nbobjs * d->nbobjs; i++)
		(*ret_values)[i] = d->values[i] > HOST_DISTANCE_UNREACHABLE
				       ? HOST_DISTANCE_UNREACHABLE
				       : (uint8_t)d->values[i];
	*ret_n = d->nbobjs;
	hwloc_distances_release(t, d);
}

static void allowed_of(hwloc_topology_t t, struct id_set *ret)
{
	hwloc_const_bitmap_t allowed = hwloc_topology_get_allowed_cpuset(t);

	*ret = (struct id_set){ 0 };
	for (uint32_t cpu = 0; cpu < ID_SET_MAX; cpu++)
		if (hwloc_bitmap_isset(allowed, cpu))
			id_set_add(ret, cpu);
}

static int convert(hwloc_topology_t t, const struct id_set *allowed, struct host **ret,
		   struct error *err)
{
	CLEANUP(freep) uint32_t *node_ids = NULL;
	CLEANUP(freep) uint8_t *distances = NULL;
	struct host_desc desc = { .allowed = allowed };

	int res = add_cpus(t, &desc, err);
	if (res == 0) {
		read_distances(t, &node_ids, &distances, &desc.n_nodes);
		desc.node_os_ids = node_ids;
		desc.distances = distances;
		res = host_new(&desc, ret, err);
	}
	free(desc.cpus);
	return res;
}

static bool is_file(const char *spec)
{
	size_t n = strlen(spec);

	return strchr(spec, '/') || (n > 4 && strcmp(spec + n - 4, ".xml") == 0);
}

/* hwloc says little about what is wrong with a file: "Invalid argument". */
static int set_source(hwloc_topology_t t, const char *spec, struct error *err)
{
	if (!spec)
		return 0;
	if (is_file(spec)) {
		CLEANUP(buf_fini) struct buf text = { 0 };
		if (file_read(spec, (size_t)64 << 20, &text, err) < 0)
			return error_classify(err, ERROR_USAGE), error_prefix(err, "--host");
		if (hwloc_topology_set_xmlbuffer(t, buf_str(&text), (int)text.len + 1) < 0)
			return error_set_usage(
			    err, -EINVAL,
			    "--host: '%s' is not an XML file of hwloc (`lstopo FILE.xml`)", spec);
		return 0;
	}
	if (hwloc_topology_set_synthetic(t, spec) < 0)
		return error_set_usage(
		    err, -EINVAL,
		    "--host: '%s' is neither a file (a name with a slash or .xml) nor an hwloc "
		    "description such as 'numa:2 l3:2 core:4 pu:2'",
		    spec);
	return 0;
}

static int load(hwloc_topology_t t, const char *spec, struct error *err)
{
	if (set_source(t, spec, err) < 0)
		return err->code;
	if (hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) < 0 ||
	    hwloc_topology_load(t) < 0) {
		int code = errno ? errno : EINVAL;
		if (!spec)
			return error_set(err, code, "hwloc cannot read this host's topology");
		return error_set_usage(err, -code, "--host: hwloc cannot make a host of '%s'",
				       spec);
	}
	if (!spec && !hwloc_topology_is_thissystem(t))
		return error_set_usage(err, -EINVAL,
				       "HWLOC_XMLFILE, HWLOC_SYNTHETIC or HWLOC_FSROOT in the "
				       "environment hides this host: unset it, or use --host");
	return 0;
}

static int discover(const char *spec, struct host **ret, struct error *err)
{
	CLEANUP(topology_destroyp) hwloc_topology_t t = NULL;
	struct id_set allowed;

	if (hwloc_topology_init(&t) < 0)
		return error_set(err, errno ? errno : ENOMEM, "hwloc cannot start");
	if (load(t, spec, err) < 0)
		return err->code;
	if (spec)
		allowed_of(t, &allowed);
	else if (host_read_allowed(NULL, &allowed, err) < 0)
		return err->code;
	return convert(t, &allowed, ret, err);
}

/* The same with a file that knows this machine, where there can be one. */
static int discover_once(const char *cache_path, struct host **ret, struct error *err)
{
	char key[HOST_CACHE_KEY_MAX];
	struct id_set allowed;

	if (!cache_path || host_cache_key(key) < 0)
		return discover(NULL, ret, err);
	if (host_read_allowed(NULL, &allowed, err) < 0)
		return err->code;
	*ret = host_cache_read(cache_path, key, &allowed);
	if (*ret)
		return 0;
	if (discover(NULL, ret, err) < 0)
		return err->code;
	host_cache_write(cache_path, key, *ret);
	return 0;
}

int host_source_get(struct host_source *s, const struct host **ret, struct error *err)
{
	int res = 0;

	if (!s->host)
		res = s->spec ? discover(s->spec, &s->host, err)
			      : discover_once(s->cache_path, &s->host, err);
	if (res == 0)
		*ret = s->host;
	return res;
}

void host_source_fini(struct host_source *s)
{
	s->host = host_free(s->host);
}
