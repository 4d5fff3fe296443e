/*
 * Boot to PID 1: the same Linux kernel under ktstr and under QEMU microvm, with the same CPUs, memory and arguments. One
 * of each in turn.
 *
 *	ktstr		ktstr's own initramfs (PID 1, busybox, the module loader), runs `true` and powers off
 *	ktstr, initrd	exactly what QEMU boots: an initramfs whose init says so and resets the machine
 *	qemu microvm	the same
 *
 * The first act of PID 1 is ktstr-init's "init" line in --timeline (see start_exit.c for its origin), and the text of
 * bench_init on the serial port for QEMU; for "ktstr, initrd" only the end is seen.
 */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "bench/spawn.h"
#include "options.h"
#include "stats.h"

enum {
	MEMORY_MIB = 256,
	N_CPUS = 2,
	/* --initrd brings no ktstr-init: that the guest resets itself is a failed boot to `ktstr run`. */
	STATUS_BOOT = 114,
};

/* What `ktstr run` adds by itself, so that QEMU's guest does the same work. */
#define KERNEL_ARGS                                                                                \
	"console=ttyS0 quiet panic=-1 reboot=t pci=off random.trust_cpu=on cryptomgr.notests"
/* For KVMs that interpret kernel mode (tests/lab/native-kernel/README.md). */
#define NATIVE_ARGS     "noxsave clearcpuid=popcnt,smap,erms,fsrm rodata=off"
#define NATIVE_CPU      "-cx16,-pv_send_ipi"
#define NATIVE_QEMU_CPU "host,-cx16,kvm-pv-ipi=off"

enum variant { OURS, SAME, QEMU, N_VARIANTS };

static const char *const variant_names[N_VARIANTS] = {
	[OURS] = "ktstr run -- true",
	[SAME] = "ktstr, QEMU's initramfs",
	[QEMU] = "qemu microvm",
};

enum metric { WALL, INIT, CPU, N_METRICS };

static const struct {
	const char *title, *key;
} metrics[N_METRICS] = {
	[WALL] = { "start to exit, ms", "wall_ms" },
	[INIT] = { "start to PID 1, ms", "init_ms" },
	[CPU] = { "CPU until exit, guest included, ms", "cpu_ms" },
};

struct results {
	struct dist d[N_METRICS][N_VARIANTS];
};

struct boot {
	struct bench_options o;
	const char *initrd;
	bool native;
	const char *append;
	char memory[BENCH_TEXT_MAX], topology[BENCH_TEXT_MAX], cpus[BENCH_TEXT_MAX];
};

/* Command lines; lists end at the first NULL. */

static void add_words(const char *argv[BENCH_ARGV_MAX], const char *const *words)
{
	size_t n = 0;

	while (argv[n])
		n++;
	for (; *words && n < BENCH_ARGV_MAX - 1; words++)
		argv[n++] = *words;
}

static void ktstr_argv(const struct boot *b, bool same, const char *argv[BENCH_ARGV_MAX])
{
	add_words(argv, (const char *[]){ b->o.ktstr, "run", "--timeline", "--kernel", b->o.guest,
					  "--memory", b->memory, "--topology", b->topology, NULL });
	if (b->native)
		add_words(argv, (const char *[]){ "--force", "--cpu", NATIVE_CPU, "--append",
						  NATIVE_ARGS, NULL });
	if (b->append)
		add_words(argv, (const char *[]){ "--append", b->append, NULL });
	if (same)
		add_words(argv, (const char *[]){ "--initrd", b->initrd, NULL });
	else
		add_words(argv, (const char *[]){ "--", "true", NULL });
}

static void qemu_argv(const struct boot *b, const char *args, const char *argv[BENCH_ARGV_MAX])
{
	add_words(argv, (const char *[]){ b->o.qemu,
					  "-M",
					  "microvm",
					  "-accel",
					  "kvm",
					  "-cpu",
					  b->native ? NATIVE_QEMU_CPU : "host",
					  "-nodefaults",
					  "-no-user-config",
					  "-display",
					  "none",
					  "-no-reboot",
					  "-smp",
					  b->cpus,
					  "-m",
					  b->memory,
					  "-serial",
					  "file:/proc/self/fd/1",
					  "-kernel",
					  b->o.guest,
					  "-initrd",
					  b->initrd,
					  "-append",
					  args,
					  NULL });
}

/* Running */

static double init_ms(enum variant v, const struct spawn_sample *s)
{
	if (v == OURS)
		return s->mark_ms - spawn_line_number(s->text, "exit, status") +
		       spawn_line_number(s->text, "guest: init");
	return v == QEMU ? s->mark_ms : NAN;
}

static int run_one(const struct spawn_config *config, enum variant v, bool count, struct results *r,
		   struct error *err)
{
	struct spawn_sample s;

	if (spawn_measure(config, &s, err) < 0)
		return err->code;
	double init = init_ms(v, &s);
	fprintf(stderr, "boot: %-24s %8.0f ms, PID 1 at %8.0f ms\n", variant_names[v], s.wall_ms,
		init);
	if (v != SAME && isnan(init))
		return error_set_text(err, -1, "%s: PID 1 gave no sign; it wrote: %s",
				      variant_names[v], s.text);
	if (!count)
		return 0;
	dist_add(&r->d[WALL][v], s.wall_ms);
	dist_add(&r->d[CPU][v], s.cpu_ms + s.orphan_cpu_ms);
	if (v != SAME)
		dist_add(&r->d[INIT][v], init);
	return 0;
}

