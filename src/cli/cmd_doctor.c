/*
 * `ktstr doctor`: what this host can do for VMs, what it lacks, and what to do about it. Exit
 * status 0 when an unmodified kernel can run here, 116 (SKIP) when not.
 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/fd.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "harness/cgroup_place.h"
#include "image/kernel_cache.h"
#include "reactor/reactor.h"
#include "vmm/confine.h"
#include "vmm/kvm.h"
#include "vmm/kvm_probe.h"

enum { MAX_CHECKS = 40, TEXT_MAX = 640 };

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_BAD, LEVEL_INFO };

struct check {
	const char *key; /* stable: the JSON document's */
	enum level level;
	char text[TEXT_MAX];
	json_t *value; /* owned; may be NULL */
};

struct doctor {
	struct check checks[MAX_CHECKS];
	size_t n;
	bool can_run_linux;
};

static void add(struct doctor *d, const char *key, enum level level, json_t *value, const char *fmt,
		...) PRINTF_LIKE(5, 6);
static void add(struct doctor *d, const char *key, enum level level, json_t *value, const char *fmt,
		...)
{
	struct check *c = &d->checks[d->n];
	va_list ap;

	if (d->n == MAX_CHECKS) {
		json_decref(value);
		return;
	}
	d->n++;
	c->key = key;
	c->level = level;
	c->value = value;
	va_start(ap, fmt);
	(void)vsnprintf(c->text, sizeof(c->text), fmt, ap);
	va_end(ap);
}

/* KVM */

static void add_instructions(struct doctor *d, const struct kvm_probe *p)
{
	json_t *works = json_object();
	char missing[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < p->n_instructions; i++) {
		json_object_set_new(works, p->instructions[i].name,
				    json_boolean(p->instructions[i].works));
		if (!p->instructions[i].works)
			n += (size_t)snprintf(missing + n, sizeof(missing) - n, "%s%s",
					      n ? ", " : "", p->instructions[i].name);
	}
	add(d, "kvm_instructions", n ? LEVEL_BAD : LEVEL_OK, works,
	    "kernel-mode instructions: %s%s", n ? "missing " : "all that were tried work", missing);
}

static void add_speed(struct doctor *d, const struct kvm_probe *p)
{
	bool slow = p->kernel_mips * 20 < p->user_mips;

	add(d, "kvm_kernel_mips", slow ? LEVEL_WARN : LEVEL_OK, json_real(p->kernel_mips),
	    "kernel mode: %.1f million instructions per second%s", p->kernel_mips,
	    slow ? " (interpreted)" : "");
	add(d, "kvm_user_mips", LEVEL_OK, json_real(p->user_mips),
	    "user mode: %.1f million instructions per second", p->user_mips);
	add(d, "kvm_exit_us", LEVEL_OK, json_real(p->exit_us), "MMIO exit to user space: %.2f us",
	    p->exit_us);
	add(d, "kvm_ioeventfd_us", LEVEL_OK, json_real(p->ioeventfd_us), "ioeventfd kick: %.2f us",
	    p->ioeventfd_us);
}

static void add_limits(struct doctor *d)
{
	struct arch_supported supported;
	struct arch_limits l;
	struct error err;
	CLEANUP(fd_closep) int fd = kvm_open(&err);

	if (fd < 0 || arch_supported_read(fd, &supported, &err) < 0)
		return; /* the probe has just opened and asked it: somebody takes it away */
	arch_limits_read(fd, &supported, &l);
	add(d, "kvm_limits", LEVEL_INFO,
	    json_pack("{s:i, s:i, s:i, s:b, s:b}", "cpus", l.max_cpus, "highest_id",
		      l.end_of_ids - 1, "address_bits", (int)l.address_bits, "five_levels",
		      l.five_levels, "split_irqchip", l.split_irqchip),
	    "a VM has at most %d CPUs, APIC ids up to %d, addresses of %u bits%s", l.max_cpus,
	    l.split_irqchip ? l.end_of_ids - 1 : 254, l.address_bits,
	    l.split_irqchip ? "" : " (no split irqchip)");
}

