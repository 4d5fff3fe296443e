#include "cli/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "cli/batch_documents.h"
#include "cli/batch_fill.h"
#include "cli/batch_output.h"
#include "cli/batch_plan.h"
#include "cli/batch_view.h"
#include "cli/batch_vm.h"
#include "cli/commands.h"
#include "cli/end_signals.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "harness/batch_summary.h"
#include "harness/scheduler.h"

enum {
	JOBS_MAX = 4096, /* without --jobs CPUs and memory are the limit */
	DRAW_MS = 100,
};

struct batch {
	const struct test_options *options;
	uint64_t start_ns;
	struct batch_plan plan;
	struct admission_cost *costs; /* by job */
	struct scheduler scheduler;
	enum reactor_backend backend;
	struct reactor *reactor;
	struct list vms;  /* until they are gone */
	size_t n_running; /* not judged yet */
	uint32_t n_launched;
	struct batch_result result;
	struct batch_test **entries; /* by job */
	struct batch_counts counts;  /* of those that are over */
	struct batch_view view;
	bool has_noted_files;
	struct reactor_op draw_timer;
	int signal_fd;
	struct reactor_op signals;
	unsigned n_interrupts;
};

/* Words */

static void draw(struct batch *b)
{
	struct batch_view_vm *vms;
	struct list *pos;
	size_t n = 0;

	if (!b->view.is_terminal)
		return;
	vms = xcalloc(b->n_running + 1, sizeof(*vms));
	list_for_each (pos, &b->vms) {
		const struct batch_vm *vm = container_of(pos, struct batch_vm, node);
		if (vm->state >= BATCH_VM_JUDGED || n == b->n_running)
			continue;
		vms[n++] = (struct batch_view_vm){
			.id = b->entries[vm->job]->id,
			.phase = vm->phase,
			.start_ns = vm->start_ns,
			.attempt = b->scheduler.jobs[vm->job].n_attempts,
			.is_waiting = vm->state == BATCH_VM_STARTING,
		};
	}
	const struct batch_view_state state = { .now_ns = clock_now_ns(),
						.start_ns = b->start_ns,
						.n_jobs = b->plan.n_jobs,
						.counts = &b->counts,
						.vms = vms,
						.n_vms = n };
	batch_view_draw(&b->view, &state);
	freep(&vms);
}

static void say(struct batch *b, const struct batch_test *entry, bool is_retry)
{
	CLEANUP(buf_fini) struct buf line = { 0 };

	batch_view_format_result(entry, is_retry, &line);
	batch_view_print(&b->view, buf_str(&line));
	if (b->reactor)
		draw(b);
}

static void on_draw(struct reactor_op *op, int res, bool more UNUSED)
{
	struct batch *b = container_of(op, struct batch, draw_timer);

	if (res < 0)
		return;
	draw(b);
	reactor_timer(b->reactor, op, clock_now_ns() + DRAW_MS * NS_PER_MS, on_draw);
}

/* VMs */

static void stop_if_over(struct batch *b)
{
	if (scheduler_is_over(&b->scheduler) && list_is_empty(&b->vms))
		reactor_stop(b->reactor, 0);
}

/* --no-skip: what did not run did not pass. */
static enum outcome outcome_of(const struct batch *b, const struct batch_vm *vm)
{
	enum outcome outcome = vm->verdict.outcome;

	return outcome == OUTCOME_SKIP && b->options->no_skip ? OUTCOME_FAIL : outcome;
}

static void set_not_run(struct batch_test *entry, const char *why)
{
	entry->outcome = BATCH_NOT_RUN;
	batch_set_why(&entry->why, why, strlen(why));
}

/* Once: that is how it will stay. */
static void note_few_files(struct batch *b)
{
	CLEANUP(freep) char *line = NULL;

	if (!b->scheduler.admission.lacks_files || b->has_noted_files)
		return;
	line = xasprintf("ktstr: the limit of open files (`ulimit -n` is %" PRIu64
			 ") lets fewer tests run at a time than there is room for: %u now",
			 b->plan.file_limit, b->scheduler.admission.n_running);
	batch_view_print(&b->view, line);
	b->has_noted_files = true;
}

static void on_judged(void *ctx, struct batch_vm *vm)
{
	struct batch *b = ctx;
	struct batch_test *entry = b->entries[vm->job];
	enum outcome outcome = outcome_of(b, vm);

	b->n_running--;
	if (vm->is_stopped) { /* by us: that says nothing about the test */
		(void)scheduler_ended(&b->scheduler, vm->job, OUTCOME_INFRA);
		set_not_run(entry, "interrupted before its end");
		return;
	}
	/* The entry first: what the scheduler starts next may be this test again. */
	vm->is_retried = scheduler_will_retry(&b->scheduler, vm->job, outcome);
	if (vm->is_retried) {
		batch_fill_attempt(entry, vm);
		say(b, entry, true);
	} else {
		batch_fill_end(entry, vm, outcome, b->start_ns);
		batch_count_add(&b->counts, entry);
		say(b, entry, false);
	}
	(void)scheduler_ended(&b->scheduler, vm->job, outcome);
	note_few_files(b);
}

