#include "vmm/kvm_probe.h"

#include <assert.h>
#include <cpuid.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/num.h"
#include "vmm/kvm.h"

enum {
	PROBE_LOAD = 0x100000,
	PROBE_PORT = 0xf4,
	PROBE_MMIO = 0xd0000000, /* below 4 GiB, in the hole: nothing of the machine is there */
	LOOP_MIN = 2000,
	LOOP_MAX = 20000000,
	LOOP_NS_MIN = 5000000,
	TIMER_LOOP = 200000,
	N_STORES = 64,
	CANNOT_BE = -1,
};

extern const uint8_t kvm_probe_blob[], kvm_probe_blob_end[];
extern const uint8_t kvm_probe_popcnt[], kvm_probe_andn[], kvm_probe_shlx[], kvm_probe_cmpxchg16b[],
    kvm_probe_stac[], kvm_probe_fwait[], kvm_probe_xrstor[], kvm_probe_int3[], kvm_probe_timer[],
    kvm_probe_loop[], kvm_probe_store[], kvm_probe_user_loop[], kvm_probe_syscall[];

/* One vCPU that is put back to its first state before each probe. Calling thread only. */
struct machine {
	int kvm_fd, vm_fd, vcpu_fd;
	struct guest_mem mem;
	struct kvm_run *run;
	size_t run_len;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
};

static void machine_fini(struct machine *m)
{
	if (m->run)
		(void)munmap(m->run, m->run_len);
	m->run = NULL;
	fd_closep(&m->vcpu_fd);
	fd_closep(&m->vm_fd);
	guest_mem_fini(&m->mem);
	fd_closep(&m->kvm_fd);
}

static int create_vcpu(struct machine *m, const struct topology *t, struct error *err)
{
	struct arch_supported supported;
	const struct arch_cpuid_config config = { .supported = &supported, .topology = t };
	struct arch_cpuid *cpuid;
	int size = kvm_ioctl(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (size < (int)sizeof(*m->run))
		return kvm_error(err, size < 0 ? size : -EINVAL, "KVM_GET_VCPU_MMAP_SIZE");
	m->vcpu_fd = kvm_ioctl(m->vm_fd, KVM_CREATE_VCPU, 0);
	if (m->vcpu_fd < 0)
		return kvm_error(err, m->vcpu_fd, "KVM_CREATE_VCPU");
	void *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu_fd, 0);
	if (run == MAP_FAILED)
		return kvm_error(err, errno, "mmap of a vCPU");
	m->run = run;
	m->run_len = (size_t)size;
	if (arch_supported_read(m->kvm_fd, &supported, err) < 0 ||
	    arch_cpuid_new(m->kvm_fd, &config, &cpuid, err) < 0)
		return err->code;
	int res = arch_vcpu_set_cpuid(m->vcpu_fd, cpuid, 0, err);
	(void)arch_cpuid_free(cpuid);
	return res;
}

static int load(struct machine *m, const struct topology *t, struct error *err)
{
	const struct arch_boot boot = { .kind = ARCH_ENTRY_BARE,
					.entry = GPA(PROBE_LOAD),
					.cmdline = "",
					.topology = t,
					.ram_bytes = 4 * MIB };
	int res;

	if (arch_boot_write(&m->mem, &boot, err) < 0)
		return err->code;
	res = guest_mem_write(&m->mem, GPA(PROBE_LOAD), kvm_probe_blob,
			      (size_t)(kvm_probe_blob_end - kvm_probe_blob));
	if (res < 0)
		return error_set(err, res, "cannot load the probe");
	if (arch_vcpu_init(m->vcpu_fd, 0, &boot, err) < 0)
		return err->code;
	res = kvm_ioctl(m->vcpu_fd, KVM_GET_SREGS, (uintptr_t)&m->sregs);
	if (res == 0)
		res = kvm_ioctl(m->vcpu_fd, KVM_GET_REGS, (uintptr_t)&m->regs);
	return res < 0 ? kvm_error(err, res, "KVM_GET_REGS") : 0;
}

static int machine_init(struct machine *m, struct error *err)
{
	const struct topology t = topology_uniform(1, 1, 1, 1);
	const struct arch_vm_config config = { .topology = &t };

	*m = (struct machine){ .kvm_fd = -1, .vm_fd = -1, .vcpu_fd = -1 };
	m->kvm_fd = kvm_open(err);
	if (m->kvm_fd < 0 || arch_check_capabilities(m->kvm_fd, err) < 0)
		return err->code;
	m->vm_fd = kvm_create_vm(m->kvm_fd, err);
	if (m->vm_fd < 0)
		return err->code;
	int res = guest_mem_map_anonymous(&m->mem, GPA(0), 4 * MIB);
	if (res < 0)
		return kvm_error(err, res, "cannot map memory for the probe");
	struct kvm_userspace_memory_region slot = { .memory_size = 4 * MIB,
						    .userspace_addr =
							(uintptr_t)m->mem.ranges[0].hva };
	res = kvm_ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&slot);
	if (res < 0)
		return kvm_error(err, res, "KVM_SET_USER_MEMORY_REGION");
	if (arch_vm_init(m->vm_fd, &config, err) < 0 || create_vcpu(m, &t, err) < 0)
		return err->code;
	return load(m, &t, err);
}