static void check_kvm(struct doctor *d)
{
	struct kvm_probe p;
	struct error err;

	if (kvm_probe(&p, &err) < 0) {
		add(d, "kvm", LEVEL_BAD, json_false(), "%s", err.text);
		return;
	}
	add(d, "kvm", LEVEL_OK, json_true(),
	    "/dev/kvm opens, and has every capability that the machine needs");
	add_limits(d);
	add_speed(d, &p);
	add_instructions(d, &p);
	add(d, "kvm_syscall", p.syscall_ok ? LEVEL_OK : LEVEL_BAD, json_boolean(p.syscall_ok),
	    "system calls: %s",
	    p.syscall_ok ? "enter the guest's kernel as they should"
			 : "arrive in the guest's kernel in user mode");
	add(d, "kvm_timer", p.timer_ok ? LEVEL_OK : LEVEL_BAD, json_boolean(p.timer_ok),
	    "local APIC timer: %s",
	    p.timer_ok ? "its interrupt arrives" : "its interrupt does not arrive");
	d->can_run_linux = p.complete;
	if (p.complete)
		add(d, "linux", LEVEL_OK, json_true(), "an unmodified Linux kernel can run here");
	else
		add(d, "linux", LEVEL_BAD, json_false(),
		    "an unmodified Linux kernel cannot run here: this KVM emulates kernel mode and "
		    "lacks %s. Use a host "
		    "with hardware virtualization, or the synthetic host: `tests/lab/lab -- ktstr "
		    "run ...`; a kernel "
		    "built for such a KVM boots with --force",
		    p.why);
}

/* The rest of the host */

static void check_reactor(struct doctor *d)
{
	enum reactor_backend backend;
	struct reactor *r = NULL;
	struct error err;

	if (reactor_backend_parse(getenv("KTSTR_REACTOR"), &backend, &err) < 0 ||
	    reactor_new(&(struct reactor_config){ .backend = backend }, &r, &err) < 0) {
		add(d, "reactor", LEVEL_BAD, json_null(), "event loop: %s", err.text);
		return;
	}
	const char *reason = reactor_fallback_reason(r);
	add(d, "reactor", reason ? LEVEL_WARN : LEVEL_OK, json_string(reactor_backend_name(r)),
	    "event loop: %s%s%s%s", reactor_backend_name(r),
	    reason                    ? " ("
	    : backend == REACTOR_AUTO ? ""
				      : " (forced by KTSTR_REACTOR",
	    reason ? reason : "", reason || backend != REACTOR_AUTO ? ")" : "");
	(void)reactor_free(r);
}

/* The other half, the rings, is the reactor's: without restrictions it would have taken epoll. */
static void check_confinement(struct doctor *d)
{
	struct error err;
	bool works = confine_check(&err) == 0;

	add(d, "confinement", works ? LEVEL_OK : LEVEL_WARN, json_boolean(works),
	    "VM processes %s%s",
	    works ? "run under a filter of system calls, without privileges, with a restricted "
		    "io_uring"
		  : "are not confined: ",
	    works ? "" : err.text);
}

static void check_hugepages(struct doctor *d)
{
	char line[32];
	int res = file_read_line("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", line,
				 sizeof(line));
	long free_pages = res < 0 ? 0 : strtol(line, NULL, 10);

	add(d, "hugepages_free_2m", LEVEL_INFO, json_integer(free_pages),
	    "2 MiB huge pages free: %ld%s", free_pages,
	    free_pages ? "" : " (performance mode will want some: vm.nr_hugepages)");
}

static void check_limit(struct doctor *d, const char *key, int resource, const char *what,
			const char *advice, rlim_t want)
{
	struct rlimit lim;

	if (getrlimit((__rlimit_resource_t)resource, &lim) < 0) {
		add(d, key, LEVEL_WARN, json_null(), "%s: cannot be read", what);
		return;
	}
	bool enough = geteuid() == 0 || lim.rlim_cur >= want;
	char value[32];
	if (lim.rlim_cur == RLIM_INFINITY)
		(void)snprintf(value, sizeof(value), "unlimited");
	else
		(void)snprintf(value, sizeof(value), "%llu", (unsigned long long)lim.rlim_cur);
	add(d, key, enough ? LEVEL_OK : LEVEL_INFO,
	    lim.rlim_cur == RLIM_INFINITY ? json_integer(-1)
					  : json_integer((json_int_t)lim.rlim_cur),
	    "%s: %s%s", what, value,
	    enough ? geteuid() == 0 ? " (root: no limit applies)" : "" : advice);
}

