#include "cli/batch_fill.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/topology_text.h"

static uint64_t us_between(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (to_ns - from_ns) / NS_PER_US : 0;
}

void batch_fill_declared(struct batch_test *entry, const struct planned_test *test)
{
	struct batch_declared *d = &entry->declared;
	const struct test_spec *spec = test->spec;
	CLEANUP(buf_fini) struct buf topology = { 0 };

	if (test->options.topology.n_nodes)
		topology_format(&test->options.topology, &topology);
	else
		buf_append_str(&topology, spec->topology ? spec->topology : "");
	batch_set_line(&d->topology, buf_str(&topology));
	batch_set_line(&d->disk_fs, spec->disk_fs);
	d->memory_mib = (uint32_t)test->options.memory_mib;
	d->timeout_s = (uint32_t)test->options.timeout_s;
	d->cpu_cap = test->cpu_cap;
	d->disk_mib = spec->disk_mib;
	d->perf = spec->perf;
	d->net = spec->net;
}

void batch_fill_attempt(struct batch_test *entry, const struct batch_vm *vm)
{
	CLEANUP(freep) char *why = batch_vm_why(vm);

	batch_test_add_attempt(entry, why, strlen(why), us_between(vm->start_ns, vm->end_ns));
}

/* The kernel's words are a reason of more than one line. */
static void fill_texts(struct batch_evidence *e, const struct batch_vm *vm)
{
	const struct run_result *r = &vm->result;
	bool is_kernels =
	    r->outcome.outcome == OUTCOME_PANIC || r->outcome.outcome == OUTCOME_STALL;
	CLEANUP(freep) char *dmesg = sink_tail(&r->dmesg);
	CLEANUP(freep) char *console = sink_tail(&r->console);
	const char *tail = *dmesg ? dmesg : console;
	const uint8_t *end = r->why.len ? memchr(r->why.data, '\n', r->why.len) : NULL;

	if (is_kernels && end && end + 1 < r->why.data + r->why.len)
		batch_set_text(&e->panic, r->why.data, r->why.len);
	batch_set_text(&e->crash, r->crash.data, r->crash.len);
	/* A pass needs no explanation, and a batch of thousands has mostly passes. */
	if (vm->verdict.outcome != OUTCOME_PASS)
		batch_set_tail(&e->log_tail, tail, strlen(tail));
}

/* Which frame the limit that was in force at the end was counted from. */
static void fill_deadline(struct batch_test *entry, const struct batch_vm *vm)
{
	CLEANUP(freep) char *text = NULL;

	if (vm->result.outcome.last_phase >= PHASE_COMMAND)
		text =
		    xasprintf("frame 'command', for %g s", clock_limit_s(vm->command_timeout_ns));
	else if (vm->state > BATCH_VM_STARTING)
		text = xstrdup("the VM's start, until PID 1 reports");
	batch_set_line(&entry->evidence.deadline_by, text);
}

static void fill_notes(struct batch_test *entry, const struct batch_vm *vm)
{
	const struct run_result *r = &vm->result;
	const struct sink *const sinks[] = { &r->console, &r->com2,   &r->tty,
					     &r->dmesg,   &r->frames, &vm->output };

	for (size_t i = 0; i < r->n_notes; i++)
		batch_test_add_note(entry, r->notes[i], strlen(r->notes[i]));
	for (size_t i = 0; i < ARRAY_SIZE(sinks); i++) {
		char why[64] = "the file has reached its limit";
		const struct sink *s = sinks[i];
		if (s->fd < 0 || !s->n_dropped)
			continue;
		const char *text =
		    s->write_error ? strerror_r(-s->write_error, why, sizeof(why)) : why;
		CLEANUP(freep)
		char *note = xasprintf("'%s' lacks %llu bytes: %s", s->path,
				       (unsigned long long)s->n_dropped, text);
		batch_test_add_note(entry, note, strlen(note));
	}
	if (r->tests.n_ignored) {
		CLEANUP(freep)
		char *note =
		    xasprintf("%llu records of tests ignored, the first: %s",
			      (unsigned long long)r->tests.n_ignored, r->tests.why_ignored);
		batch_test_add_note(entry, note, strlen(note));
	}
}

static void fill_phases(struct batch_test *entry, const struct batch_vm *vm)
{
	const struct run_result *r = &vm->result;

	for (size_t i = 0; i < r->n_phases; i++)
		batch_test_add_phase(entry, r->phases[i].phase,
				     us_between(vm->start_ns, r->phases[i].time_ns),
				     r->phases[i].is_guest);
}

/* The nodes of the tree stay where they are; only their list changes hands. */
static void take_results(struct test_results *to, struct test_results *from)
{
	list_move_all(&to->tests, &from->tests);
	to->n_bytes = from->n_bytes;
	to->n_ignored = from->n_ignored;
	memcpy(to->why_ignored, from->why_ignored, sizeof(to->why_ignored));
	memset(from->open, 0, sizeof(from->open));
}

void batch_fill_end(struct batch_test *entry, struct batch_vm *vm, uint32_t outcome,
		    uint64_t batch_start_ns)
{
	const struct frame_outcome *o = &vm->result.outcome;
	CLEANUP(freep) char *why = batch_vm_why(vm);

	entry->outcome = outcome;
	entry->begin_us = us_between(batch_start_ns, vm->start_ns);
	entry->duration_us = us_between(vm->start_ns, vm->end_ns);
	batch_set_why(&entry->why, why, strlen(why));
	entry->evidence.last_phase = o->last_phase;
	entry->evidence.has_exit = o->has_exit;
	entry->evidence.exit = o->exit;
	fill_deadline(entry, vm);
	fill_texts(&entry->evidence, vm);
	fill_notes(entry, vm);
	fill_phases(entry, vm);
	batch_test_add_stats(entry, vm->result.stats.data, vm->result.stats.len);
	take_results(&entry->results, &vm->result.tests);
}

void batch_fill_usage(struct batch_test *entry, const struct batch_vm *vm)
{
	const struct rusage *u = &vm->usage;

	entry->resources.user_us =
	    (uint64_t)u->ru_utime.tv_sec * 1000000 + (uint64_t)u->ru_utime.tv_usec;
	entry->resources.system_us =
	    (uint64_t)u->ru_stime.tv_sec * 1000000 + (uint64_t)u->ru_stime.tv_usec;
	entry->resources.max_rss_kib = vm->max_rss_kib;
	/* Its own budget may be tighter than the batch. */
	entry->resources.overcommit =
	    vm->place.overcommit > vm->overcommit ? vm->place.overcommit : vm->overcommit;
	batch_set_line(&entry->resources.cpus, vm->place.cpus);
}
