/* See machine.h. */
#include "bench/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "bench/cpu_use.h"

enum {
	ARGV_MAX = 48,
	QEMU_STATUS = 33, /* isa-debug-exit: 2 * 16 + 1 */
};
#define KTSTR_MEMORY "64"
#define QEMU_MEMORY  "64M"

struct argv {
	const char *words[ARGV_MAX];
	size_t n;
};

static void add(struct argv *a, const char *const *words)
{
	for (; *words && a->n < ARGV_MAX - 1; words++)
		a->words[a->n++] = *words;
}
#define ADD(argv, ...) add(argv, (const char *const[]){ __VA_ARGS__, NULL })

/* A command line, and the texts that it points into. */
struct command {
	struct argv argv;
	char *timeout, *disk, *append;
};

static void command_fini(struct command *c)
{
	freep(&c->timeout);
	freep(&c->disk);
	freep(&c->append);
}

static void ktstr_command(const struct machine_setup *setup, enum machine_kind kind,
			  const char *words, struct command *c)
{
	c->timeout = xasprintf("%" PRIu64, setup->timeout_ns / NS_PER_S + 1);
	c->append = xasprintf("%s %s", setup->ktstr_words, words);
	ADD(&c->argv, setup->ktstr, "run", "--kernel", setup->guest, "--memory", KTSTR_MEMORY,
	    "--timeout", c->timeout, "--append", c->append, "--console", "/dev/stdout", "--json",
	    "-");
	if (setup->has_net)
		ADD(&c->argv, "--net", "plain");
	if (!setup->disk)
		return;
	c->disk = xasprintf("%s,ro%s", setup->disk, kind == MACHINE_KTSTR_ONE ? ",depth=1" : "");
	ADD(&c->argv, "--disk", c->disk);
}

static void qemu_command(const struct machine_setup *setup, const char *words, struct command *c)
{
	/* Its second device receives what the first one sends. */
	c->append = xasprintf("%s%s", setup->has_net ? "rx=1 " : "", words);
	/* Without ACPI it tells the guest on its command line where the devices are. */
	ADD(&c->argv, setup->qemu, "-M", "microvm,acpi=off", "-accel", "kvm", "-name",
	    "bench,debug-threads=on", "-nodefaults", "-no-user-config", "-display", "none",
	    "-no-reboot", "-m", QEMU_MEMORY, "-serial", "file:/proc/self/fd/1", "-kernel",
	    setup->guest, "-append", c->append, "-device", "isa-debug-exit,iobase=0xf4", "-global",
	    "virtio-mmio.force-legacy=false");
	if (setup->has_net)
		ADD(&c->argv, "-netdev", "hubport,hubid=0,id=n0", "-netdev",
		    "hubport,hubid=0,id=n1", "-device", "virtio-net-device,netdev=n0", "-device",
		    "virtio-net-device,netdev=n1");
	if (!setup->disk)
		return;
	c->disk = xasprintf("file=%s,format=raw,if=none,id=disk,read-only=on,cache=none,aio=%s",
			    setup->disk, setup->qemu_aio);
	ADD(&c->argv, "-object", "iothread,id=io", "-drive", c->disk, "-device",
	    "virtio-blk-device,drive=disk,iothread=io");
}

/* CPU time at the guest's "begin" and "end". */
struct watch {
	enum machine_kind kind;
	const char *device; /* in ktstr's counters */
	bool has_begun, has_ended;
	struct cpu_use begin, end;
};

static void read_cpu_use(enum machine_kind kind, pid_t pid, struct cpu_use *ret)
{
	/* The VM is ktstr's child. */
	if (kind != MACHINE_QEMU && spawn_children(pid, &pid, 1) == 0)
		*ret = (struct cpu_use){ NAN, NAN };
	else
		cpu_use_read(pid, ret);
}

static void on_text(void *ctx, pid_t pid, const char *text)
{
	struct watch *w = ctx;

	if (!w->has_begun && guest_text_has(text, "begin")) {
		w->has_begun = true;
		read_cpu_use(w->kind, pid, &w->begin);
	}
	if (!w->has_ended && guest_text_has(text, "end")) {
		w->has_ended = true;
		read_cpu_use(w->kind, pid, &w->end);
	}
}

/* A device's counter of ktstr's JSON document. */
static double counter(const char *document, const char *device, const char *name)
{
	CLEANUP(freep) char *key = xasprintf("%s.%s", device, name);
	json_t *doc = json_loads(document, JSON_DISABLE_EOF_CHECK, NULL);
	const json_t *value = json_object_get(json_object_get(doc, "stats"), key);
	double ret = json_is_number(value) ? json_number_value(value) : NAN;

	json_decref(doc);
	return ret;
}

static int read_result(const struct watch *w, const struct capture *c, struct machine_result *ret,
		       struct error *err)
{
	const char *rest;

	if (guest_text_parse((const char *)c->out.data, &ret->text, &rest, err) < 0)
		return err->code;
	if (ret->text.n_errors)
		return error_set_text(err, -EIO, "%" PRIu64 " requests of the guest failed",
				      ret->text.n_errors);
	ret->vmm_ms = ret->vcpus_ms = ret->kick_exits = NAN;
	if (w->has_begun && w->has_ended) {
		ret->vcpus_ms = w->end.vcpus_ms - w->begin.vcpus_ms;
		ret->vmm_ms = w->end.all_ms - w->begin.all_ms - ret->vcpus_ms;
	}
	if (w->kind != MACHINE_QEMU)
		ret->kick_exits = counter(rest, w->device, "notify_exits");
	return 0;
}

int machine_run(const struct machine_setup *setup, enum machine_kind kind, const char *words,
		struct machine_result *ret, struct error *err)
{
	static const char *const uring[] = { "KTSTR_REACTOR=uring", NULL };
	static const char *const epoll[] = { "KTSTR_REACTOR=epoll", NULL };
	CLEANUP(command_fini) struct command c = { 0 };
	CLEANUP(capture_fini) struct capture capture = { 0 };
	struct watch watch = { .kind = kind, .device = setup->has_net ? "net" : "disk" };

	if (kind == MACHINE_QEMU)
		qemu_command(setup, words, &c);
	else
		ktstr_command(setup, kind, words, &c);
	const struct capture_config config = {
		.spawn = { .argv = c.argv.words,
			   .env = kind == MACHINE_KTSTR_EPOLL ? epoll : uring,
			   .wanted_status = kind == MACHINE_QEMU ? QEMU_STATUS : 0,
			   .mark_fd = -1 },
		.timeout_ns = setup->timeout_ns,
		.signal_fd = setup->signal_fd,
		.on_text = on_text,
		.ctx = &watch,
	};
	int res = capture_run(&config, &capture, err);
	ret->signal = capture.signal;
	return res < 0 ? res : read_result(&watch, &capture, ret, err);
}
