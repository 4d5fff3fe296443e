#include "cli/batch_plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/num.h"
#include "cli/memory_size.h"
#include "harness/list_program.h"
#include "vmm/kvm.h"

enum {
	LIST_TIMEOUT_S = 10,
	LIST_OUTPUT_MAX = 32 << 20,
	MEMINFO_MAX = 64 * 1024,
	FILES_RESERVED = 16, /* the reactor, signals, what is open for a moment */
};

extern const uint8_t vm_program_begin[], vm_program_end[];

/* Lists */

static void add_trouble(struct batch_plan *p, const char *path, enum list_program_end how,
			const struct error *why)
{
	size_t n = p->n_troubles + 1;

	p->troubles = xreallocarray(p->troubles, n, sizeof(*p->troubles));
	p->troubles[n - 1] = (struct batch_trouble){
		.program = path,
		.outcome = how == LIST_PROGRAM_HANG ? OUTCOME_TIMEOUT : OUTCOME_FAIL,
		.why = *why,
	};
	p->n_troubles = n;
}

static int add_program(struct batch_plan *p, const char *path, struct error *err)
{
	const struct list_program_config config = { .path = path,
						    .timeout_ns = LIST_TIMEOUT_S * NS_PER_S,
						    .output_max = LIST_OUTPUT_MAX };
	CLEANUP(test_list_fini) struct test_list list = { 0 };
	enum list_program_end how = list_program_run(&config, &list, err);

	if (how == LIST_PROGRAM_UNUSED)
		return err->code;
	if (how != LIST_PROGRAM_OK) {
		add_trouble(p, path, how, err);
		return 0;
	}
	p->programs[p->n_programs++] = (struct batch_program){
		.path = path,
		.command = strchr(path, '/') ? xstrdup(path) : xasprintf("./%s", path),
		.list = list,
	};
	list = (struct test_list){ 0 };
	return 0;
}

static void gather_tests(struct batch_plan *p)
{
	for (size_t i = 0; i < p->n_programs; i++)
		p->n_tests += p->programs[i].list.n;
	p->tests = xcalloc(p->n_tests + 1, sizeof(*p->tests));
	struct planned_test *t = p->tests;
	for (size_t i = 0; i < p->n_programs; i++)
		for (size_t k = 0; k < p->programs[i].list.n; k++, t++) {
			t->program = &p->programs[i];
			t->spec = &p->programs[i].list.tests[k];
			t->id = xasprintf("%s/%s", basename(t->program->path), t->spec->name);
		}
}

int batch_plan_list(const struct test_options *o, struct batch_plan *p, struct error *err)
{
	size_t n = 0;

	while (o->programs[n])
		n++;
	p->programs = xcalloc(n + 1, sizeof(*p->programs));
	for (size_t i = 0; i < n; i++)
		if (add_program(p, o->programs[i], err) < 0)
			return err->code;
	gather_tests(p);
	CLEANUP(freep) const char **ids = xcalloc(p->n_tests + 1, sizeof(*ids));
	for (size_t i = 0; i < p->n_tests; i++)
		ids[i] = p->tests[i].id;
	p->jobs = selection_make(&o->selection, ids, p->n_tests, &p->n_jobs);
	return 0;
}

/* What VMs may use together */

static uint32_t allowed_cpus(void)
{
	CLEANUP(freep) cpu_set_t *set = NULL;

	/* The kernel refuses a set that is smaller than its own. */
	for (int n = 1024; n <= 1024 * 1024; n *= 4) {
		size_t size = CPU_ALLOC_SIZE(n);
		set = xreallocarray(set, 1, size);
		if (sched_getaffinity(0, size, set) == 0)
			return (uint32_t)CPU_COUNT_S(size, set);
	}
	return 1;
}

static uint64_t available_mib(void)
{
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct error unused;
	const char *line = NULL;

	if (file_read("/proc/meminfo", MEMINFO_MAX, &text, &unused) == 0)
		line = strstr(buf_str(&text), "MemAvailable:");
	if (!line)
		return memory_size_of_host().ram / MIB;
	return strtoull(line + strlen("MemAvailable:"), NULL, 10) / 1024;
}

