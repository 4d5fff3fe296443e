#include "cli/batch_vm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "cli/promises.h"

enum {
	/* And so much per vCPU: a large VM is slow to start, not stuck. */
	BOOT_TIMEOUT_S = 120,
	BOOT_TIMEOUT_PER_CPU_MS = 2000,
	COMMAND_TIMEOUT_PER_CPU_MS = 100,
	/* Beyond all limits that the VM process itself keeps: then it is the process that hangs. */
	OVERDUE_GRACE_S = 20,
	STATUS_MAX = 16 * 1024,
};

struct batch_vm *batch_vm_new(const struct batch_vm_config *config)
{
	struct batch_vm *vm = xcalloc(1, sizeof(*vm));

	vm->config = *config;
	vm->process = VM_PROCESS_INIT;
	vm->disk = DISK_INIT;
	vm->output = SINK_INIT;
	vm->place = BATCH_PLACE_INIT;
	vm->pid_fd = -1;
	run_result_init(&vm->result);
	return vm;
}

struct batch_vm *batch_vm_free(struct batch_vm *vm)
{
	if (!vm)
		return NULL;
	collector_fini(&vm->collector);
	run_result_fini(&vm->result);
	sink_fini(&vm->output);
	disk_fini(&vm->disk);
	buf_fini(&vm->cmdline);
	freep(&vm->suffix);
	vm_process_fini(&vm->process);
	fd_closep(&vm->pid_fd);
	batch_place_fini(&vm->place);
	free(vm);
	return NULL;
}

/* The verdict */

const struct test_result *batch_vm_record(const struct batch_vm *vm)
{
	const struct test_results *tests = &vm->result.tests;

	for (struct test_result *t = NULL; (t = test_results_next(tests, t));)
		if (!t->parent && t->has_outcome && strcmp(t->name, vm->config.test->name) == 0)
			return t;
	return NULL;
}

char *batch_vm_why(const struct batch_vm *vm)
{
	const struct test_result *record = batch_vm_record(vm);
	const char *message = record && record->message ? record->message : "";
	struct buf *why = (struct buf *)(uintptr_t)&vm->result.why; /* only its NUL is added */
	const char *of_vm = buf_str(why);

	switch (vm->verdict.source) {
	case VERDICT_FROM_VM:
		return xasprintf("%.*s", (int)strcspn(of_vm, "\n"), of_vm);
	case VERDICT_FROM_RECORD:
		return xasprintf("%.*s", (int)strcspn(message, "\n"), message);
	case VERDICT_FROM_US:
		break;
	}
	return xstrdup(vm->verdict.why);
}

static void judge(struct batch_vm *vm)
{
	const struct test_result *record = batch_vm_record(vm);
	const struct frame_outcome *o = &vm->result.outcome;
	const struct verdict_input in = {
		.vm = (enum outcome)o->outcome,
		.is_usage = o->is_usage,
		.has_exit = o->has_exit,
		.exit = o->exit,
		.has_record = record != NULL,
		.record = record ? record->outcome : OUTCOME_PASS,
	};

	if (vm->state >= BATCH_VM_JUDGED)
		return;
	verdict_decide(&in, &vm->verdict);
	collector_finish(&vm->collector);
	vm->state = BATCH_VM_JUDGED;
	vm->end_ns = clock_now_ns();
	batch_place_give_up(&vm->place);
	if (!reactor_op_is_idle(&vm->overdue))
		reactor_cancel(vm->config.reactor, &vm->overdue);
	vm->config.on_judged(vm->config.ctx, vm);
}

/* The end of the process */

static void kill_process(struct batch_vm *vm)
{
	(void)cgroup_kill(&vm->place.cgroup); /* all that it may have become */
	vm_process_kill(&vm->process);        /* also before it is in there */
}

static void on_gone(struct reactor_deferred *d)
{
	struct batch_vm *vm = container_of(d, struct batch_vm, gone);

	if (!reactor_op_is_idle(&vm->exit_poll) || !reactor_op_is_idle(&vm->overdue)) {
		reactor_defer(vm->config.reactor, &vm->gone); /* a cancel is under way */
		return;
	}
	vm->state = BATCH_VM_GONE;
	vm->config.on_gone(vm->config.ctx, vm);
}

/* How the process ended is the verdict, if it sent none. */
static void end_if_over(struct batch_vm *vm)
{
	char text[128];

	if (!vm->is_reaped || !vm->is_link_closed)
		return;
	if (WIFSIGNALED(vm->wait_status))
		(void)snprintf(text, sizeof(text), "the VM process was ended by signal %d (SIG%s)",
			       WTERMSIG(vm->wait_status), sigabbrev_np(WTERMSIG(vm->wait_status)));
	else
		(void)snprintf(text, sizeof(text),
			       "the VM process ended without a verdict (status %d)",
			       WEXITSTATUS(vm->wait_status));
	run_result_fail(&vm->result, text);
	judge(vm);
	reactor_defer(vm->config.reactor, &vm->gone);
}

