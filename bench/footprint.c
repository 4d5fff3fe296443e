/*
 * What a VM that does nothing costs: memory of its process without the guest's RAM, threads, descriptors. The guest
 * halts for ever (guests/flat.S, IDLE); QEMU microvm with the same guest is measured the same way.
 *
 * PSS counts a page shared by n processes as 1/n; the runner, which waits for the verdict, is listed apart.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "bench/spawn.h"
#include "options.h"
#include "stats.h"

enum {
	SETTLE_MS = 300, /* until the guest halts and its VMM sleeps */
	IDLE_MS = 500,   /* over which CPU time is counted */
	N_TRIES = 100,
	PSS_AIM_KIB = 2048,
};

enum variant { VM_URING, RUNNER_URING, VM_EPOLL, RUNNER_EPOLL, QEMU, N_VARIANTS };

static const char *const variant_names[N_VARIANTS] = {
	[VM_URING] = "ktstr VM process, io_uring",
	[RUNNER_URING] = "ktstr runner, io_uring",
	[VM_EPOLL] = "ktstr VM process, epoll",
	[RUNNER_EPOLL] = "ktstr runner, epoll",
	[QEMU] = "qemu microvm",
};

enum metric { PSS, RSS, DIRTY, GUEST_RSS, THREADS, WORKERS, FDS, IDLE_CPU, N_METRICS };

static const struct {
	const char *title, *key;
	int decimals;
} metrics[N_METRICS] = {
	[PSS] = { "PSS without guest RAM, KiB", "pss_kib", 0 },
	[RSS] = { "RSS without guest RAM, KiB", "rss_kib", 0 },
	[DIRTY] = { "private dirty without guest RAM, KiB", "private_dirty_kib", 0 },
	[GUEST_RSS] = { "guest RAM in use, KiB", "guest_rss_kib", 0 },
	[THREADS] = { "threads", "threads", 0 },
	[WORKERS] = { "threads of the kernel among them", "kernel_threads", 0 },
	[FDS] = { "open descriptors", "descriptors", 0 },
	[IDLE_CPU] = { "CPU used in 500 ms of idling, ms", "idle_cpu_ms", 2 },
};

struct results {
	struct dist d[N_METRICS][N_VARIANTS];
};

static void pause_ms(unsigned ms)
{
	const struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&ts, NULL); /* cut short by a signal: the figure is taken earlier */
}

/* --- one process --- */

struct memory {
	uint64_t pss, rss, dirty, guest_rss; /* KiB */
};

/* "Pss:   12 kB": true for a line of that key. */
static bool has_kib(const char *line, const char *key, uint64_t *ret)
{
	size_t n = strlen(key);

	if (strncmp(line, key, n) != 0 || line[n] != ':')
		return false;
	*ret = strtoull(line + n + 1, NULL, 10);
	return true;
}

/* Guest RAM is the one mapping of at least its size: nothing else of a VMM is that large. */
static void read_memory(pid_t pid, uint64_t guest_kib, struct memory *ret)
{
	char path[64], line[512];
	uint64_t value, size = 0;

	*ret = (struct memory){ 0 };
	(void)snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		bool is_guest = size >= guest_kib;
		if (has_kib(line, "Size", &value))
			size = value;
		else if (has_kib(line, "Rss", &value))
			*(is_guest ? &ret->guest_rss : &ret->rss) += value;
		else if (has_kib(line, "Pss", &value) && !is_guest)
			ret->pss += value;
		else if (has_kib(line, "Private_Dirty", &value) && !is_guest)
			ret->dirty += value;
	}
	if (f)
		(void)fclose(f);
}

/* iou-wrk-*, iou-sqp-*: io_uring's; kvm-nx-*: KVM's, from Linux 6.14 on. */
static bool is_kernels(pid_t pid, const char *tid)
{
	char path[320], name[32] = "";

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", (int)pid, tid);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	(void)!fgets(name, sizeof(name), f); /* gone meanwhile: no name, no worker */
	(void)fclose(f);
	return strncmp(name, "iou-", 4) == 0 || strncmp(name, "kvm-", 4) == 0;
}

/* Entries of a folder in /proc; those that are the kernel's in *@ret_workers, unless NULL. */
static unsigned count_entries(pid_t pid, const char *folder, unsigned *ret_workers)
{
	char path[64];
	unsigned n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, folder);
	DIR *dir = opendir(path);
	for (struct dirent *e;
	     dir && (e = readdir(dir));) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (ret_workers && is_kernels(pid, e->d_name))
			(*ret_workers)++;
	}
	if (dir)
		(void)closedir(dir);
	return n;
}

