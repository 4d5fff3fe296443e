/*
 * `ktstr bench`: what disk and network give in a VM, beside QEMU and the bare host, and what a batch costs. The machinery
 * is in src/bench; here are its inputs: this program, its embedded guest, the file to read, programs to
 * compare with. VMs run in processes of their own, `ktstr run` and `ktstr test`.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"
#include "bench/batch_suite.h"
#include "bench/scratch.h"
#include "bench/suite.h"
#include "cli/bench_options.h"
#include "cli/commands.h"
#include "cli/document.h"
#include "cli/end_signals.h"
#include "cli/exit_code.h"
#include "image/program.h"
#include "image/stamps.h"
#include "vmm/kvm.h"

extern const uint8_t bench_guest_begin[], bench_guest_end[];

enum { PROC_PATH_MAX = 64 };

struct bench {
	struct bench_options options;
	int guest_fd, signal_fd;
	struct scratch scratch;
	char guest[PROC_PATH_MAX];
	char *qemu, *fio; /* found; NULL: without */
	struct buf text;
	int signal;
};

static void bench_fini(struct bench *b)
{
	scratch_fini(&b->scratch);
	fd_closep(&b->guest_fd);
	fd_closep(&b->signal_fd);
	freep(&b->qemu);
	freep(&b->fio);
	buf_fini(&b->text);
}

static int check_kvm(struct error *err)
{
	CLEANUP(fd_closep) int fd = kvm_open(err);

	return fd < 0 ? fd : 0;
}

/* The embedded guest as a file, by a name that children can open. */
static int place_guest(struct bench *b, struct error *err)
{
	b->guest_fd = memfd_create("ktstr-bench-guest", MFD_CLOEXEC);
	int res = b->guest_fd < 0 ? -errno
				  : fd_write_all(b->guest_fd, bench_guest_begin,
						 (size_t)(bench_guest_end - bench_guest_begin));
	if (res < 0)
		return error_set(err, res, "memfd");
	(void)snprintf(b->guest, sizeof(b->guest), "/proc/%d/fd/%d", (int)getpid(), b->guest_fd);
	return 0;
}

/* SIGINT, SIGTERM and SIGHUP end what runs, then us. */
static int take_signals(struct bench *b, struct error *err)
{
	const sigset_t set = end_signals();

	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return error_set(err, errno, "sigprocmask");
	b->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return b->signal_fd < 0 ? error_set(err, errno, "signalfd") : 0;
}

/* @wanted "": none. Without one that was not named (NULL) we measure without; a named one must be there. */
static int find_tool(const char *option, const char *wanted, const char *usual, char **ret,
		     struct error *err)
{
	const char *name = wanted ? wanted : usual;
	const char *search = getenv("PATH");
	struct stamps stamps = { 0 };

	if (!*name)
		return 0;
	if (strchr(name, '/'))
		*ret = access(name, X_OK) == 0 ? xstrdup(name) : NULL;
	else
		*ret = program_find(&stamps, search ? search : "", name);
	stamps_fini(&stamps);
	if (*ret || !wanted)
		return 0;
	return error_set_usage(err, -ENOENT, "%s: there is no program '%s'", option, wanted);
}

static int find_tools(struct bench *b, struct error *err)
{
	const struct bench_options *o = &b->options;

	if (!o->suite) /* a batch has nobody beside it */
		return 0;
	int res = find_tool("--qemu", o->qemu, "qemu-system-x86_64", &b->qemu, err);
	return res < 0 ? res : find_tool("--fio", o->fio, "fio", &b->fio, err);
}

static int open_file(struct bench *b, struct error *err)
{
	const struct bench_options *o = &b->options;
	const char *tmp = getenv("TMPDIR");
	const char *dir = o->dir ? o->dir : tmp && *tmp ? tmp : ".";

	if (!o->suite || !o->suite->has_disk)
		return 0;
	int res = o->file ? scratch_open(o->file, &b->scratch, err)
			  : scratch_make(dir, o->size_mib * MIB, &b->scratch, err);
	if (res == 0 && b->scratch.note)
		buf_printf(&b->text, "Note: %s\n", b->scratch.note);
	return res;
}

static void show_progress(const char *text)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "ktstr bench: %s\n", text);
}

#define OURSELVES "/proc/self/exe"

static int measure_batches(struct bench *b, json_t **ret_doc, struct error *err)
{
	const struct batch_suite_config config = {
		.vms = { .ktstr = OURSELVES, .guest = b->guest, .signal_fd = b->signal_fd },
		.jobs = b->options.jobs,
		.n_runs = (unsigned)b->options.n_runs,
		.n_vms = (unsigned)b->options.n_vms,
		.seconds = b->options.seconds,
		.progress = show_progress,
	};

	return batch_suite_run(&config, &b->text, ret_doc, &b->signal, err);
}

static int measure_devices(struct bench *b, json_t **ret_doc, struct error *err)
{
	const struct suite *suite = b->options.suite;
	const struct arch_device_slot *slot =
	    suite->has_net ? &arch_machine.net : &arch_machine.blk;
	CLEANUP(freep)
	char *words = xasprintf("virtio_mmio.device=4K@0x%" PRIx64 ":%u", slot->base, slot->gsi);
	const struct suite_config config = {
		.machine = { .ktstr = OURSELVES,
			     .ktstr_words = words,
			     .qemu = b->qemu,
			     .guest = b->guest,
			     .disk = suite->has_disk ? b->scratch.path : NULL,
			     .has_net = suite->has_net,
			     .signal_fd = b->signal_fd },
		.fio = b->fio,
		.n_runs = (unsigned)b->options.n_runs,
		.seconds = b->options.seconds,
		.progress = show_progress,
	};

	return suite_run(suite, &config, &b->text, ret_doc, &b->signal, err);
}

static int bench_steps(struct bench *b, struct error *err)
{
	const struct bench_options *o = &b->options;
	json_t *doc = NULL;

	if ((o->json && document_check_path(o->json, err) < 0) || find_tools(b, err) < 0 ||
	    check_kvm(err) < 0 || place_guest(b, err) < 0 || open_file(b, err) < 0 ||
	    take_signals(b, err) < 0)
		return err->code;
	if ((o->suite ? measure_devices(b, &doc, err) : measure_batches(b, &doc, err)) < 0)
		return err->code;
	bool is_table_wanted = !o->json || strcmp(o->json, "-") != 0;
	/* The document first: who reads the table may be gone. */
	int status = EXIT_CODE_OK;
	if (o->json)
		status = document_write(doc, o->json, err);
	else
		json_decref(doc);
	if (status != EXIT_CODE_OK || !is_table_wanted)
		return status;
	int res = fd_write_all(STDOUT_FILENO, b->text.data, b->text.len);
	return res < 0 ? error_set(err, res, "standard output") : EXIT_CODE_OK;
}

int cmd_bench(const struct command_context *ctx UNUSED, int argc, char **argv)
{
	struct bench b = { .guest_fd = -1, .signal_fd = -1, .scratch = SCRATCH_INIT };
	struct error err;
	int status;

	if (bench_options_parse(argc, argv, &b.options, &err) < 0) {
		status = command_fail(&err);
	} else if (b.options.help) {
		bench_options_usage();
		status = EXIT_CODE_OK;
	} else {
		status = bench_steps(&b, &err);
		if (status < 0 && b.signal)
			status = EXIT_CODE_SIGNAL + b.signal;
		else if (status < 0)
			status = command_fail(&err);
	}
	bench_fini(&b);
	return status;
}
