/*
 * `ktstr run` and `ktstr shell`, in the order of events: options -> kernel -> can this KVM boot it?
 * -> initramfs -> artefacts -> VM process -> runner -> report.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "cli/commands.h"
#include "cli/disk.h"
#include "cli/document.h"
#include "cli/exit_code.h"
#include "cli/guest_setup.h"
#include "cli/place.h"
#include "cli/report.h"
#include "cli/run_options.h"
#include "cli/runner.h"
#include "vmm/vm_process.h"

enum {
	/* And 2 s per CPU: a large VM on a loaded host is slow to start, not stuck. */
	BOOT_TIMEOUT_S = 120,
	BOOT_TIMEOUT_PER_CPU_S = 2,
};
#define SINK_FILE_LIMIT (64 * MIB)

/* Everything a run owns; run_fini undoes whatever of it exists. */
struct run {
	const struct command_context *ctx;
	struct run_options options;
	enum reactor_backend backend;
	struct guest_setup setup;
	struct initramfs initramfs;
	struct buf cmdline;
	struct disk disk;
	struct place place;
	int relay_fd;
	char *relay_path;
	char *keep_dir;
	struct run_result result;
	struct termios saved_termios;
	bool raw_terminal;
};

/* Initramfs */

static int open_initrd(struct run *run, struct error *err)
{
	struct stat st;

	/* O_NONBLOCK: a FIFO is refused below, not waited for. */
	run->initramfs.base_fd = open(run->options.initrd, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (run->initramfs.base_fd < 0) {
		(void)error_set(err, errno, "--initrd: cannot open '%s'", run->options.initrd);
		return error_classify(err, ERROR_USAGE);
	}
	if (fstat(run->initramfs.base_fd, &st) < 0)
		return error_set(err, errno, "--initrd: '%s'", run->options.initrd);
	if (!S_ISREG(st.st_mode))
		return error_set_usage(err, -EINVAL, "--initrd: '%s' is not a regular file",
				       run->options.initrd);
	run->initramfs.base_len = (uint64_t)st.st_size;
	return 0;
}

static int prepare_initramfs(struct run *run, struct error *err)
{
	if (run->options.initrd) {
		if (open_initrd(run, err) < 0)
			return err->code;
	} else if (run->setup.kernel.is_linux) {
		if (!run->options.command[0] && !run->options.interactive)
			return error_set_usage(
			    err, -EINVAL,
			    "no command given: ktstr run [options] -- COMMAND ARGS...");
		if (guest_setup_initramfs(&run->setup, &run->options, &run->initramfs, err) < 0)
			return err->code;
	} else if (guest_setup_check_files(&run->options, &run->setup, err) < 0) {
		return err->code;
	} else if (run->options.command[0]) {
		return error_set_usage(err, -EINVAL,
				       "'%s' is not a Linux kernel: it cannot run a COMMAND",
				       run->setup.entry.image);
	} else if (run_options_has_net_pair(&run->options)) {
		return error_set_usage(err, -EINVAL,
				       "'%s' is not a Linux kernel: it cannot make --net pair",
				       run->setup.entry.image);
	}
	return 0;
}

/* Disk, artefacts, relay */

static int open_disk(struct run *run, struct error *err)
{
	const struct run_options *o = &run->options;

	if (!o->has_disk)
		return 0;
	if (disk_open(&o->disk, run->setup.cache_dir, &run->disk, err) < 0)
		return err->code;
	if (!o->disk.snapshot || run->disk.method != SCRATCH_COPIED)
		return 0;
	/* It took time and room, which a reflink does not. */
	CLEANUP(freep) char *how = disk_describe(&run->disk);
	CLEANUP(freep)
	char *note = xasprintf("--disk: '%s' was not reflinked: %s", o->disk.path, how);
	run_result_add_note(&run->result, note, strlen(note));
	return 0;
}

static int check_json(const struct run *run, struct error *err)
{
	if (run->options.json && document_check_path(run->options.json, err) < 0)
		return error_prefix(err, "--json");
	return 0;
}

static int open_sinks(struct run *run, struct error *err)
{
	struct run_result *res = &run->result;
	const char *tmp = getenv("TMPDIR");

	if (run->options.console &&
	    sink_open(&res->console, run->options.console, SINK_FILE_LIMIT, err) < 0)
		return error_prefix(err, "--console");
	if (run->options.dmesg &&
	    sink_open(&res->dmesg, run->options.dmesg, SINK_FILE_LIMIT, err) < 0)
		return error_prefix(err, "--dmesg");
	if (!run->options.keep)
		return 0;
	run->keep_dir = xasprintf("%s/ktstr-run-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(run->keep_dir)) {
		(void)error_set(err, errno, "--keep: cannot make folder '%s'", run->keep_dir);
		freep(&run->keep_dir);
		return err->code;
	}
	const struct {
		struct sink *sink;
		const char *name;
	} sinks[] = { { &res->console, "console.log" },
		      { &res->com2, "com2.log" },
		      { &res->tty, "hvc0.log" },
		      { &res->dmesg, "dmesg.log" },
		      { &res->frames, "frames.bin" } };
	for (size_t i = 0; i < ARRAY_SIZE(sinks); i++) {
		CLEANUP(freep) char *path = xasprintf("%s/%s", run->keep_dir, sinks[i].name);
		if (sinks[i].sink->fd < 0 &&
		    sink_open(sinks[i].sink, path, SINK_FILE_LIMIT, err) < 0)
			return err->code;
	}
	return 0;
}

static int open_relay(struct run *run, struct error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (!run->options.relay_guest)
		return 0;
	char *path = run->options.relay_host ? xstrdup(run->options.relay_host)
					     : xasprintf("/tmp/ktstr-relay-%d.sock", (int)getpid());
	if (strlen(path) >= sizeof(addr.sun_path)) {
		(void)error_set_usage(err, -ENAMETOOLONG,
				      "--relay: '%s' is too long for a socket path", path);
		freep(&path);
		return err->code;
	}
	memcpy(addr.sun_path, path, strlen(path) + 1);
	run->relay_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (run->relay_fd < 0 || bind(run->relay_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(run->relay_fd, 1) < 0) {
		(void)error_set(err, errno, "--relay: cannot listen at '%s'", path);
		freep(&path);
		return error_classify(err, ERROR_USAGE);
	}
	run->relay_path = path;
	fprintf(stderr, "ktstr: relay: %s is joined to %s in the guest\n", path,
		run->options.relay_guest);
	return 0;
}

/* Terminal */

static void make_terminal_raw(struct run *run)
{
	struct termios raw;

	if (!run->options.interactive || tcgetattr(STDIN_FILENO, &run->saved_termios) < 0)
		return;
	raw = run->saved_termios;
	cfmakeraw(&raw);
	run->raw_terminal = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static void restore_terminal(struct run *run)
{
	if (run->raw_terminal)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN,
				&run->saved_termios); /* nothing better to do */
	run->raw_terminal = false;
}

static void terminal_size(struct session_config *config)
{
	struct winsize ws;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) == 0) {
		config->rows = ws.ws_row;
		config->cols = ws.ws_col;
	}
}

