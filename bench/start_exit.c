/*
 * How long the smallest VM takes, from the start of the process to the guest's first instruction and to the process's
 * end, and what it costs: ktstr with both reactors against QEMU microvm on the same guest, and against /bin/true, below
 * which nothing can go. One of each in turn, so that all see the same machine.
 *
 * First instruction: QEMU's guest says so on its debug console. For ktstr it is read from --timeline, whose clock starts
 * in main(): the text leaves ktstr at its "exit" line, so that its arrival here gives the clock's origin.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/spawn.h"
#include "options.h"
#include "stats.h"

enum { QEMU_STATUS = 1 /* isa-debug-exit: 2 * 0 + 1 */, N_WARM_UP = 2 };

enum variant { TRUE, URING, EPOLL, TIMELINE, QEMU, N_VARIANTS };

static const char *const variant_names[N_VARIANTS] = {
	[TRUE] = "/bin/true",     [URING] = "ktstr, io_uring",
	[EPOLL] = "ktstr, epoll", [TIMELINE] = "ktstr, io_uring, --timeline",
	[QEMU] = "qemu microvm",
};

enum metric {
	WALL,
	FIRST,
	CPU_COMMAND,
	CPU_ORPHAN,
	CPU,
	CPU_TEARDOWN,
	CPU_ALL,
	TEARDOWN,
	FAULTS,
	N_METRICS
};

static const struct {
	const char *title, *key;
	int decimals;
} metrics[N_METRICS] = {
	[WALL] = { "start to exit, ms", "wall_ms", 2 },
	[FIRST] = { "start to first guest instruction, ms", "first_ms", 2 },
	[CPU_COMMAND] = { "CPU of the command, ms", "cpu_command_ms", 2 },
	[CPU_ORPHAN] = { "CPU of the VM process until then, ms", "cpu_vm_ms", 2 },
	[CPU] = { "CPU of both until exit, ms", "cpu_ms", 2 },
	[CPU_TEARDOWN] = { "CPU of the teardown after exit, ms", "cpu_teardown_ms", 2 },
	[CPU_ALL] = { "CPU of all, teardown included, ms", "cpu_all_ms", 2 },
	[TEARDOWN] = { "teardown after exit, ms", "teardown_ms", 2 },
	[FAULTS] = { "page faults of the command", "page_faults", 0 },
};

struct results {
	struct dist d[N_METRICS][N_VARIANTS];
};

static double first_ms(enum variant v, const struct spawn_sample *s)
{
	if (v == TIMELINE)
		return s->mark_ms - spawn_line_number(s->text, "exit, status") +
		       spawn_line_number(s->text, "vcpu-run");
	return v == QEMU ? s->mark_ms : NAN;
}

static void add(struct results *r, enum metric m, enum variant v, double value)
{
	if (!isnan(value))
		dist_add(&r->d[m][v], value);
}

static void add_sample(struct results *r, enum variant v, const struct spawn_sample *s)
{
	add(r, WALL, v, s->wall_ms);
	add(r, FIRST, v, first_ms(v, s));
	add(r, CPU, v, s->cpu_ms + s->orphan_cpu_ms);
	add(r, CPU_ALL, v, s->cpu_ms + s->orphan_cpu_ms + s->teardown_cpu_ms);
	add(r, FAULTS, v, (double)s->page_faults);
	if (v == TRUE || v == QEMU)
		return; /* they leave nothing behind */
	add(r, CPU_COMMAND, v, s->cpu_ms);
	add(r, CPU_ORPHAN, v, s->orphan_cpu_ms);
	add(r, CPU_TEARDOWN, v, s->teardown_cpu_ms);
	add(r, TEARDOWN, v, s->teardown_ms);
}

