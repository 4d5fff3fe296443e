/* One thread: NOLINTBEGIN(concurrency-mt-unsafe) getopt, exit, strerror */
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"

enum { STATUS_SKIPPED = 77, STATUS_USAGE = 64, MAX_RUNS = 100000, MAX_MEMORY_MIB = 65536 };

static NORETURN void usage(const char *name, const char *summary, int status)
{
	fprintf(status ? stderr : stdout,
		"usage: %s --ktstr PROGRAM --guest ELF [options]\n"
		"%s\n"
		"  --runs N       of each variant, interleaved\n"
		"  --memory MIB   of the guest\n"
		"  --qemu PROGRAM what to compare with; '' or absent: nothing\n"
		"  --json FILE    every figure and sample ('-': stdout)\n",
		name, summary);
	exit(status);
}

static uint64_t number(const char *what, const char *text, uint64_t max)
{
	struct error err;
	uint64_t value;

	if (num_parse_u64(what, text, 1, max, &value, &err) < 0) {
		fprintf(stderr, "bench: %s\n", err.text);
		exit(STATUS_USAGE);
	}
	return value;
}

void bench_options_parse(int argc, char **argv, const char *summary, struct bench_options *o)
{
	static const struct option options[] = {
		{ "runs", required_argument, NULL, 'r' },
		{ "memory", required_argument, NULL, 'm' },
		{ "ktstr", required_argument, NULL, 'k' },
		{ "guest", required_argument, NULL, 'g' },
		{ "qemu", required_argument, NULL, 'q' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			o->n_runs = number("--runs", optarg, MAX_RUNS);
			break;
		case 'm':
			o->memory_mib = number("--memory", optarg, MAX_MEMORY_MIB);
			break;
		case 'k':
			o->ktstr = optarg;
			break;
		case 'g':
			o->guest = optarg;
			break;
		case 'q':
			o->qemu = *optarg ? optarg : NULL;
			break;
		case 'j':
			o->json = optarg;
			break;
		case 'h':
			usage(argv[0], summary, 0);
		default:
			usage(argv[0], summary, STATUS_USAGE);
		}
	}
	if (optind < argc || !o->ktstr || !o->guest)
		usage(argv[0], summary, STATUS_USAGE);
}

void bench_need_kvm(void)
{
	CLEANUP(fd_closep) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return;
	printf("skipped: /dev/kvm: %s\n", strerror(errno));
	exit(STATUS_SKIPPED);
}

void bench_ktstr_argv(const struct bench_options *o, bool timeline, struct bench_argv *ret)
{
	*ret = (struct bench_argv){ .argv = { o->ktstr, "run", "--kernel", o->guest, "--memory" } };
	(void)snprintf(ret->memory, sizeof(ret->memory), "%" PRIu64, o->memory_mib);
	ret->argv[5] = ret->memory;
	ret->argv[6] = timeline ? "--timeline" : NULL;
}

void bench_qemu_argv(const struct bench_options *o, int mark_fd, struct bench_argv *ret)
{
	*ret = (struct bench_argv){
		.argv = { o->qemu, "-M", "microvm", "-accel", "kvm", "-nodefaults",
			  "-no-user-config", "-display", "none", "-kernel", o->guest, "-device",
			  "isa-debug-exit,iobase=0xf4", "-device",
			  "isa-debugcon,iobase=0xe9,chardev=mark", "-chardev",
			  mark_fd == STDOUT_FILENO ? "file,id=mark,path=/proc/self/fd/1"
						   : "null,id=mark",
			  "-m" },
	};
	(void)snprintf(ret->memory, sizeof(ret->memory), "%" PRIu64 "M", o->memory_mib);
	ret->argv[18] = ret->memory;
}
/* NOLINTEND(concurrency-mt-unsafe) */