static void add_process(struct results *r, enum variant v, pid_t pid, uint64_t guest_kib)
{
	struct memory m;
	unsigned workers = 0;
	double before = spawn_process_cpu_ms(pid);

	pause_ms(IDLE_MS);
	dist_add(&r->d[IDLE_CPU][v], spawn_process_cpu_ms(pid) - before);
	read_memory(pid, guest_kib, &m);
	dist_add(&r->d[PSS][v], (double)m.pss);
	dist_add(&r->d[RSS][v], (double)m.rss);
	dist_add(&r->d[DIRTY][v], (double)m.dirty);
	dist_add(&r->d[THREADS][v], count_entries(pid, "task", &workers));
	dist_add(&r->d[WORKERS][v], workers);
	dist_add(&r->d[FDS][v], count_entries(pid, "fd", NULL));
	if (m.guest_rss)
		dist_add(&r->d[GUEST_RSS][v], (double)m.guest_rss);
}

/* --- one VM --- */

/* @vm and @runner are the same for a VMM of one process. */
static int measure(const struct spawn_config *config, uint64_t guest_kib, enum variant vm,
		   enum variant runner, struct results *r, struct error *err)
{
	pid_t pid, child = 0;

	if (spawn_start(config, &pid, err) < 0)
		return err->code;
	pause_ms(SETTLE_MS);
	for (unsigned i = 0; vm != runner && !child && i < N_TRIES; i++) {
		(void)spawn_children(pid, &child, 1); /* none yet: 0 */
		pause_ms(child ? 0 : 10);
	}
	bool alive = waitpid(pid, NULL, WNOHANG) == 0;
	if (alive && (vm == runner || child)) {
		add_process(r, vm, vm == runner ? pid : child, guest_kib);
		if (vm != runner)
			add_process(r, runner, pid, guest_kib);
	}
	if (alive) {
		(void)kill(pid, SIGTERM);
		(void)waitpid(pid, NULL, 0);
	}
	if (child)
		(void)waitpid(child, NULL, 0); /* ours since its parent ended, or reaped by it */
	if (!alive || (vm != runner && !child))
		return error_set_text(err, -ECHILD, "'%s' did not stay up", config->argv[0]);
	return 0;
}

static int run(const struct bench_options *o, struct results *r, struct error *err)
{
	static const char *const uring[] = { "KTSTR_REACTOR=uring", NULL };
	static const char *const epoll[] = { "KTSTR_REACTOR=epoll", NULL };
	uint64_t guest_kib = o->memory_mib * MIB / KIB;
	struct bench_argv ours, qemu;

	bench_ktstr_argv(o, false, &ours);
	bench_qemu_argv(o, -1, &qemu);
	const struct spawn_config with_uring = { ours.argv, uring, 0, -1, NULL };
	const struct spawn_config with_epoll = { ours.argv, epoll, 0, -1, NULL };
	const struct spawn_config with_qemu = { qemu.argv, NULL, 0, -1, NULL };
	for (uint64_t i = 0; i < o->n_runs; i++)
		if (measure(&with_uring, guest_kib, VM_URING, RUNNER_URING, r, err) < 0 ||
		    measure(&with_epoll, guest_kib, VM_EPOLL, RUNNER_EPOLL, r, err) < 0 ||
		    (o->qemu && measure(&with_qemu, guest_kib, QEMU, QEMU, r, err) < 0))
			return err->code;
	return 0;
}

static json_t *report(const struct results *r)
{
	json_t *variants = json_object();
	json_t *values[N_VARIANTS];

	for (size_t v = 0; v < N_VARIANTS; v++) {
		values[v] = json_object();
		json_object_set_new(variants, variant_names[v], values[v]);
	}
	for (size_t m = 0; m < N_METRICS; m++) {
		dist_print_header(metrics[m].title);
		for (size_t v = 0; v < N_VARIANTS; v++) {
			dist_print(&r->d[m][v], variant_names[v], metrics[m].decimals);
			json_object_set_new(values[v], metrics[m].key, dist_json(&r->d[m][v]));
		}
	}
	double pss = dist_percentile(&r->d[PSS][VM_URING], 50);
	printf("\nPSS of a VM process: %.0f KiB, aim %d KiB: %s\n", pss, PSS_AIM_KIB,
	       pss < PSS_AIM_KIB ? "met" : "missed");
	return variants;
}

int main(int argc, char **argv)
{
	/* A size that no library's mapping reaches. */
	struct bench_options o = { .n_runs = 3, .memory_mib = 64 };
	struct results r = { 0 };
	struct error err;

	bench_options_parse(argc, argv, "Memory and threads of a VM that idles.", &o);
	bench_need_kvm();
	if (spawn_init(&err) < 0 || run(&o, &r, &err) < 0) {
		fprintf(stderr, "footprint: %s\n", err.text);
		return EXIT_FAILURE;
	}
	json_t *doc =
	    json_pack("{s:s, s:I, s:o, s:o}", "benchmark", "footprint", "runs",
		      (json_int_t)o.n_runs, "machine", json_machine(), "variants", report(&r));
	for (size_t m = 0; m < N_METRICS; m++)
		for (size_t v = 0; v < N_VARIANTS; v++)
			dist_fini(&r.d[m][v]);
	return json_write(doc, o.json) ? EXIT_SUCCESS : EXIT_FAILURE;
}
