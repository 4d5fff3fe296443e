/*
 * ktstr: command line to configuration. The only folder that prints errors and chooses exit
 * statuses.
 *
 *	main.c		finds the subcommand
 *	cmd_run.c	run, shell: kernel -> initramfs -> VM process -> verdict (runner.c,
 *			report.c)
 *	cmd_test.c	a batch of tests (batch.c), each in a VM of its own (batch_vm.c)
 *	cmd_report.c	results of batches
 *	cmd_kernel.c	the kernel cache
 *	cmd_plan.c	where a VM would run
 *	cmd_locks.c	locks, cleanup: who holds what of this host
 *	cmd_doctor.c	what this host can do
 *	cmd_topo.c	topologies
 *	cmd_bench.c	measurements, beside QEMU and the bare host
 *	vmm_main.c	another program: the VM process of a batch
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/exit_code.h"

static const struct {
	const char *name;
	int (*run)(const struct command_context *ctx, int argc, char **argv);
	const char *summary; /* NULL: not for users */
} commands[] = {
	{ "run", cmd_run, "run a command in a VM and exit with its status" },
	{ "shell", cmd_shell, "an interactive shell in a VM" },
	{ "test", cmd_test, "run the tests of programs, each in a VM, many at a time" },
	{ "report", cmd_report, "show, merge, export or compare results of batches" },
	{ "kernel", cmd_kernel, "list, add, fetch or locate kernels" },
	{ "topo", cmd_topo, "show what a host has or a guest sees; list presets" },
	{ "plan", cmd_plan, "tell where a VM would run on this host or another" },
	{ "locks", cmd_locks, "tell who holds which CPUs and caches of this host" },
	{ "cleanup", cmd_cleanup, "remove lock files and cgroups of the dead" },
	{ "doctor", cmd_doctor, "tell what this host can do, and what it lacks" },
	{ "vmm", cmd_vmm, NULL },
	{ "bench", cmd_bench, "measure devices, beside QEMU and the bare host, and batches" },
};

static int usage(FILE *to, int status)
{
	fputs("usage: ktstr COMMAND [options]\n", to);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].summary)
			fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fputs("`ktstr COMMAND --help` tells more; so does ktstr(1).\n", to);
	return status;
}

int command_fail(const struct error *err)
{
	char text[ERROR_TEXT_MAX];
	size_t n = 0;

	/* One line, whatever a file's name holds. */
	for (; err->text[n]; n++) {
		text[n] = err->text[n];
		if ((unsigned char)text[n] < ' ' || text[n] == 0x7f)
			text[n] = '?';
	}
	text[n] = 0;
	fprintf(stderr, "ktstr: %s\n", text);
	return exit_code_of_error(err);
}

/*
 * Without this a socket or file of ours would become descriptor 1, and take what is meant for the
 * user.
 */
static void hold_standard_streams(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null",
				   O_RDWR); /* takes the lowest free number: this one */
}

/*
 * When the process began, on CLOCK_MONOTONIC: what it computed until now was the exec and the dynamic loader, which
 * waited for nothing. (/proc/self/stat knows it in clock ticks of 10 ms only.)
 */
static uint64_t process_start_ns(void)
{
	struct timespec used = { 0 };

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return clock_now_ns() - (uint64_t)used.tv_sec * NS_PER_S - (uint64_t)used.tv_nsec;
}

int main(int argc, char **argv)
{
	const struct command_context ctx = { .start_ns = process_start_ns() };

	hold_standard_streams();
	/* Past the limit on file sizes a write fails, a guest's to its disk, too; it does not end us. */
	(void)signal(SIGXFSZ, SIG_IGN);
	log_init();
	if (argc < 2)
		return usage(stderr, EXIT_CODE_USAGE);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
		return usage(stdout, EXIT_CODE_OK);
	if (strcmp(argv[1], "--version") == 0) {
		puts("ktstr " KTSTR_VERSION);
		return EXIT_CODE_OK;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(&ctx, argc - 1, argv + 1);
	fprintf(stderr, "ktstr: unknown command '%s'\n", argv[1]);
	return usage(stderr, EXIT_CODE_USAGE);
}