static int run(const struct bench_options *o, struct results *r, struct error *err)
{
	static const char *const uring[] = { "KTSTR_REACTOR=uring", NULL };
	static const char *const epoll[] = { "KTSTR_REACTOR=epoll", NULL };
	static const char *const nothing[] = { "/bin/true", NULL };
	struct bench_argv plain, timeline, qemu;
	struct spawn_sample sample;

	bench_ktstr_argv(o, false, &plain);
	bench_ktstr_argv(o, true, &timeline);
	bench_qemu_argv(o, STDOUT_FILENO, &qemu);
	const struct spawn_config variants[N_VARIANTS] = {
		[TRUE] = { nothing, NULL, 0, -1, NULL },
		[URING] = { plain.argv, uring, 0, -1, NULL },
		[EPOLL] = { plain.argv, epoll, 0, -1, NULL },
		[TIMELINE] = { timeline.argv, uring, 0, STDERR_FILENO, NULL },
		[QEMU] = { qemu.argv, NULL, QEMU_STATUS, STDOUT_FILENO, NULL },
	};
	for (uint64_t i = 0; i < o->n_runs + N_WARM_UP; i++) {
		for (enum variant v = TRUE; v < (o->qemu ? N_VARIANTS : QEMU); v++) {
			if (spawn_measure(&variants[v], &sample, err) < 0)
				return err->code;
			if (i >= N_WARM_UP)
				add_sample(r, v, &sample);
		}
	}
	return 0;
}

static const struct {
	const char *name;
	enum metric metric;
	enum variant a, b;
	double aim;
} ratios[] = {
	{ "wall, io_uring / qemu", WALL, URING, QEMU, 1.0 / 5 },
	{ "wall, epoll / qemu", WALL, EPOLL, QEMU, 1.0 / 5 },
	{ "wall, io_uring / epoll", WALL, URING, EPOLL, 0 },
	{ "wall, /bin/true / qemu", WALL, TRUE, QEMU, 0 },
	{ "first instruction, io_uring / qemu", FIRST, TIMELINE, QEMU, 0 },
	{ "CPU until exit, io_uring / qemu", CPU, URING, QEMU, 1.0 / 8 },
	{ "CPU until exit, epoll / qemu", CPU, EPOLL, QEMU, 1.0 / 8 },
	{ "CPU with teardown, io_uring / qemu", CPU_ALL, URING, QEMU, 0 },
	{ "CPU with teardown, epoll / qemu", CPU_ALL, EPOLL, QEMU, 0 },
	{ "CPU, /bin/true / qemu", CPU, TRUE, QEMU, 0 },
};

static void print_values(const struct results *r)
{
	for (size_t m = 0; m < N_METRICS; m++) {
		dist_print_header(metrics[m].title);
		for (size_t v = 0; v < N_VARIANTS; v++)
			dist_print(&r->d[m][v], variant_names[v], metrics[m].decimals);
	}
}

static json_t *values_json(const struct results *r)
{
	json_t *variants = json_object();

	for (size_t v = 0; v < N_VARIANTS; v++) {
		json_t *values = json_object();
		for (size_t m = 0; m < N_METRICS; m++)
			json_object_set_new(values, metrics[m].key, dist_json(&r->d[m][v]));
		json_object_set_new(variants, variant_names[v], values);
	}
	return variants;
}

/* Printed as they are made. */
static json_t *ratios_json(const struct results *r)
{
	json_t *list = json_object();

	dist_print_header("ratio, pair by pair");
	for (size_t i = 0; i < ARRAY_SIZE(ratios); i++) {
		struct dist d = { 0 };
		dist_ratio(&r->d[ratios[i].metric][ratios[i].a],
			   &r->d[ratios[i].metric][ratios[i].b], &d);
		dist_print_aim(&d, ratios[i].name, ratios[i].aim);
		json_t *entry =
		    json_pack("{s:f, s:o}", "aim", ratios[i].aim, "ratio", dist_json(&d));
		json_object_set_new(list, ratios[i].name, entry);
		dist_fini(&d);
	}
	return list;
}

int main(int argc, char **argv)
{
	struct bench_options o = { .n_runs = 100, .memory_mib = 16 };
	struct results r = { 0 };
	struct error err;

	bench_options_parse(argc, argv, "Start to exit of the smallest VM.", &o);
	bench_need_kvm();
	if (spawn_init(&err) < 0 || run(&o, &r, &err) < 0) {
		fprintf(stderr, "start_exit: %s\n", err.text);
		return EXIT_FAILURE;
	}
	print_values(&r);
	json_t *doc =
	    json_pack("{s:s, s:I, s:o, s:o}", "benchmark", "start_exit", "runs",
		      (json_int_t)o.n_runs, "machine", json_machine(), "variants", values_json(&r));
	json_object_set_new(doc, "ratios", ratios_json(&r));
	for (size_t m = 0; m < N_METRICS; m++)
		for (size_t v = 0; v < N_VARIANTS; v++)
			dist_fini(&r.d[m][v]);
	return json_write(doc, o.json) ? EXIT_SUCCESS : EXIT_FAILURE;
}
