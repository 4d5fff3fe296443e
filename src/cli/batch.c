#include "cli/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "cli/batch_plan.h"
#include "cli/batch_vm.h"
#include "harness/scheduler.h"

/* Until a batch is over it is as wide as its CPUs. */
enum { DEFAULT_JOBS_MAX = 4096 };

struct batch {
	const struct test_options *options;
	struct batch_plan plan;
	struct admission_cost *costs; /* by job */
	struct scheduler scheduler;
	enum reactor_backend backend;
	struct reactor *reactor;
	struct list vms; /* until they are gone */
	int signal_fd;
	struct reactor_op signals;
	unsigned n_interrupts;
	uint64_t counts[N_OUTCOMES];
	uint64_t n_retries, n_cancelled;
};

/* Results */

static void add_result(struct batch *b, const char *name, enum outcome outcome, double seconds,
		       const char *why)
{
	b->counts[outcome]++;
	printf("%-12s %s  %.2f s%s%s\n", outcome_name(outcome), name, seconds, *why ? ": " : "",
	       why);
	(void)fflush(stdout);
}

static enum outcome final_outcome(const struct batch *b, enum outcome outcome)
{
	return outcome == OUTCOME_SKIP && b->options->no_skip ? OUTCOME_FAIL : outcome;
}

/* VMs */

static void stop_if_over(struct batch *b)
{
	if (scheduler_is_over(&b->scheduler) && list_is_empty(&b->vms))
		reactor_stop(b->reactor, 0);
}

static void on_phase(void *ctx UNUSED, struct batch_vm *vm UNUSED)
{
}

static void on_judged(void *ctx, struct batch_vm *vm)
{
	struct batch *b = ctx;
	const struct planned_test *test = vm->config.test;
	enum outcome outcome = final_outcome(b, vm->verdict.outcome);
	double seconds = (double)(vm->end_ns - vm->start_ns) / (double)NS_PER_S;
	CLEANUP(freep) char *why = batch_vm_why(vm);

	if (vm->is_stopped) {
		b->n_cancelled++;
		(void)scheduler_ended(&b->scheduler, vm->job, OUTCOME_INFRA);
		return;
	}
	if (scheduler_ended(&b->scheduler, vm->job, outcome)) {
		b->n_retries++;
		printf("RETRY        %s: %s\n", test->name, why);
		return;
	}
	add_result(b, test->name, outcome, seconds, why);
}

static void on_gone(void *ctx, struct batch_vm *vm)
{
	struct batch *b = ctx;

	list_remove(&vm->node);
	(void)batch_vm_free(vm);
	stop_if_over(b);
}

static void launch(void *ctx, size_t job)
{
	struct batch *b = ctx;
	const struct batch_vm_config config = {
		.reactor = b->reactor,
		.backend = b->backend,
		.images = &b->plan.images,
		.test = &b->plan.tests[b->plan.jobs[job].test],
		.slack = b->options->overcommit,
		.on_phase = on_phase,
		.on_judged = on_judged,
		.on_gone = on_gone,
		.ctx = b,
	};
	struct batch_vm *vm = batch_vm_new(&config);

	vm->job = job;
	list_add_tail(&b->vms, &vm->node);
	batch_vm_start(vm);
}

/* Signals */

static void kill_all(struct batch *b)
{
	struct list *pos;

	list_for_each (pos, &b->vms)
		batch_vm_kill(container_of(pos, struct batch_vm, node));
}

static void interrupt(struct batch *b)
{
	b->n_interrupts++;
	b->n_cancelled += b->scheduler.n_waiting;
	scheduler_stop(&b->scheduler);
	if (b->n_interrupts > 1)
		kill_all(b);
	else
		fprintf(stderr, "ktstr: interrupted: no more tests start; once more kills those "
				"that run\n");
	stop_if_over(b);
}

static void on_signal(struct reactor_op *op, int res, bool more UNUSED)
{
	struct batch *b = container_of(op, struct batch, signals);
	struct signalfd_siginfo info;

	while (res > 0 && read(b->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		interrupt(b);
}

static int open_signals(struct batch *b, sigset_t *old, struct error *err)
{
	sigset_t ends;

	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGINT);
	(void)sigaddset(&ends, SIGTERM);
	(void)sigaddset(&ends, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &ends, old);
	b->signal_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	return b->signal_fd < 0 ? error_set(err, errno, "signalfd") : 0;
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
		.max_running = o->jobs ? (uint32_t)o->jobs : DEFAULT_JOBS_MAX,
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
	sigset_t old;

	if (open_signals(b, &old, err) < 0 || reactor_new(&config, &b->reactor, err) < 0)
		return err->code;
	reactor_poll(b->reactor, &b->signals, b->signal_fd, POLLIN, on_signal);
	scheduler_start(&b->scheduler);
	stop_if_over(b);
	(void)reactor_run(b->reactor);
	reactor_cancel(b->reactor, &b->signals);
	while (!reactor_op_is_idle(&b->signals))
		reactor_turn(b->reactor, UINT64_MAX);
	reactor_turn(b->reactor, 0); /* the links' memory */
	b->reactor = reactor_free(b->reactor);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	return 0;
}

static void print_summary(const struct batch *b, uint64_t start_ns)
{
	printf("ktstr:");
	for (size_t i = 0; i < N_OUTCOMES; i++)
		if (b->counts[i])
			printf(" %" PRIu64 " %s,", b->counts[i], outcome_name((uint32_t)i));
	if (b->n_cancelled)
		printf(" %" PRIu64 " not run,", b->n_cancelled);
	printf(" %.2f s\n", (double)(clock_now_ns() - start_ns) / (double)NS_PER_S);
}

static void list_jobs(const struct batch *b)
{
	for (size_t i = 0; i < b->plan.n_jobs; i++)
		puts(b->plan.tests[b->plan.jobs[i].test].spec->name);
}

static int run_steps(struct batch *b, uint64_t start_ns, struct error *err)
{
	if (reactor_backend_parse(getenv("KTSTR_REACTOR"), &b->backend, err) < 0 ||
	    batch_plan_list(b->options, &b->plan, err) < 0)
		return err->code;
	for (size_t i = 0; i < b->plan.n_troubles; i++)
		add_result(b, b->plan.troubles[i].name, b->plan.troubles[i].outcome, 0,
			   b->plan.troubles[i].why.text);
	if (b->options->list) {
		list_jobs(b);
		return (int)exit_rule(b->counts, false);
	}
	if (b->plan.n_jobs > 0) {
		if (batch_plan_prepare(b->options, &b->plan, err) < 0)
			return err->code;
		init_scheduler(b);
		if (run_vms(b, err) < 0)
			return err->code;
	}
	print_summary(b, start_ns);
	return (int)exit_rule(b->counts, b->n_interrupts > 0);
}

int batch_run(const struct test_options *options, uint64_t start_ns, struct error *err)
{
	struct batch b = { .options = options, .plan = BATCH_PLAN_INIT, .signal_fd = -1 };

	list_init(&b.vms);
	int res = run_steps(&b, start_ns, err);
	scheduler_fini(&b.scheduler);
	freep(&b.costs);
	fd_closep(&b.signal_fd);
	batch_plan_fini(&b.plan);
	return res;
}