/* The VM */

static enum vm_hugepages hugepages_of(const struct run_options *o)
{
	return o->placement.perf && o->hugepages == VM_HUGEPAGES_OFF ? VM_HUGEPAGES_TRY
								     : o->hugepages;
}

static int start_and_supervise(struct run *run, struct error *err)
{
	const struct run_options *o = &run->options;
	const struct virtio_net_config net = virtio_net_config_of("ktstr run");
	struct vm_process process = VM_PROCESS_INIT;
	uint64_t n_cpus = topology_n_cpus(&o->topology);
	struct session_config config = {
		.vm = { .kernel = &run->setup.kernel,
			.initrd_fd = run->initramfs.base_fd,
			.initrd_len = run->initramfs.base_len,
			.initrd_suffix = run->initramfs.suffix,
			.initrd_suffix_len = run->initramfs.suffix_len,
			.cmdline = buf_str(&run->cmdline),
			.topology = o->topology,
			.memory_mib = o->memory_mib,
			.hugepages = hugepages_of(o),
			.placement = place_placement(&run->place),
			.hold = o->placement.tier != PLAN_DEFAULT,
			.cpu_mask = &o->cpu_mask,
			.pit = o->pit,
			.disk = o->has_disk ? &run->disk.config : NULL,
			.net = o->net ? &net : NULL },
		.backend = run->backend,
		.confine = true,
		.relay_fd = run->relay_fd,
		.timeout_ns = o->timeout_s * NS_PER_S,
		.boot_timeout_ns = (BOOT_TIMEOUT_S + BOOT_TIMEOUT_PER_CPU_S * n_cpus) * NS_PER_S,
		.lock_fds = run->place.lock_fds,
		.n_lock_fds = run->place.n_lock_fds,
		.cgroup_fd = run->place.cgroup.is_active ? &run->place.cgroup.procs_fd : NULL,
	};
	struct runner_config runner = {
		.backend = run->backend,
		.interactive = o->interactive,
		.forward_stdin = o->forward_stdin,
		.reservation = run->place.is_taken ? &run->place.reservation : NULL,
		.deadline_ns = o->timeout_s ? clock_now_ns() + config.timeout_ns : UINT64_MAX,
	};

	if (o->interactive)
		terminal_size(&config);
	int res = vm_process_spawn(&config, &process, err);
	run->relay_fd = config.relay_fd;
	if (res < 0)
		return res;
	make_terminal_raw(run);
	res = runner_run(&runner, &process, &run->result, err);
	restore_terminal(run);
	if (run->result.has_started)
		place_note(&run->place, &run->result);
	vm_process_fini(&process);
	return res;
}