/*
 * Runs the probe at @label to its end, passing over MMIO exits. Returns its answer, or CANNOT_BE
 * where KVM gave up or the guest faulted.
 */
static int run_probe(struct machine *m, const uint8_t *label, uint64_t count)
{
	struct kvm_regs regs = m->regs;

	regs.rip = PROBE_LOAD + (uint64_t)(label - kvm_probe_blob);
	regs.rcx = count;
	regs.rdi = PROBE_MMIO;
	if (kvm_ioctl(m->vcpu_fd, KVM_SET_SREGS, (uintptr_t)&m->sregs) < 0 ||
	    kvm_ioctl(m->vcpu_fd, KVM_SET_REGS, (uintptr_t)&regs) < 0)
		return CANNOT_BE;
	for (;;) {
		int res = kvm_ioctl(m->vcpu_fd, KVM_RUN, 0);
		if (res == -EAGAIN)
			continue;
		if (res < 0)
			return CANNOT_BE;
		if (m->run->exit_reason == KVM_EXIT_MMIO)
			continue;
		if (m->run->exit_reason != KVM_EXIT_IO || m->run->io.port != PROBE_PORT)
			return CANNOT_BE;
		return *((const uint8_t *)m->run + m->run->io.data_offset);
	}
}

struct instruction {
	const char *name;
	const uint8_t *label;
	/*
	 * The CPUID bit that promises it: leaf, subleaf 0, register (0 eax .. 3 edx), bit; leaf 0:
	 * always there.
	 */
	uint32_t leaf;
	unsigned reg, bit;
};

static const struct instruction instructions[] = {
	{ "int3", kvm_probe_int3, 0, 0, 0 },       { "popcnt", kvm_probe_popcnt, 1, 2, 23 },
	{ "fwait", kvm_probe_fwait, 0, 0, 0 },     { "cmpxchg16b", kvm_probe_cmpxchg16b, 1, 2, 13 },
	{ "andn (VEX)", kvm_probe_andn, 7, 1, 3 }, { "shlx (BMI2)", kvm_probe_shlx, 7, 1, 8 },
	{ "stac/clac", kvm_probe_stac, 7, 1, 20 }, { "xrstor", kvm_probe_xrstor, 1, 2, 26 },
};
static_assert(ARRAY_SIZE(instructions) <= KVM_PROBE_MAX_INSTRUCTIONS, "room in struct kvm_probe");

static bool cpu_has(const struct instruction *i)
{
	unsigned regs[4];

	if (!i->leaf)
		return true;
	return __get_cpuid_count(i->leaf, 0, &regs[0], &regs[1], &regs[2], &regs[3]) &&
	       regs[i->reg] >> i->bit & 1;
}

static double per_us(uint64_t n, uint64_t ns)
{
	return ns ? (double)n * 1000 / (double)ns : 0;
}

/*
 * Millions of instructions per second of a probe that is one loop of two instructions. A slow
 * machine shows itself with few; a fast one gets many, or entering and leaving the guest is all
 * that would be measured.
 */
static double measure_loop(struct machine *m, const uint8_t *label)
{
	for (uint64_t n = LOOP_MIN;; n *= 10) {
		uint64_t begin = clock_now_ns();
		if (run_probe(m, label, n) != 1)
			return 0;
		uint64_t took = clock_now_ns() - begin;
		if (took >= LOOP_NS_MIN || n >= LOOP_MAX)
			return per_us(2 * n, took);
	}
}

/*
 * Microseconds of one store by N_STORES of them; the cost of the run itself is that of an empty
 * loop.
 */
static double time_stores(struct machine *m)
{
	uint64_t begin = clock_now_ns();

	if (run_probe(m, kvm_probe_loop, N_STORES) != 1)
		return 0;
	uint64_t empty = clock_now_ns() - begin;
	begin = clock_now_ns();
	if (run_probe(m, kvm_probe_store, N_STORES) != 1)
		return 0;
	uint64_t full = clock_now_ns() - begin;
	return full > empty ? (double)(full - empty) / (double)NS_PER_US / N_STORES : 0;
}