/* How many files VMs may have open here together, beside those that are open now. */
static uint32_t available_files(uint64_t limit)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t n = FILES_RESERVED;

	while (d && readdir(d))
		n++;
	if (d)
		(void)closedir(d);
	return limit > n ? (uint32_t)num_min(limit - n, UINT32_MAX) : 0;
}

static void decide(struct planned_test *t, const struct error *why)
{
	t->is_decided = true;
	t->why_not = *why;
}

/* A test that is larger than the whole budget would wait for ever. */
static void check_size(struct batch_plan *p, struct planned_test *t)
{
	struct error err;

	if (t->is_decided)
		return;
	if (t->cost.cpus > p->capacity.cpus) {
		(void)error_set_text(&err, -EBUSY,
				     "it needs %u CPUs, of which there are %u here: --overcommit "
				     "%u runs it nevertheless",
				     t->cost.cpus, p->capacity.cpus,
				     (t->cost.cpus + p->n_cpus - 1) / p->n_cpus);
		(void)error_classify(&err, ERROR_SKIP);
		decide(t, &err);
	} else if (t->cost.memory_mib > p->capacity.memory_mib) {
		(void)error_set_text(&err, -ENOMEM,
				     "it needs %llu MiB of memory, of which there are %llu here",
				     (unsigned long long)t->cost.memory_mib,
				     (unsigned long long)p->capacity.memory_mib);
		(void)error_classify(&err, ERROR_SKIP);
		decide(t, &err);
	} else if (t->cost.files > p->capacity.files) {
		(void)error_set_text(&err, -EMFILE,
				     "it needs %u open files, and the limit of them leaves %u "
				     "(`ulimit -n` is %" PRIu64 ")",
				     t->cost.files, p->capacity.files, p->file_limit);
		(void)error_classify(&err, ERROR_SKIP);
		decide(t, &err);
	}
}

/*
 * Alone on its CPUs, as many as it has; a budget of them (cpu_cap, --cpu-cap) is shared with other budgets, and so is everything with
 * --overcommit but performance mode (perf), and never what somebody holds for himself.
 */
static struct reservation_want want_of(const struct test_options *o, const struct batch_plan *p,
				       const struct planned_test *t)
{
	bool shares = t->cpu_cap || o->overcommit > 1;

	if (t->spec->perf)
		return (struct reservation_want){ .tier = PLAN_PERFORMANCE,
						  .topology = &t->options.topology };
	return (struct reservation_want){
		.tier = shares ? PLAN_BUDGET : PLAN_DEFAULT,
		.budget = shares ? PLAN_BUDGET_AUTHOR : PLAN_BUDGET_AUTO,
		.n_cpus = (uint32_t)num_min(t->cost.cpus, p->n_cpus),
		.topology = &t->options.topology,
	};
}

static void check_place(const struct test_options *o, const struct batch_plan *p,
			struct planned_test *t)
{
	const struct reservation_want want = want_of(o, p, t);
	struct reservation_need need = { 0 };
	struct error err;

	if (t->is_decided)
		return;
	t->request = reservation_request(&p->host, &want);
	if (reservation_check(&p->host, &t->request, &need, &err) < 0)
		decide(t, &err);
	t->cost.files += o->no_locks ? 0 : need.n_locks;
	/* Alone in whole LLCs: what would be shared of them with --overcommit is nobody else's either. */
	if (t->spec->perf)
		t->cost.cpus = (uint32_t)(need.n_cpus * o->overcommit);
}

static void check(const struct test_options *o, struct batch_plan *p, struct planned_test *t)
{
	check_place(o, p, t); /* first: it knows best what a performance test needs */
	check_size(p, t);
	/* What is decided takes no place. */
	if (t->is_decided)
		t->cost = (struct admission_cost){ 0 };
}

/* The operator's budget is not a matter of one test: more than there is would be a mistake in each. */
static int check_cap(const struct test_options *o, const struct batch_plan *p, struct error *err)
{
	const struct plan_request request = { .budget = PLAN_BUDGET_OPERATOR, .n_cpus = o->n_cpus };
	const struct plan_shortage why = { .need_cpus = o->n_cpus, .have_cpus = p->n_cpus };

	if (o->n_cpus <= p->n_cpus)
		return 0;
	return plan_result_error(PLAN_CAP_UNSATISFIABLE, &request, &why, err);
}