/* The end */

static int exit_code_of_run(const struct run_result *res)
{
	if (res->signal)
		return EXIT_CODE_SIGNAL + res->signal;
	return res->is_left ? EXIT_CODE_OK : exit_code_of_outcome(&res->outcome);
}

static int finish(struct run *run, struct error *err)
{
	struct run_result *res = &run->result;
	struct report report = {
		.options = &run->options,
		.result = res,
		.disk = run->options.has_disk ? &run->disk : NULL,
		.place = &run->place,
		.kernel = run->setup.entry.image,
		.release = run->setup.kernel.release,
		.start_ns = run->ctx->start_ns,
		.exit_code = exit_code_of_run(res),
	};
	int ret = 0;

	report_note_losses(res);
	report_outcome(&report);
	report.end_ns = clock_now_ns();
	if (run->options.timeline)
		report_timeline(&report);
	if (run->options.json)
		ret = report_json(&report, run->options.json, err);
	if (ret < 0)
		(void)error_prefix(err, "--json");
	if (ret == 0 && run->keep_dir) {
		CLEANUP(freep) char *path = xasprintf("%s/result.json", run->keep_dir);
		ret = report_json(&report, path, err);
		fprintf(stderr, "ktstr: artefacts are in %s\n", run->keep_dir);
	}
	return ret < 0 ? ret : report.exit_code;
}

static int end_of_wait(const struct run *run)
{
	fprintf(stderr, "ktstr: interrupted by SIG%s while it waited for CPUs\n",
		sigabbrev_np(run->place.signal));
	return EXIT_CODE_SIGNAL + run->place.signal;
}

static int run_steps(struct run *run, struct error *err)
{
	if (reactor_backend_parse(getenv("KTSTR_REACTOR"), &run->backend, err) < 0 ||
	    guest_setup_check_memory(&run->options, err) < 0 ||
	    guest_setup_kernel(&run->options, &run->setup, err) < 0 ||
	    guest_setup_check_kvm(&run->options, &run->setup, err) < 0 ||
	    place_check(&run->place, &run->options.placement, &run->options.topology,
			run->setup.cache_dir, err) < 0 ||
	    check_json(run, err) < 0 || open_disk(run, err) < 0 ||
	    prepare_initramfs(run, err) < 0 ||
	    guest_setup_memory(&run->setup, &run->initramfs, &run->options, err) < 0 ||
	    /* Last of what may take long, so that no CPU is held without being used. */
	    place_take(&run->place, run->backend, err) < 0)
		return err->code;
	if (run->place.signal)
		return end_of_wait(run);
	if (open_sinks(run, err) < 0 || open_relay(run, err) < 0)
		return err->code;
	guest_setup_cmdline(&run->options, &run->cmdline);
	run_result_add_phase(&run->result, PHASE_IMAGE_READY, clock_now_ns(), false);
	if (start_and_supervise(run, err) < 0)
		return err->code;
	return finish(run, err);
}

static void run_fini(struct run *run)
{
	restore_terminal(run);
	run_result_fini(&run->result);
	if (run->relay_path)
		(void)unlink(run->relay_path); /* ours: bind made it */
	freep(&run->relay_path);
	fd_closep(&run->relay_fd);
	disk_fini(&run->disk);
	place_fini(&run->place);
	freep(&run->keep_dir);
	buf_fini(&run->cmdline);
	initramfs_fini(&run->initramfs);
	guest_setup_fini(&run->setup);
	run_options_fini(&run->options);
}

static int run_or_shell(const struct command_context *ctx, int argc, char **argv, bool interactive)
{
	struct run run = { .ctx = ctx,
			   .setup = GUEST_SETUP_INIT,
			   .initramfs = INITRAMFS_INIT,
			   .relay_fd = -1,
			   .disk = DISK_INIT,
			   .place = PLACE_INIT };
	struct error err;
	int status;

	run_result_init(&run.result);
	run_result_add_phase(&run.result, PHASE_START, ctx->start_ns, false);
	if (run_options_parse(argc, argv, interactive, &run.options, &err) < 0) {
		status = command_fail(&err);
	} else if (run.options.help) {
		run_options_usage(interactive);
		status = EXIT_CODE_OK;
	} else {
		status = run_steps(&run, &err);
		if (status < 0)
			status = command_fail(&err);
	}
	run_fini(&run);
	return status;
}

int cmd_run(const struct command_context *ctx, int argc, char **argv)
{
	return run_or_shell(ctx, argc, argv, false);
}

int cmd_shell(const struct command_context *ctx, int argc, char **argv)
{
	return run_or_shell(ctx, argc, argv, true);
}