static int measure_exits(struct machine *m, struct kvm_probe *p, struct error *err)
{
	CLEANUP(fd_closep) int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return kvm_error(err, errno, "eventfd");
	p->exit_us = time_stores(m);
	struct kvm_ioeventfd args = { .addr = PROBE_MMIO, .len = 4, .fd = fd };
	int res = kvm_ioctl(m->vm_fd, KVM_IOEVENTFD, (uintptr_t)&args);
	if (res < 0)
		return kvm_error(err, res, "KVM_IOEVENTFD");
	p->ioeventfd_us = time_stores(m);
	return 0;
}

static void probe_instructions(struct machine *m, struct kvm_probe *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct instruction *insn = &instructions[i];
		if (!cpu_has(insn))
			continue;
		p->instructions[p->n_instructions].name = insn->name;
		p->instructions[p->n_instructions++].works = run_probe(m, insn->label, 0) == 1;
	}
}

/* The answer is the CPL at the entry point, plus 1. */
static bool probe_syscall(struct machine *m)
{
	return run_probe(m, kvm_probe_syscall, 0) == 1;
}

static void judge(struct kvm_probe *p)
{
	size_t n = 0;

	p->why[0] = 0;
	for (size_t i = 0; i < p->n_instructions; i++)
		if (!p->instructions[i].works)
			n += (size_t)snprintf(p->why + n, sizeof(p->why) - n, "%s%s", n ? ", " : "",
					      p->instructions[i].name);
	if (!p->syscall_ok)
		(void)snprintf(p->why + n, sizeof(p->why) - n, "%ssystem calls", n ? ", " : "");
	p->complete = !p->why[0];
}

int kvm_probe(struct kvm_probe *ret, struct error *err)
{
	struct machine m;
	int res = machine_init(&m, err);

	*ret = (struct kvm_probe){ 0 };
	if (res == 0) {
		ret->kernel_mips = measure_loop(&m, kvm_probe_loop);
		ret->user_mips = measure_loop(&m, kvm_probe_user_loop);
		ret->timer_ok = run_probe(&m, kvm_probe_timer, TIMER_LOOP) == 1;
		ret->syscall_ok = probe_syscall(&m);
		res = measure_exits(&m, ret, err);
	}
	if (res == 0) {
		probe_instructions(&m, ret, ARRAY_SIZE(instructions));
		judge(ret);
	}
	machine_fini(&m);
	return res;
}

/* "BOOT_ID complete" or "BOOT_ID WHY": valid until the host boots again. */
static bool read_cached(const char *path, const char *boot_id, char *why, size_t n)
{
	char line[512];
	size_t n_id = strlen(boot_id);

	if (file_read_line(path, line, sizeof(line)) < 0 || strncmp(line, boot_id, n_id) != 0 ||
	    line[n_id] != ' ')
		return false;
	(void)snprintf(why, n, "%s", line + n_id + 1);
	return true;
}

static void write_cached(const char *cache_dir, const char *path, const char *boot_id,
			 const char *why)
{
	CLEANUP(freep) char *line = xasprintf("%s %s\n", boot_id, why);
	struct error err;

	/* A cache that cannot be written costs a probe the next time, nothing else. */
	if (file_make_dirs(cache_dir, 0755, &err) < 0 ||
	    file_replace(path, 0644, line, strlen(line), &err) < 0)
		log_debug("kvm probe: not kept in '%s'", path);
}

static int probe_decisive(char *why, size_t n, struct error *err)
{
	enum {
		DECISIVE = 2
	}; /* int3, popcnt: every kernel executes both before it has a console */
	struct kvm_probe p = { 0 };
	struct machine m;
	int res = machine_init(&m, err);

	if (res == 0) {
		probe_instructions(&m, &p, DECISIVE);
		p.syscall_ok = probe_syscall(&m);
		judge(&p);
		(void)snprintf(why, n, "%s", p.complete ? "complete" : p.why);
	}
	machine_fini(&m);
	return res;
}

int kvm_probe_check_linux(const char *cache_dir, struct error *err)
{
	CLEANUP(freep) char *path = xasprintf("%s/kvm-probe", cache_dir);
	char boot_id[64] = "";
	char why[256];
	int fd = kvm_open(err); /* what was found out before says nothing about access now */

	if (fd < 0)
		return fd;
	(void)fd_close(fd);
	bool has_id =
	    file_read_line("/proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id)) == 0;
	if (!has_id || !read_cached(path, boot_id, why, sizeof(why))) {
		if (probe_decisive(why, sizeof(why), err) < 0)
			return err->code;
		if (has_id)
			write_cached(cache_dir, path, boot_id, why);
	}
	if (strcmp(why, "complete") == 0)
		return 0;
	(void)error_set_text(
	    err, -ENOTSUP,
	    "this KVM cannot run an unmodified Linux kernel: it emulates kernel mode and lacks %s. "
	    "Use a host with hardware virtualization, or the synthetic one: "
	    "`tests/lab/lab -- ktstr run ...`. `ktstr doctor` tells more; --force boots anyway",
	    why);
	return error_classify(err, ERROR_SKIP);
}