/* Whether there are cgroups here is found out once, and before this process has children: it may have to move (cgroup.h). */
static void look_for_cgroups(struct batch_plan *p)
{
	const struct cgroup_request any = { 0 };
	struct cgroup cgroup;
	struct error err;
	bool is_wanted = false;

	for (size_t i = 0; i < p->n_jobs && !is_wanted; i++) {
		const struct planned_test *t = &p->tests[p->jobs[i].test];
		is_wanted = !t->is_decided && t->request.tier != PLAN_DEFAULT;
	}
	if (!is_wanted)
		return;
	p->has_cgroups = cgroup_open(&cgroup, &any, 1, &err) == 0 && cgroup.is_active;
	memcpy(p->no_cgroups, cgroup.note, sizeof(p->no_cgroups));
	(void)cgroup_close(&cgroup, 0); /* empty; else the next sweep takes it */
}

/* Asked once for all VMs. Where it cannot be had the first of them says why. */
static void ask_kvm(struct batch_plan *p)
{
	struct error unused;
	CLEANUP(fd_closep) int fd = kvm_open(&unused);

	if (fd < 0 || arch_supported_read(fd, &p->images.supported, &unused) < 0)
		p->images.supported.len = 0;
}

/*
 * What is embedded, from memory; where that is not to be had (no such program in this build, vm.memfd_noexec, a limit on file
 * sizes), this program by itself: the same, with more to load. Not by its path, where another build may lie by now.
 */
static int open_vm_program(struct batch_plan *p, struct error *err)
{
	size_t n = (size_t)(vm_program_end - vm_program_begin);
	int fd = n ? fd_program("ktstr-vm", vm_program_begin, n) : -ENOENT;

	if (fd < 0)
		fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "/proc/self/exe");
	p->images.vm_program_fd = fd;
	return 0;
}

int batch_plan_prepare(const struct test_options *o, struct batch_plan *p, struct error *err)
{
	const struct run_options kernel = { .kernel = o->kernel,
					    .force = o->force,
					    .includes = o->includes,
					    .n_includes = o->n_includes,
					    .modules_dir = o->modules_dir };
	struct error why;

	p->n_cpus = allowed_cpus();
	if (check_cap(o, p, err) < 0 || guest_setup_kernel(&kernel, &p->images.setup, err) < 0 ||
	    guest_setup_check_files(&kernel, &p->images.setup, err) < 0 ||
	    open_vm_program(p, err) < 0)
		return err->code;
	if (reservation_host_open(&p->host, p->images.setup.cache_dir, getenv("KTSTR_LOCK_DIR"),
				  !o->no_locks, err) < 0)
		return err->code;
	bool can_boot = guest_setup_check_kvm(&kernel, &p->images.setup, &why) == 0;
	ask_kvm(p);
	p->capacity = (struct admission_cost){
		.cpus = (uint32_t)(p->n_cpus * o->overcommit),
		.memory_mib = o->memory_mib ? o->memory_mib : available_mib(),
	};
	for (size_t i = 0; i < p->n_jobs; i++) {
		struct planned_test *t = &p->tests[p->jobs[i].test];
		if (t->name)
			continue; /* prepared for an earlier repetition */
		planned_test_prepare(t, o, &p->images);
		if (!can_boot && !t->is_decided)
			decide(t, &why);
	}
	p->file_limit = fd_raise_limit();
	p->capacity.files = available_files(p->file_limit); /* all images are open now */
	for (size_t i = 0; i < p->n_tests; i++)
		if (p->tests[i].name)
			check(o, p, &p->tests[i]);
	look_for_cgroups(p);
	return 0;
}

void batch_plan_fini(struct batch_plan *p)
{
	for (size_t i = 0; i < p->n_tests; i++)
		planned_test_fini(&p->tests[i]);
	for (size_t i = 0; i < p->n_programs; i++) {
		test_list_fini(&p->programs[i].list);
		freep(&p->programs[i].command);
	}
	freep(&p->tests);
	freep(&p->programs);
	freep(&p->troubles);
	freep(&p->jobs);
	reservation_host_close(&p->host);
	batch_images_fini(&p->images);
}