static void on_exit_poll(struct reactor_op *op, int res, bool more)
{
	struct batch_vm *vm = container_of(op, struct batch_vm, exit_poll);

	if (more)
		reactor_cancel(vm->config.reactor, op);
	if (vm->is_reaped || res == -ECANCELED)
		return;
	if (res < 0)
		kill_process(vm); /* nobody would tell us of its end: make it now */
	while (wait4(vm->process.pid, &vm->wait_status, 0, &vm->usage) < 0 && errno == EINTR)
		;
	vm->process.pid = 0;
	vm->is_reaped = true;
	end_if_over(vm);
}

static void close_link(struct batch_vm *vm)
{
	vm->link = link_close(vm->link);
	vm->is_link_closed = true;
	end_if_over(vm);
}

/* What it had to say has been said; a process that closed its link and stays is ended. */
static void on_closed(void *ctx, int err UNUSED)
{
	struct batch_vm *vm = ctx;

	kill_process(vm);
	close_link(vm);
}

/* Frames */

static void on_output(void *ctx, int fd UNUSED, const uint8_t *data, size_t n)
{
	struct batch_vm *vm = ctx;

	sink_write(&vm->output, data, n);
}

static void read_max_rss(struct batch_vm *vm)
{
	CLEANUP(freep) char *path = xasprintf("/proc/%d/status", (int)vm->process.pid);
	CLEANUP(buf_fini) struct buf text = { 0 };
	struct error unused;

	/* A process that is gone already has none: 0 is "not known". */
	if (file_read(path, STATUS_MAX, &text, &unused) < 0)
		return;
	const char *line = strstr(buf_str(&text), "VmHWM:");
	if (line)
		vm->max_rss_kib = strtoull(line + strlen("VmHWM:"), NULL, 10);
}

/* The process takes its VM down when the link is closed. */
static void on_outcome(void *ctx)
{
	struct batch_vm *vm = ctx;

	read_max_rss(vm);
	judge(vm);
	close_link(vm);
}

static const struct collector_ops collector_callbacks = { on_output, NULL, on_outcome };

static void on_started(struct batch_vm *vm, const struct frame *f)
{
	const struct reservation *r = &vm->place.reservation;
	struct error err;

	if (!vm->place.has_reservation || vm->result.has_started)
		return;
	int res = promises_check(&vm->result, f, vm->process.pid, r, vm->link, &err);
	promises_note(r, &vm->result);
	if (vm->place.cgroup.note[0])
		run_result_add_note(&vm->result, vm->place.cgroup.note,
				    strlen(vm->place.cgroup.note));
	if (res < 0) {
		run_result_fail(&vm->result, err.text);
		kill_process(vm);
	}
}

static void on_frame(void *ctx, const struct frame *f)
{
	struct batch_vm *vm = ctx;

	if (f->header.type == FRAME_VM_STARTED) {
		on_started(vm, f);
		return;
	}
	collector_add(&vm->collector, f);
	if (f->header.type == FRAME_PHASE || f->header.type == FRAME_VM_PHASE)
		vm->phase = vm->result.n_phases ? vm->result.phases[vm->result.n_phases - 1].phase
						: PHASE_START;
}

static const struct link_ops link_callbacks = { on_frame, NULL, on_closed };

/* Start */

static uint64_t limit_ns(const struct batch_vm *vm, uint64_t base_s, uint64_t per_cpu_ms)
{
	uint64_t n_cpus = topology_n_cpus(&vm->config.test->options.topology);
	uint64_t ns = base_s * NS_PER_S + n_cpus * per_cpu_ms * NS_PER_MS;

	return (uint64_t)((double)ns * vm->config.slack);
}

static int spawn(struct batch_vm *vm, struct error *err)
{
	const struct planned_test *test = vm->config.test;
	const struct run_options *o = &test->options;
	const struct initramfs *base = &vm->config.images->bases[test->base];
	const struct virtio_net_config net = virtio_net_config_of("ktstr run");
	const struct kernel_image *kernel = &vm->config.images->setup.kernel;
	const struct arch_supported *supported = &vm->config.images->supported;
	const struct reservation *place = &vm->place.reservation;
	CLEANUP(freep) int *locks = xcalloc(place->plan->n_locks + 1, sizeof(int));
	size_t suffix_len = 0;

	if (o->has_disk &&
	    disk_open(&o->disk, vm->config.images->setup.cache_dir, &vm->disk, err) < 0)
		return err->code;
	if (kernel->is_linux && guest_setup_suffix(base, o, &vm->suffix, &suffix_len, err) < 0)
		return err->code;
	guest_setup_cmdline(o, &vm->cmdline);
	const struct session_config config = {
		.vm = { .kernel = kernel,
			.initrd_fd = base->base_fd,
			.initrd_len = base->base_len,
			.initrd_suffix = vm->suffix,
			.initrd_suffix_len = suffix_len,
			.cmdline = buf_str(&vm->cmdline),
			.topology = o->topology,
			.memory_mib = o->memory_mib,
			.hugepages = test->spec->perf ? VM_HUGEPAGES_TRY : VM_HUGEPAGES_OFF,
			.placement = &place->placement,
			.hold = batch_place_is_promised(&vm->place),
			.cpu_mask = &o->cpu_mask,
			.supported = supported->len ? supported : NULL,
			.disk = o->has_disk ? &vm->disk.config : NULL,
			.net = o->net ? &net : NULL },
		.backend = vm->config.backend,
		.relay_fd = -1,
		.boot_timeout_ns = vm->boot_timeout_ns,
		.command_timeout_ns = vm->command_timeout_ns,
		.timeout_ns = vm->boot_timeout_ns + vm->command_timeout_ns,
		.has_init = true,
		.confine = true,
		.lock_fds = locks,
		.n_lock_fds = reservation_lock_fds(place, locks),
		.cgroup_fd = vm->place.cgroup.is_active ? &vm->place.cgroup.procs_fd : NULL,
	};
	if (vm_process_exec(vm->config.images->vm_program_fd, &config, &vm->process, err) < 0)
		return err->code;
	vm->state = BATCH_VM_RUNNING;
	return batch_place_keep(&vm->place, vm->process.pid, err);
}

