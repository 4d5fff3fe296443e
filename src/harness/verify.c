#include "harness/verify.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

enum { NUMA_MAPS_MAX = 16 << 20, VCPU_PRIORITY = 1, IO_PRIORITY = 2 };

/* Threads */

static int wrong_cpus(const struct verify_thread *t, const struct id_set *wanted, struct error *err)
{
	CLEANUP(buf_fini) struct buf is = { 0 };
	CLEANUP(buf_fini) struct buf should = { 0 };

	id_set_format(&t->cpus, &is);
	id_set_format(wanted, &should);
	return error_set_text(err, -EPROTO,
			      "thread %s of the VM may run on CPU %s, it was promised CPU %s",
			      t->name, buf_str(&is), buf_str(&should));
}

static int check_exact_cpu(const struct verify_thread *t, uint32_t cpu, struct error *err)
{
	struct id_set wanted = { 0 };

	id_set_add(&wanted, cpu);
	return id_set_is_equal(&t->cpus, &wanted) ? 0 : wrong_cpus(t, &wanted, err);
}

static int check_policy(const struct verify_thread *t, int priority, uint32_t applied,
			struct error *err)
{
	if (!(applied & APPLIED_FIFO) || (t->policy == SCHED_FIFO && t->priority == priority))
		return 0;
	return error_set_text(err, -EPROTO,
			      "thread %s of the VM has scheduling policy %d, priority %d; it was "
			      "promised SCHED_FIFO (%d), priority %d",
			      t->name, t->policy, t->priority, SCHED_FIFO, priority);
}

static bool is_vcpu(const struct verify_thread *t, uint32_t *ret)
{
	/* NOLINTNEXTLINE(cert-err34-c): digits only, and of a name that is 15 bytes long */
	return sscanf(t->name, "vcpu%9u", ret) == 1;
}

int verify_thread(const struct verify_thread *t, pid_t pid, const struct placement *p,
		  uint32_t applied, struct error *err)
{
	struct id_set service = { 0 };
	uint32_t vcpu;

	if (!p->is_performance)
		return id_set_is_subset(&p->cpus, &t->cpus) ? 0 : wrong_cpus(t, &p->cpus, err);
	if (is_vcpu(t, &vcpu) && vcpu < p->n_vcpus) {
		if (check_exact_cpu(t, p->vcpu_cpus[vcpu], err) < 0)
			return err->code;
		return check_policy(t, VCPU_PRIORITY, applied, err);
	}
	id_set_add(&service, p->service_cpu);
	if (!id_set_is_subset(&service, &t->cpus))
		return wrong_cpus(t, &service, err);
	return t->tid == pid ? check_policy(t, IO_PRIORITY, applied, err) : 0;
}

/* False: it is gone. */
static bool read_thread(pid_t pid, int tid, struct verify_thread *ret)
{
	CLEANUP(freep) char *path = xasprintf("/proc/%d/task/%d/comm", (int)pid, tid);
	struct sched_param param;

	*ret = (struct verify_thread){ .tid = tid };
	if (file_read_line(path, ret->name, sizeof(ret->name)) < 0 ||
	    sched_getaffinity(tid, sizeof(ret->cpus.words), (cpu_set_t *)(void *)ret->cpus.words) <
		0 ||
	    sched_getparam(tid, &param) < 0)
		return false;
	ret->policy = sched_getscheduler(tid) & ~SCHED_RESET_ON_FORK;
	ret->priority = param.sched_priority;
	return ret->policy >= 0;
}

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* only read from */
}

static int verify_threads(pid_t pid, const struct placement *p, uint32_t applied,
			  struct verification *v, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("/proc/%d/task", (int)pid);
	CLEANUP(closedirp) DIR *dir = opendir(path);
	struct verify_thread t;
	uint32_t vcpu;

	if (!dir)
		return error_set(err, errno, "cannot look at the VM's threads: '%s'", path);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] == '.' || !read_thread(pid, (int)strtol(e->d_name, NULL, 10), &t))
			continue;
		if (verify_thread(&t, pid, p, applied, err) < 0)
			return err->code;
		v->n_threads++;
		v->n_vcpus += is_vcpu(&t, &vcpu);
	}
	if (v->n_vcpus != p->n_vcpus)
		return error_set_text(err, -EPROTO, "%u of the VM's %u vCPU threads were found",
				      v->n_vcpus, p->n_vcpus);
	return 0;
}

/* Memory */

/* Whether @nodes, as "0-1,3", are all nodes of one guest node's binding. */
static bool is_binding(const struct placement *p, const char *nodes)
{
	struct id_set bound;

	if (id_set_parse(nodes, &bound) < 0)
		return false;
	for (uint32_t i = 0; i < p->n_nodes; i++)
		if (id_set_is_equal(&p->node_mems[i], &bound))
			return true;
	return false;
}