static void keep_result(struct batch *b, struct batch_test *entry)
{
	CLEANUP(freep) char *folder = batch_output_folder(b->options->output, entry);
	struct error err;

	if (batch_documents_write_one(&b->result, entry, folder, &err) < 0)
		batch_test_add_note(entry, err.text, strlen(err.text));
}

static void on_gone(void *ctx, struct batch_vm *vm)
{
	struct batch *b = ctx;
	struct batch_test *entry = b->entries[vm->job];

	if (!vm->is_retried) {
		batch_fill_usage(entry, vm);
		if (b->options->output)
			keep_result(b, entry);
	}
	list_remove(&vm->node);
	(void)batch_vm_free(vm);
	stop_if_over(b);
}

/* How crowded it is now, to all that feel it: who has CPUs of his own does not, and takes them from the others. */
static void note_crowd(struct batch *b)
{
	double all = b->plan.n_cpus * b->options->overcommit, own = 0, shared = 0;
	struct list *pos;

	list_for_each (pos, &b->vms) {
		const struct batch_vm *vm = container_of(pos, struct batch_vm, node);
		const struct planned_test *t = vm->config.test;
		if (vm->state >= BATCH_VM_JUDGED)
			continue;
		if (t->spec->perf)
			own += t->cost.cpus;
		else
			shared += t->cost.cpus;
	}
	double factor = shared / (all - own) * b->options->overcommit;
	list_for_each (pos, &b->vms) {
		struct batch_vm *vm = container_of(pos, struct batch_vm, node);
		if (vm->state < BATCH_VM_JUDGED && !vm->config.test->spec->perf &&
		    vm->overcommit < factor)
			vm->overcommit = factor;
	}
}

static void launch(void *ctx, size_t job)
{
	struct batch *b = ctx;
	const struct batch_vm_config config = {
		.reactor = b->reactor,
		.backend = b->backend,
		.images = &b->plan.images,
		.test = &b->plan.tests[b->plan.jobs[job].test],
		.host = &b->plan.host,
		/* 1 was the batch's own look (batch_plan.c). */
		.cgroup_seq = b->plan.has_cgroups ? 2 + b->n_launched++ : 0,
		.wait_ns = b->options->wait_ms * NS_PER_MS,
		.slack = b->options->overcommit,
		.on_judged = on_judged,
		.on_gone = on_gone,
		.ctx = b,
	};
	struct batch_vm *vm = batch_vm_new(&config);
	struct error err;

	vm->job = job;
	list_add_tail(&b->vms, &vm->node);
	b->n_running++;
	/* Without its files a test still has its verdict. */
	if (b->options->output &&
	    batch_output_open(b->options->output, b->options, b->entries[job], vm, &err) < 0)
		run_result_add_note(&vm->result, err.text, strlen(err.text));
	batch_vm_start(vm);
	if (config.test->cost
		.cpus) /* else it changes nothing, and there may be thousands of them */
		note_crowd(b);
}

/* Signals */

/* Those up to @state: what waits for a place has not run yet. */
static void kill_vms(struct batch *b, enum batch_vm_state state)
{
	struct list *pos;

	list_for_each (pos, &b->vms) {
		struct batch_vm *vm = container_of(pos, struct batch_vm, node);
		if (vm->state <= state)
			batch_vm_kill(vm);
	}
}

static void interrupt(struct batch *b, int signal)
{
	b->result.interrupted = signal;
	scheduler_stop(&b->scheduler);
	kill_vms(b, b->n_interrupts ? BATCH_VM_JUDGED : BATCH_VM_STARTING);
	if (++b->n_interrupts == 2)
		batch_view_print(&b->view, "ktstr: interrupted: all that runs is killed");
	else if (b->n_interrupts == 1 && b->n_running > 0)
		batch_view_print(&b->view,
				 "ktstr: interrupted: no more tests start; those that run go on to "
				 "their end, another interrupt kills them");
	stop_if_over(b);
}