static void on_overdue(struct reactor_op *op, int res, bool more UNUSED)
{
	struct batch_vm *vm = container_of(op, struct batch_vm, overdue);

	if (res < 0 || vm->state != BATCH_VM_RUNNING)
		return;
	run_result_fail(&vm->result, "the VM process did not end in time and was killed");
	kill_process(vm);
}

static int start(struct batch_vm *vm, struct error *err)
{
	struct reactor *r = vm->config.reactor;

	vm->start_ns = clock_now_ns(); /* the wait for a place is none of the test's time */
	vm->boot_timeout_ns = limit_ns(vm, BOOT_TIMEOUT_S, BOOT_TIMEOUT_PER_CPU_MS);
	vm->command_timeout_ns =
	    limit_ns(vm, vm->config.test->options.timeout_s, COMMAND_TIMEOUT_PER_CPU_MS);
	if (spawn(vm, err) < 0)
		return err->code;
	vm->pid_fd = (int)syscall(SYS_pidfd_open, vm->process.pid, 0);
	if (vm->pid_fd < 0)
		return error_set(err, errno, "pidfd_open");
	if (link_new(r, vm->process.link_fd, &link_callbacks, vm, &vm->link, err) < 0)
		return err->code;
	vm->process.link_fd = -1;
	reactor_poll(r, &vm->exit_poll, vm->pid_fd, POLLIN, on_exit_poll);
	reactor_timer(r, &vm->overdue,
		      vm->start_ns + vm->boot_timeout_ns + vm->command_timeout_ns +
			  OVERDUE_GRACE_S * NS_PER_S,
		      on_overdue);
	return 0;
}

static void on_failed_start(struct reactor_deferred *d)
{
	struct batch_vm *vm = container_of(d, struct batch_vm, failed_start);

	if (vm->process.pid > 0) {
		kill_process(vm);
		(void)vm_process_wait(&vm->process);
	}
	judge(vm);
	reactor_defer(vm->config.reactor, &vm->gone);
}

/* As a VM process that fails to build its VM would say it. */
static void fail_start(struct batch_vm *vm, const struct error *err)
{
	run_result_fail(&vm->result, err->text);
	if (err->class == ERROR_SKIP)
		vm->result.outcome.outcome = OUTCOME_SKIP;
	vm->result.outcome.is_usage =
	    err->class == ERROR_USAGE || err->class == ERROR_UNREPRESENTABLE;
	reactor_defer(vm->config.reactor, &vm->failed_start);
}

/* They are in the VM process now, which holds its own. */
static void drop_handed_over(struct batch_vm *vm)
{
	disk_fini(&vm->disk);
	freep(&vm->suffix);
}

static void on_place(struct reservation *r, int res)
{
	struct batch_vm *vm = container_of(r, struct batch_vm, place.reservation);
	struct error err;

	if (res < 0)
		fail_start(vm, &r->err);
	else if (batch_place_taken(&vm->place, vm->config.cgroup_seq, &err) < 0 ||
		 start(vm, &err) < 0)
		fail_start(vm, &err);
	drop_handed_over(vm);
}

void batch_vm_start(struct batch_vm *vm)
{
	const struct batch_vm_config *c = &vm->config;

	collector_init(&vm->collector, &vm->result, &collector_callbacks, vm);
	vm->gone.fn = on_gone;
	vm->failed_start.fn = on_failed_start;
	vm->start_ns = clock_now_ns();
	if (c->test->is_decided) {
		fail_start(vm, &c->test->why_not);
		return;
	}
	vm->place.has_reservation = true;
	reservation_start(&vm->place.reservation, c->reactor, c->host, &c->test->request,
			  c->wait_ns, on_place);
}

void batch_vm_kill(struct batch_vm *vm)
{
	vm->is_stopped |= vm->state < BATCH_VM_JUDGED;
	if (vm->state == BATCH_VM_STARTING && vm->place.has_reservation)
		reservation_cancel(&vm->place.reservation);
	kill_process(vm);
}
