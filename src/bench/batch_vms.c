/* See batch_vms.h. What runs to its end; batch_idle.c has what sleeps. */
#include "bench/batch_vms.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "bench/capture.h"
#include "bench/cpu_use.h"

enum { TIMEOUT_BASE_S = 120, TIMEOUT_PER_VM_S = 1 };

int batch_program_make(unsigned n, struct batch_program *ret, struct error *err)
{
	CLEANUP(buf_fini) struct buf text = { 0 };

	buf_printf(&text, "#!/bin/sh\ncat <<END\n{\"ktstr_list\":1,\"n_tests\":%u}\n", n);
	for (unsigned i = 0; i < n; i++)
		buf_printf(&text, "{\"name\":\"%u\",\"memory_mib\":16}\n", i);
	buf_append_str(&text, "END\n");
	int fd = fd_program("ktstr-bench-tests", text.data, text.len);
	if (fd < 0)
		return error_set(err, fd, "a program in memory");
	ret->fd = fd;
	(void)snprintf(ret->path, sizeof(ret->path), "/proc/%d/fd/%d", (int)getpid(), ret->fd);
	return 0;
}

void batch_program_fini(struct batch_program *p)
{
	fd_closep(&p->fd);
}

void batch_vms_cpus(struct id_set *ret)
{
	*ret = (struct id_set){ 0 };
	/* The words are the kernel's; it fails for no set of this size. */
	(void)sched_getaffinity(0, sizeof(ret->words), (cpu_set_t *)(void *)ret->words);
}

static double sum(const json_t *tests, const char *key)
{
	double total = 0;
	const json_t *test;
	size_t i;

	json_array_foreach (tests, i, test)
		total +=
		    json_number_value(json_object_get(json_object_get(test, "resources"), key));
	return total;
}

static double largest(const json_t *tests, const char *key)
{
	double max = 0;
	const json_t *test;
	size_t i;

	json_array_foreach (tests, i, test)
		max = fmax(max, json_number_value(
				    json_object_get(json_object_get(test, "resources"), key)));
	return max;
}

/* Which test did not pass, and why: that says more than the command's status. */
static void explain(const struct capture *c, struct error *err)
{
	json_t *doc = json_loads((const char *)c->out.data, 0, NULL);
	const json_t *test;
	size_t i;

	json_array_foreach (json_object_get(doc, "tests"), i, test) {
		const char *outcome = json_string_value(json_object_get(test, "outcome"));
		const char *why = json_string_value(json_object_get(test, "why"));
		if (!outcome || !why || strcmp(outcome, "PASS") == 0)
			continue;
		(void)error_set_text(err, err->code, "%s: %.*s", outcome, (int)strcspn(why, "\n"),
				     why);
		break;
	}
	json_decref(doc);
}

static int read_document(const struct capture *c, unsigned n_vms, struct batch_sample *s,
			 struct error *err)
{
	json_t *doc = json_loads((const char *)c->out.data, 0, NULL);
	const json_t *tests = json_object_get(doc, "tests");

	if (json_array_size(tests) != n_vms) {
		json_decref(doc);
		return error_set_text(err, -EBADMSG, "the batch's document does not have %u tests",
				      n_vms);
	}
	s->vms_cpu_s = (sum(tests, "user_us") + sum(tests, "system_us")) / 1e6;
	s->max_rss_kib = largest(tests, "max_rss_kib");
	json_decref(doc);
	return 0;
}

int batch_vms_run(const struct batch_vms_setup *setup, unsigned n_vms, unsigned jobs,
		  struct batch_sample *ret, int *ret_signal, struct error *err)
{
	CLEANUP(batch_program_fini) struct batch_program program = BATCH_PROGRAM_INIT;
	CLEANUP(capture_fini) struct capture capture = { 0 };
	char jobs_text[16], overcommit[16];
	struct id_set cpus;

	batch_vms_cpus(&cpus);
	if (batch_program_make(n_vms, &program, err) < 0)
		return err->code;
	(void)snprintf(jobs_text, sizeof(jobs_text), "%u", jobs);
	(void)snprintf(overcommit, sizeof(overcommit), "%g",
		       fmax(1, (double)jobs / id_set_count(&cpus)));
	const char *const argv[] = { setup->ktstr, "test",    "--kernel",     setup->guest,
				     "--append",   "op=test", "--jobs",       jobs_text,
				     "--json",     "-",       "--overcommit", overcommit,
				     program.path, NULL };
	const struct capture_config config = {
		.spawn = { .argv = argv, .mark_fd = -1 },
		.timeout_ns = (TIMEOUT_BASE_S + n_vms * TIMEOUT_PER_VM_S) * NS_PER_S,
		.signal_fd = setup->signal_fd,
	};
	struct batch_sample s = { 0 };
	double idle_s = cpu_use_idle_s(&cpus);

	int res = capture_run(&config, &capture, err);
	*ret_signal = capture.signal;
	s.idle_s = cpu_use_idle_s(&cpus) - idle_s;
	if (res == -ECHILD)
		explain(&capture, err);
	if (res < 0 || read_document(&capture, n_vms, &s, err) < 0)
		return error_prefix(err, "batch of %u VMs, %u at a time", n_vms, jobs);
	s.wall_s = capture.wall_ms / 1e3;
	s.runner_cpu_s = capture.cpu_ms / 1e3 - s.vms_cpu_s;
	*ret = s;
	return 0;
}