static int run(const struct boot *b, struct results *r, struct error *err)
{
	const char *argv[N_VARIANTS][BENCH_ARGV_MAX] = { { NULL } };
	CLEANUP(freep)
	char *args = xasprintf("%s%s%s%s", KERNEL_ARGS, b->native ? " " NATIVE_ARGS : "",
			       b->append ? " " : "", b->append ? b->append : "");

	ktstr_argv(b, false, argv[OURS]);
	ktstr_argv(b, true, argv[SAME]);
	qemu_argv(b, args, argv[QEMU]);
	const struct spawn_config configs[N_VARIANTS] = {
		[OURS] = { argv[OURS], NULL, 0, STDERR_FILENO, "timeline" },
		[SAME] = { argv[SAME], NULL, STATUS_BOOT, -1, NULL },
		[QEMU] = { argv[QEMU], NULL, 0, STDOUT_FILENO, "bench: init" },
	};
	/* The first round fills caches: the kernel's pages, ktstr's initramfs. */
	for (uint64_t i = 0; i <= b->o.n_runs; i++)
		for (enum variant v = OURS; v < (b->o.qemu ? N_VARIANTS : QEMU); v++)
			if (run_one(&configs[v], v, i > 0, r, err) < 0)
				return err->code;
	return 0;
}

static json_t *report(const struct results *r)
{
	static const struct {
		const char *name;
		enum metric metric;
		enum variant a;
		double aim;
	} ratios[] = {
		{ "to PID 1, ktstr / qemu", INIT, OURS, 0.6 },
		{ "to exit, ktstr / qemu", WALL, OURS, 0 },
		{ "to exit, same initramfs, ktstr / qemu", WALL, SAME, 0.6 },
		{ "CPU, same initramfs, ktstr / qemu", CPU, SAME, 0 },
	};
	json_t *doc = json_object();

	for (size_t m = 0; m < N_METRICS; m++) {
		json_t *values = json_object();
		dist_print_header(metrics[m].title);
		for (size_t v = 0; v < N_VARIANTS; v++) {
			dist_print(&r->d[m][v], variant_names[v], 1);
			json_object_set_new(values, variant_names[v], dist_json(&r->d[m][v]));
		}
		json_object_set_new(doc, metrics[m].key, values);
	}
	dist_print_header("ratio, pair by pair");
	for (size_t i = 0; i < ARRAY_SIZE(ratios); i++) {
		struct dist d = { 0 };
		dist_ratio(&r->d[ratios[i].metric][ratios[i].a], &r->d[ratios[i].metric][QEMU], &d);
		dist_print_aim(&d, ratios[i].name, ratios[i].aim);
		json_object_set_new(doc, ratios[i].name, dist_json(&d));
		dist_fini(&d);
	}
	return doc;
}

/* Options of our own come before a "--", those of every benchmark after it. */
static int parse(int argc, char **argv, struct boot *b)
{
	static const struct option options[] = {
		{ "initrd", required_argument, NULL, 'i' },
		{ "append", required_argument, NULL, 'a' },
		{ "native", no_argument, NULL, 'n' },
		{ 0 },
	};
	int c;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (c == 'i')
			b->initrd = optarg;
		else if (c == 'a')
			b->append = optarg;
		else if (c == 'n')
			b->native = true;
		else
			return -1;
	}
	return b->initrd ? optind - 1 : -1;
}

int main(int argc, char **argv)
{
	struct boot b = { .o = { .n_runs = 5, .memory_mib = MEMORY_MIB } };
	struct results r = { 0 };
	struct error err;

	int skip = parse(argc, argv, &b);
	if (skip < 0) {
		fputs(
		    "usage: bench_boot --initrd FILE [--native] [--append ARGS] -- --ktstr PROGRAM "
		    "--guest KERNEL [--qemu PROGRAM] [--runs N] [--json FILE]\n",
		    stderr);
		return EXIT_FAILURE;
	}
	optind = 1;
	bench_options_parse(argc - skip, argv + skip, "Boot of Linux to PID 1.", &b.o);
	bench_need_kvm();
	(void)snprintf(b.memory, sizeof(b.memory), "%" PRIu64, b.o.memory_mib);
	(void)snprintf(b.topology, sizeof(b.topology), "1,1,%d,1", N_CPUS);
	(void)snprintf(b.cpus, sizeof(b.cpus), "%d", N_CPUS);
	if (spawn_init(&err) < 0 || run(&b, &r, &err) < 0) {
		fprintf(stderr, "boot: %s\n", err.text);
		return EXIT_FAILURE;
	}
	json_t *doc = report(&r);
	json_object_set_new(doc, "machine", json_machine());
	for (size_t m = 0; m < N_METRICS; m++)
		for (size_t v = 0; v < N_VARIANTS; v++)
			dist_fini(&r.d[m][v]);
	return json_write(doc, b.o.json) ? EXIT_SUCCESS : EXIT_FAILURE;
}