/* "N1=24": pages of a mapping that is bound to @nodes. */
static int check_pages(const char *word, const char *nodes, uint64_t *n_pages, struct error *err)
{
	struct id_set bound;
	uint32_t node;
	uint64_t n;

	if (sscanf(word, "N%9u=%" SCNu64, &node, &n) != 2) /* NOLINT(cert-err34-c) */
		return 0;
	if (id_set_parse(nodes, &bound) < 0 || !id_set_has(&bound, node))
		return error_set_text(err, -EPROTO,
				      "%" PRIu64 " pages of guest memory are on node %u of the "
				      "host, they were promised node %s",
				      n, node, nodes);
	*n_pages += n;
	return 0;
}

/* "7f0000000000 bind:0 anon=512 dirty=512 N0=512 kernelpagesize_kB=4"; @line is cut up. */
static int verify_mapping(char *line, const struct placement *p,
			  const struct frame_started *started, uint64_t *n_pages, struct error *err)
{
	char *save = NULL;
	char *address = strtok_r(line, " ", &save), *policy = strtok_r(NULL, " ", &save);
	uint64_t start = address ? strtoull(address, NULL, 16) : 0;
	bool is_huge = false;

	if (!policy || start < started->memory_base ||
	    start - started->memory_base >= started->memory_len)
		return 0;
	const char *nodes = strncmp(policy, "bind:", 5) == 0 ? policy + 5 : "";
	if (!is_binding(p, nodes))
		return error_set_text(err, -EPROTO,
				      "guest memory has the policy '%s', it was promised to be "
				      "bound to the nodes of its vCPUs",
				      policy);
	for (char *word; (word = strtok_r(NULL, " ", &save));) {
		is_huge |= strcmp(word, "kernelpagesize_kB=2048") == 0;
		if (check_pages(word, nodes, n_pages, err) < 0)
			return err->code;
	}
	if ((started->applied & APPLIED_HUGEPAGES) && !is_huge)
		return error_set_text(err, -EPROTO,
				      "guest memory is not in pages of 2 MiB, as "
				      "was promised");
	return 0;
}

int verify_memory(const char *text, const struct placement *p, const struct frame_started *started,
		  uint64_t *ret_pages, struct error *err)
{
	CLEANUP(freep) char *copy = xstrdup(text);
	char *save = NULL;
	uint64_t n_pages = 0;

	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (verify_mapping(line, p, started, &n_pages, err) < 0)
			return err->code;
	/* The kernel and its tables are there before anything runs. */
	if (n_pages == 0)
		return error_set_text(err, -EPROTO, "no guest memory is to be seen");
	*ret_pages = n_pages;
	return 0;
}

static int verify_bound(pid_t pid, const struct placement *p, const struct frame_started *started,
			struct verification *v, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("/proc/%d/numa_maps", (int)pid);
	CLEANUP(buf_fini) struct buf text = { 0 };

	if (!(started->applied & APPLIED_BOUND) || (access(path, F_OK) < 0 && errno == ENOENT))
		return 0; /* a kernel without NUMA: one node has all */
	if (file_read(path, NUMA_MAPS_MAX, &text, err) < 0)
		return error_prefix(err, "cannot look at the VM's memory");
	return verify_memory(buf_str(&text), p, started, &v->n_pages, err);
}

/* Locks */

static bool is_held(const struct lock_scan *scan, const struct plan_lock *lock)
{
	for (size_t i = 0; i < scan->n_holders; i++) {
		const struct lock_holder *h = &scan->holders[i];
		if (h->pid == getpid() && h->lock.kind == lock->kind && h->lock.id == lock->id &&
		    h->lock.exclusive == lock->exclusive)
			return true;
	}
	return false;
}

static int verify_locks(const struct reservation *r, struct verification *v, struct error *err)
{
	CLEANUP(lock_scan_fini) struct lock_scan scan = { .dir = &r->host->dir };
	char name[LOCK_NAME_MAX];

	if (r->host->dir.fd < 0)
		return 0;
	if (lock_scan_read(&scan, err) < 0)
		return err->code;
	for (uint32_t i = 0; i < r->plan->n_locks; i++) {
		const struct plan_lock *lock = &r->plan->locks[i];
		if (is_held(&scan, lock)) {
			v->n_locks++;
			continue;
		}
		lock_dir_name(lock->kind, lock->id, name);
		return error_set_text(err, -EPROTO, "lock '%s' is not held, it was promised", name);
	}
	return 0;
}

int verify_vm(pid_t pid, const struct reservation *r, const struct frame_started *started,
	      struct verification *ret, struct error *err)
{
	const struct placement *p = &r->placement;
	struct verification v = { .is_done = true };

	if (verify_threads(pid, p, started->applied, &v, err) < 0 ||
	    verify_bound(pid, p, started, &v, err) < 0 || verify_locks(r, &v, err) < 0)
		return err->code;
	*ret = v;
	return 0;
}