static void on_signal(struct reactor_op *op, int res, bool more UNUSED)
{
	struct batch *b = container_of(op, struct batch, signals);
	struct signalfd_siginfo info;

	while (res > 0 && read(b->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		interrupt(b, (int)info.ssi_signo);
}

static int open_signals(struct batch *b, struct error *err)
{
	const sigset_t ends = end_signals();

	(void)sigprocmask(SIG_BLOCK, &ends, NULL);
	(void)signal(SIGPIPE, SIG_IGN); /* a verdict does not depend on who reads it */
	b->signal_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	return b->signal_fd < 0 ? error_set(err, errno, "signalfd") : 0;
}

static void on_late_signal(int signal UNUSED)
{
}

/*
 * Nothing runs any more and the reports are still to be written. An interrupt must not lose them: all that it ends is a
 * wait for a reader, by EINTR. It has no handler else, and no SA_RESTART.
 */
static void let_signals_end_waits_only(void)
{
	const struct sigaction action = { .sa_handler = on_late_signal };
	const sigset_t ends = end_signals();

	for (int signal = 1; signal < NSIG; signal++)
		if (sigismember(&ends, signal) > 0)
			(void)sigaction(signal, &action, NULL);
	(void)sigprocmask(SIG_UNBLOCK, &ends, NULL);
}

/* Results */

static void describe_host(struct batch_result *r)
{
	struct utsname u;

	(void)uname(&u); /* cannot fail with this pointer */
	CLEANUP(freep) char *text = xasprintf("%s %s %s", u.sysname, u.release, u.machine);
	batch_set_line(&r->host, text);
}

static void describe_batch(struct batch *b)
{
	const struct test_options *o = b->options;
	struct batch_result *r = &b->result;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	r->start_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / NS_PER_US;
	batch_set_line(&r->version, KTSTR_VERSION);
	describe_host(r);
	r->seed = o->selection.seed;
	r->shard = o->selection.shard;
	r->n_shards = o->selection.n_shards;
	r->jobs = o->jobs ? (uint32_t)o->jobs : b->plan.capacity.cpus;
	r->repeat = o->selection.repeat;
	r->overcommit = o->overcommit;
}

static int add_entries(struct batch *b, struct error *err)
{
	b->entries = xcalloc(b->plan.n_jobs + 1, sizeof(struct batch_test *));
	for (size_t i = 0; i < b->plan.n_jobs; i++) {
		const struct planned_test *t = &b->plan.tests[b->plan.jobs[i].test];
		uint32_t repeat =
		    b->options->selection.repeat > 1 ? b->plan.jobs[i].iteration + 1 : 0;
		b->entries[i] =
		    batch_result_add(&b->result, t->program->path, t->spec->name, repeat);
		if (!b->entries[i])
			return error_set_usage(err, -E2BIG,
					       "more than %d tests in one batch: use --shard",
					       BATCH_TESTS_MAX);
		batch_fill_declared(b->entries[i], t);
		set_not_run(b->entries[i], "the batch ended before");
	}
	return 0;
}

/* A program without a list is a result. */
static void add_troubles(struct batch *b)
{
	for (size_t i = 0; i < b->plan.n_troubles; i++) {
		const struct batch_trouble *t = &b->plan.troubles[i];
		struct batch_test *entry =
		    batch_result_add(&b->result, t->program, "--ktstr-list", 0);
		if (!entry)
			continue;
		entry->outcome = t->outcome;
		batch_set_why(&entry->why, t->why.text, strlen(t->why.text));
		batch_count_add(&b->counts, entry);
		say(b, entry, false);
	}
}

/* Of the host, so said once and not with each test. */
static void note_no_cgroups(struct batch *b)
{
	CLEANUP(freep)
	char *line = xasprintf("ktstr: CPUs of tests with cpu_cap or perf are kept by affinity "
			       "only, not by a cgroup: %s",
			       b->plan.no_cgroups);

	if (b->plan.no_cgroups[0])
		batch_view_print(&b->view, line);
}

static void print_summary(struct batch *b)
{
	const struct batch_summary_style style = terminal_style(b->view.out.fd);
	CLEANUP(buf_fini) struct buf text = { 0 };

	batch_summary_write(&b->result, &style, &text);
	if (text.len && text.data[text.len - 1] == '\n')
		text.len--; /* print adds one */
	batch_view_print(&b->view, buf_str(&text));
}

/* Text or a document that is missing is no failure of a test; but a batch that seems well must not lack it unnoticed. */
static int exit_status(const struct batch *b, bool lacks_some)
{
	const struct batch_counts counts = batch_count(&b->result);
	int status = (int)batch_exit_status(&counts);

	if (b->n_interrupts)
		return EXIT_CODE_INTERRUPTED;
	return lacks_some && status != BATCH_EXIT_FAIL ? BATCH_EXIT_INFRA : status;
}

/* Documents first: who reads the text may never come to its end. */
static int finish(struct batch *b)
{
	struct error err;

	b->result.duration_us = (clock_now_ns() - b->start_ns) / NS_PER_US;
	int res = batch_documents_write(b->options, &b->result, &err);
	print_summary(b);
	out_queue_flush(&b->view.out);
	if (res < 0)
		(void)command_fail(&err);
	if (b->view.out.error) {
		(void)error_set(&err, b->view.out.error, "standard output");
		(void)command_fail(&err);
	}
	return exit_status(b, res < 0 || b->view.out.error);
}

/* The whole */

static void init_scheduler(struct batch *b)
{
	const struct test_options *o = b->options;

	b->costs = xcalloc(b->plan.n_jobs + 1, sizeof(*b->costs));
	for (size_t i = 0; i < b->plan.n_jobs; i++)
		b->costs[i] = b->plan.tests[b->plan.jobs[i].test].cost;
	const struct scheduler_config config = {
		.n_jobs = b->plan.n_jobs,
		.costs = b->costs,
		.limit = b->plan.capacity,
		.max_running = o->jobs ? (uint32_t)o->jobs : JOBS_MAX,
		.n_retries = (uint32_t)o->n_retries,
		.fail_fast = o->fail_fast,
		.launch = launch,
		.ctx = b,
	};
	scheduler_init(&b->scheduler, &config);
}

static int run_vms(struct batch *b, struct error *err)
{
	const struct reactor_config config = { .backend = b->backend };

	if (open_signals(b, err) < 0 || reactor_new(&config, &b->reactor, err) < 0)
		return err->code;
	out_queue_start(&b->view.out, b->reactor);
	reactor_poll(b->reactor, &b->signals, b->signal_fd, POLLIN, on_signal);
	if (b->view.is_terminal)
		reactor_timer(b->reactor, &b->draw_timer, clock_now_ns(), on_draw);
	scheduler_start(&b->scheduler);
	note_few_files(b);
	stop_if_over(b);
	(void)reactor_run(b->reactor); /* its status is always 0: the results say it all */
	reactor_end(b->reactor, &b->signals);
	reactor_end(b->reactor, &b->draw_timer);
	batch_view_clear(&b->view);
	out_queue_stop(&b->view.out);
	reactor_turn(b->reactor, 0); /* the links' memory */
	b->reactor = reactor_free(b->reactor);
	let_signals_end_waits_only();
	return 0;
}

static int list_jobs(const struct batch *b, struct error *err)
{
	for (size_t i = 0; i < b->plan.n_jobs; i++) {
		/* As the results name it, whatever is in the program's name. */
		CLEANUP(freep)
		char *id = text_line(b->plan.tests[b->plan.jobs[i].test].id, BATCH_ID_MAX);
		puts(id);
	}
	for (size_t i = 0; i < b->plan.n_troubles; i++)
		(void)command_fail(&b->plan.troubles[i].why);
	if (fflush(stdout))
		return error_set(err, errno, "standard output");
	if (b->plan.n_troubles)
		return BATCH_EXIT_FAIL;
	return b->plan.n_jobs ? BATCH_EXIT_PASS : BATCH_EXIT_NOTHING;
}

static int run_batch(struct batch *b, struct error *err)
{
	const struct test_options *o = b->options;

	if (batch_documents_check(o, err) < 0 ||
	    (o->output && batch_output_init(o->output, err) < 0) ||
	    (b->plan.n_jobs > 0 && batch_plan_prepare(o, &b->plan, err) < 0) ||
	    add_entries(b, err) < 0)
		return err->code;
	describe_batch(b);
	if (b->plan.n_jobs > 0) {
		batch_set_path(&b->result.kernel, b->plan.images.setup.entry.image);
		batch_set_line(&b->result.release, b->plan.images.setup.kernel.release);
	}
	add_troubles(b);
	note_no_cgroups(b);
	init_scheduler(b);
	if (run_vms(b, err) < 0)
		return err->code;
	return finish(b);
}

int batch_run(const struct test_options *options, uint64_t start_ns, struct error *err)
{
	struct batch b = {
		.options = options, .start_ns = start_ns, .plan = BATCH_PLAN_INIT, .signal_fd = -1
	};

	list_init(&b.vms);
	batch_result_init(&b.result);
	batch_view_init(&b.view, batch_documents_text_fd(options));
	int res = reactor_backend_parse(getenv("KTSTR_REACTOR"), &b.backend, err);
	if (res == 0)
		res = batch_plan_list(options, &b.plan, err);
	if (res == 0)
		res = options->list ? list_jobs(&b, err) : run_batch(&b, err);
	scheduler_fini(&b.scheduler);
	freep(&b.costs);
	freep(&b.entries);
	fd_closep(&b.signal_fd);
	batch_view_fini(&b.view);
	batch_result_fini(&b.result);
	batch_plan_fini(&b.plan);
	return res;
}