static void check_cgroup(struct doctor *d)
{
	CLEANUP(cgroup_place_fini) struct cgroup_place place;

	cgroup_place_find("/proc", &place);
	bool usable = place.verdict == CGROUP_USABLE;
	add(d, "cgroup_cpuset", usable ? LEVEL_OK : LEVEL_INFO, json_boolean(usable),
	    "a cgroup with a cpuset for each VM: %s%s%s", usable ? "in " : "no, ",
	    usable ? buf_str(&place.path) : cgroup_verdict_text(place.verdict),
	    usable ? "" : "; CPU budgets are affinity masks only");
}

static void check_kernels(struct doctor *d)
{
	CLEANUP(freep) char *cache = NULL;
	struct kernel_entry *entries;
	struct error err;
	size_t n;

	if (file_cache_dir(&cache, &err) < 0 || kernel_cache_list(cache, &entries, &n, &err) < 0) {
		add(d, "kernels", LEVEL_WARN, json_null(), "kernel cache: %s", err.text);
		return;
	}
	char newest[128] = "";
	json_t *names = json_array();
	for (size_t i = 0; i < n; i++) {
		json_array_append_new(names, json_string(entries[i].name));
		(void)snprintf(newest, sizeof(newest), ", newest %s", entries[i].name);
		kernel_entry_fini(&entries[i]);
	}
	free(entries);
	add(d, "kernels", n ? LEVEL_OK : LEVEL_INFO, names, "kernel cache: %zu in %s%s%s", n, cache,
	    newest, n ? "" : " (`ktstr kernel fetch` downloads one)");
}

/* Output */

static void print_text(const struct doctor *d)
{
	static const char *const marks[] = { [LEVEL_OK] = "ok  ",
					     [LEVEL_WARN] = "warn",
					     [LEVEL_BAD] = "BAD ",
					     [LEVEL_INFO] = "info" };

	for (size_t i = 0; i < d->n; i++)
		printf("%s  %s\n", marks[d->checks[i].level], d->checks[i].text);
}

static int print_json(struct doctor *d)
{
	static const char *const names[] = {
		[LEVEL_OK] = "ok", [LEVEL_WARN] = "warn", [LEVEL_BAD] = "bad", [LEVEL_INFO] = "info"
	};
	json_t *checks = json_object();

	for (size_t i = 0; i < d->n; i++) {
		struct check *c = &d->checks[i];
		json_t *item = json_pack("{s:s, s:s}", "level", names[c->level], "text", c->text);
		json_object_set(item, "value", c->value);
		json_object_set_new(checks, c->key, item);
	}
	json_t *doc = json_pack("{s:i, s:b, s:o}", "version", 1, "can_run_linux", d->can_run_linux,
				"checks", checks);
	int res = doc ? json_dumpf(doc, stdout, JSON_INDENT(2)) : -1;
	putchar('\n');
	json_decref(doc);
	return res < 0 || fflush(stdout) ? -EIO : 0;
}

static int usage(FILE *to, int status)
{
	fputs("usage: ktstr doctor [--json | --quiet]\n"
	      "exit status: 0 an unmodified kernel can run here, 116 it cannot\n",
	      to);
	return status;
}

int cmd_doctor(const struct command_context *ctx UNUSED, int argc, char **argv)
{
	struct doctor d = { 0 };
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
	bool quiet = argc == 2 && strcmp(argv[1], "--quiet") == 0;
	int res = 0;

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(stdout, EXIT_CODE_OK);
	if (argc > 1 && !json && !quiet)
		return usage(stderr, EXIT_CODE_USAGE);
	check_kvm(&d);
	check_reactor(&d);
	check_confinement(&d);
	check_hugepages(&d);
	check_limit(&d, "rtprio", RLIMIT_RTPRIO, "real-time priority limit",
		    " (performance mode needs 2: `ulimit -r`, limits.conf)", 2);
	check_limit(&d, "memlock", RLIMIT_MEMLOCK, "locked memory limit",
		    " (bytes; performance mode pins guest memory: `ulimit -l`)", RLIM_INFINITY);
	check_cgroup(&d);
	check_kernels(&d);
	if (json)
		res = print_json(&d);
	else if (!quiet)
		print_text(&d);
	for (size_t i = 0; i < d.n; i++)
		json_decref(d.checks[i].value);
	return res < 0 ? EXIT_CODE_INFRA : d.can_run_linux ? EXIT_CODE_OK : EXIT_CODE_SKIP;
}
