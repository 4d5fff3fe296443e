/*
 * Building and taking down a VM. The order is the point of this file: it is one list of steps, run
 * forwards by vm_new and backwards by vm_free, and a step that fails undoes those before it.
 *
 *   - memory slots before the irqchip: with an irqchip or an ioeventfd registered, each later slot
 *     change waits for an SRCU grace period (milliseconds);
 *   - irqfds last, for the same reason; ioeventfds come at DRIVER_OK (virtio_mmio.c);
 *   - closing goes vCPUs, VM, then memory: the VM's end waits for its MMU notifiers, after which
 *     unmapping races nothing.
 *
 * Threads: the I/O thread builds, drains and frees. vCPU threads reach this file by on_vcpu_* and
 * on_power only, which note the end in atomics and post.
 */
#include "vmm/vm.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/num.h"
#include "image/kernel_image.h"
#include "vmm/confine.h"
#include "vmm/kvm.h"
#include "vmm/vcpu.h"
#include "vmm/vm_devices.h"
#include "vmm/vm_memory.h"

enum { HALT_POLL_NS = 200000, END_TEXT_MAX = 512 };

struct vm {
	struct vm_config config;
	struct reactor *reactor;
	size_t n_steps_done;

	int kvm_fd;
	int vm_fd;
	const struct arch_supported *supported; /* the configuration's, or own_supported */
	struct arch_supported own_supported;
	struct memory_layout layout;
	struct vm_memory memory;
	struct arch_cpuid *cpuid;
	struct arch_boot boot;
	struct vcpu *vcpus;
	struct vcpu_env env;
	struct vm_devices devices;

	/* The end: the first vCPU to see one wins; end_text is its before end_msg is posted. */
	_Atomic int end;
	char end_text[END_TEXT_MAX];
	struct reactor_msg end_msg;
	struct reactor_msg left_msg;
	struct reactor_msg ready_msg;
	_Atomic uint32_t n_left;
	_Atomic uint32_t n_ready;
	_Atomic uint64_t first_run_ns;
	struct error confine_error; /* code 0: none */
	bool started;
	bool ended; /* on_end was called */
	bool is_held;
	uint32_t applied; /* enum frame_applied */
};

static bool is_performance(const struct vm *vm)
{
	return vm->config.placement && vm->config.placement->is_performance;
}

/* vCPU threads */

static void note_end(struct vm *vm, enum vm_end end, const char *text)
{
	int running = VM_RUNNING;

	if (atomic_compare_exchange_strong(&vm->end, &running, (int)end)) {
		(void)snprintf(vm->end_text, sizeof(vm->end_text), "%s", text);
		/*
		 * The text is published by the post; the flag alone stops this vCPU before it
		 * enters the guest again.
		 */
		atomic_store_explicit(&vm->env.halting, true, memory_order_release);
		(void)reactor_post(vm->reactor, &vm->end_msg);
	}
	atomic_store_explicit(&vm->env.halting, true, memory_order_release);
}

static void on_vcpu_end(void *ctx, enum vcpu_end end, const char *text)
{
	static const enum vm_end ends[] = {
		[VCPU_TRIPLE_FAULT] = VM_TRIPLE_FAULT,
		[VCPU_INTERNAL_ERROR] = VM_KVM_ERROR,
		[VCPU_SYSTEM_RESET] = VM_RESET,
		[VCPU_SYSTEM_OFF] = VM_POWER_OFF,
	};

	note_end(ctx, ends[end], text);
}

static void on_power(void *ctx, enum power_event event)
{
	note_end(ctx, event == POWER_OFF ? VM_POWER_OFF : VM_RESET, "");
}

static void on_eoi(void *ctx, uint8_t vector)
{
	struct vm *vm = ctx;

	arch_irqchip_eoi(vm->devices.irqchip, vector);
}

static void on_vcpu_left(void *ctx)
{
	struct vm *vm = ctx;

	(void)atomic_fetch_add_explicit(&vm->n_left, 1, memory_order_release);
	(void)reactor_post(vm->reactor, &vm->left_msg);
}

static void on_vcpu_ready(void *ctx)
{
	struct vm *vm = ctx;
	uint32_t n = 1 + atomic_fetch_add_explicit(&vm->n_ready, 1, memory_order_acq_rel);

	if (n == topology_n_cpus(&vm->config.topology))
		(void)reactor_post(vm->reactor, &vm->ready_msg);
}

static void on_first_run(void *ctx)
{
	struct vm *vm = ctx;
	uint64_t never = 0;

	if (!atomic_load_explicit(&vm->first_run_ns, memory_order_relaxed))
		(void)atomic_compare_exchange_strong(&vm->first_run_ns, &never, clock_now_ns());
}

/* Reactor thread: the end, step by step */

static void kick_all(struct vm *vm)
{
	for (uint32_t i = 0; i < topology_n_cpus(&vm->config.topology); i++)
		vcpu_kick(&vm->vcpus[i]);
}

/*
 * The VM has ended when every thread has left and none of their messages is still on its way:
 * on_end may free the VM. Whatever message is still under way brings us here again.
 */
static void check_ended(struct vm *vm)
{
	uint32_t n_cpus = topology_n_cpus(&vm->config.topology);

	if (vm->ended || atomic_load_explicit(&vm->n_left, memory_order_acquire) < n_cpus)
		return;
	for (uint32_t i = 0; i < n_cpus; i++)
		vcpu_join(&vm->vcpus[i]);
	if (atomic_load(&vm->left_msg.posted) || atomic_load(&vm->end_msg.posted) ||
	    atomic_load(&vm->ready_msg.posted))
		return;
	vm->ended = true;
	vm->config.on_end(vm->config.ctx, (enum vm_end)atomic_load(&vm->end), vm->end_text);
}

static void on_end_msg(struct reactor_msg *msg)
{
	struct vm *vm = container_of(msg, struct vm, end_msg);

	kick_all(vm);
	check_ended(vm);
}

static void on_left_msg(struct reactor_msg *msg)
{
	check_ended(container_of(msg, struct vm, left_msg));
}

/*
 * Everything is open and in memory, every thread is there, and no vCPU has run. A build or a kernel
 * that has no filters is `ktstr doctor`'s to tell; one that has them and refuses is not.
 */
static void give_up_rights(struct vm *vm)
{
	struct error why;

	if (confine_check(&why) < 0)
		log_debug("vm: not confined: %s", why.text);
	else if (confine(&why) < 0)
		vm->confine_error = why;
}

static void on_ready_msg(struct reactor_msg *msg)
{
	struct vm *vm = container_of(msg, struct vm, ready_msg);

	if (vm->config.confine)
		give_up_rights(vm);
	if (vm->config.on_ready)
		vm->config.on_ready(vm->config.ctx);
	if (!vm->config.hold)
		vm_release(vm);
	check_ended(vm);
}

void vm_stop(struct vm *vm, enum vm_end end)
{
	ASSERT(end != VM_RUNNING);
	if (!vm->started || vm->ended)
		return;
	note_end(vm, end, "");
	vm_release(vm);                                /* to leave before they have run */
	virtio_console_cut_short(vm->devices.console); /* a vCPU may wait in a reset of it */
}

void vm_drain(struct vm *vm)
{
	ASSERT(vm->ended);
	vm_devices_drain(&vm->devices);
}

/* The build list */

static int up_layout(struct vm *vm, struct error *err)
{
	const struct vm_config *c = &vm->config;

	return memory_layout_make(&c->topology, c->memory_mib * MIB, &arch_memory_space,
				  &vm->layout, err);
}

static int find_supported(struct vm *vm, struct error *err)
{
	vm->supported = vm->config.supported;
	if (vm->supported)
		return 0;
	vm->supported = &vm->own_supported;
	return arch_supported_read(vm->kvm_fd, &vm->own_supported, err);
}

static int up_kvm(struct vm *vm, struct error *err)
{
	struct arch_limits limits;

	vm->kvm_fd = kvm_open(err);
	if (vm->kvm_fd < 0)
		return err->code;
	if (arch_check_capabilities(vm->kvm_fd, err) < 0 || find_supported(vm, err) < 0)
		return err->code;
	arch_limits_read(vm->kvm_fd, vm->supported, &limits);
	return arch_limits_check(&limits, &vm->config.topology, memory_layout_end(&vm->layout),
				 err);
}

static void down_kvm(struct vm *vm)
{
	fd_closep(&vm->kvm_fd);
}

/* As mbind takes them; the caller frees. Nodes beyond its limit are left out: none of such a number is known to Linux. */
static struct vm_host_nodes *host_nodes_of(const struct placement *p)
{
	struct vm_host_nodes *nodes = xcalloc(p->n_nodes, sizeof(*nodes));

	static_assert(sizeof(nodes->bits[0]) == sizeof(p->node_mems[0].words[0]) &&
			  sizeof(nodes->bits) <= sizeof(p->node_mems[0].words),
		      "the words are the same");
	for (uint32_t i = 0; i < p->n_nodes; i++)
		memcpy(nodes[i].bits, p->node_mems[i].words, sizeof(nodes[i].bits));
	return nodes;
}

/* Small pages of a performance run are kept from being swapped; huge ones never are. */
static void lock_memory(struct vm *vm)
{
	if (vm->config.hugepages != VM_HUGEPAGES_OFF && !vm->memory.fell_back)
		vm->applied |= APPLIED_HUGEPAGES | APPLIED_LOCKED;
	else if (vm_memory_lock(&vm->memory) == 0)
		vm->applied |= APPLIED_LOCKED;
}

static int up_memory(struct vm *vm, struct error *err)
{
	const struct placement *p = vm->config.placement;
	CLEANUP(freep) struct vm_host_nodes *nodes = is_performance(vm) ? host_nodes_of(p) : NULL;
	const struct vm_memory_config config = { .layout = &vm->layout,
						 .hugepages = vm->config.hugepages,
						 .share = vm->config.share_memory,
						 .host_nodes =
						     nodes ? nodes : vm->config.host_nodes };

	int res = vm_memory_init(&vm->memory, &config, err);
	if (res == 0 && nodes) {
		vm->applied |= APPLIED_BOUND;
		lock_memory(vm);
	}
	return res;
}

static void down_memory(struct vm *vm)
{
	vm_memory_fini(&vm->memory);
}

static int up_vm(struct vm *vm, struct error *err)
{
	vm->vm_fd = kvm_create_vm(vm->kvm_fd, err);
	if (vm->vm_fd < 0)
		return err->code;
	return vm_memory_set_slots(&vm->memory.mem, vm->vm_fd, err);
}

static void down_vm(struct vm *vm)
{
	fd_closep(&vm->vm_fd);
}

/*
 * Polling in the host for a halted vCPU: worth it only while there is a CPU for every vCPU, and nothing to poll for where the guest
 * halts without an exit, or, having a hint of performance mode, polls by itself.
 */
static void set_halt_poll(struct vm *vm)
{
	const struct placement *p = vm->config.placement;
	long n = p && p->n_vcpu_cpus ? (long)p->n_vcpu_cpus : sysconf(_SC_NPROCESSORS_ONLN);
	bool room = !is_performance(vm) && n > 0 &&
		    topology_n_cpus(&vm->config.topology) <= (unsigned long)n;
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HALT_POLL,
				      .args = { room ? HALT_POLL_NS : 0 } };
	int res = kvm_ioctl(vm->vm_fd, KVM_ENABLE_CAP, (uintptr_t)&cap);

	/* Older kernels lack it and keep their own default: a matter of efficiency only. */
	if (res < 0)
		log_debug("KVM_CAP_HALT_POLL: %d", res);
}

static int up_irqchip(struct vm *vm, struct error *err)
{
	const struct arch_vm_config config = { .topology = &vm->config.topology,
					       .pit = vm->config.pit };

	set_halt_poll(vm);
	if (arch_vm_init(vm->vm_fd, &config, err) < 0)
		return err->code;
	if (is_performance(vm)) {
		struct arch_exits_off off = arch_vm_disable_exits(vm->vm_fd);
		vm->applied |= (off.pause ? APPLIED_PAUSE : 0) | (off.hlt ? APPLIED_HLT : 0);
	}
	return 0;
}

/* Of use to nobody but who measures: KVM looks at it only when the clock is set. */
static void check_clock(struct vm *vm)
{
	bool stable = false;

	if (is_performance(vm) && arch_vm_is_clock_stable(vm->vm_fd, &stable) == 0 && stable)
		vm->applied |= APPLIED_CLOCK;
}

static int up_vcpus(struct vm *vm, struct error *err)
{
	const struct topology *t = &vm->config.topology;
	const struct arch_cpuid_config cpuid = { .supported = vm->supported,
						 .topology = t,
						 .mask = vm->config.cpu_mask,
						 .realtime = is_performance(vm),
						 .no_hlt_exits = vm->applied & APPLIED_HLT };
	uint32_t n = topology_n_cpus(t);

	if (arch_cpuid_new(vm->kvm_fd, &cpuid, &vm->cpuid, err) < 0)
		return err->code;
	vm->vcpus = xcalloc(n, sizeof(*vm->vcpus));
	for (uint32_t i = 0; i < n; i++)
		vm->vcpus[i] = VCPU_INIT;
	for (uint32_t i = 0; i < n; i++) {
		struct vcpu *v = &vm->vcpus[i];
		if (vcpu_init(v, vm->kvm_fd, vm->vm_fd, arch_vcpu_id(t, i), i, &vm->env, err) < 0 ||
		    arch_vcpu_set_cpuid(v->fd, vm->cpuid, i, err) < 0)
			return err->code;
	}
	check_clock(vm);
	return 0;
}

static void down_vcpus(struct vm *vm)
{
	for (uint32_t i = 0; vm->vcpus && i < topology_n_cpus(&vm->config.topology); i++)
		vcpu_fini(&vm->vcpus[i]);
	freep(&vm->vcpus);
	vm->cpuid = arch_cpuid_free(vm->cpuid);
}

/* The initramfs: a file, and right behind it the suffix from memory, if there is one. */
static int load_initrd(struct vm *vm, struct error *err)
{
	const struct vm_config *c = &vm->config;
	gpa_t suffix;

	vm->boot.initrd_len = c->initrd_len + c->initrd_suffix_len;
	if (arch_initrd_place(vm->boot.ram_bytes, c->kernel->end, vm->boot.initrd_len,
			      &vm->boot.initrd, err) < 0 ||
	    vm_memory_load_file(&vm->memory, vm->boot.initrd, c->initrd_fd, 0, c->initrd_len, err) <
		0)
		return err->code;
	/* No suffix, no place for it: a file that ends with RAM has nothing behind it. */
	if (!c->initrd_suffix_len)
		return 0;
	int res =
	    gpa_add(vm->boot.initrd, c->initrd_len, &suffix)
		? guest_mem_write(&vm->memory.mem, suffix, c->initrd_suffix, c->initrd_suffix_len)
		: -EFAULT;
	return res < 0 ? error_set(err, res, "cannot place the initramfs") : 0;
}

static int up_load(struct vm *vm, struct error *err)
{
	const struct vm_config *c = &vm->config;
	const struct kernel_image *k = c->kernel;

	vm->boot = (struct arch_boot){
		.kind = k->is_linux ? ARCH_ENTRY_LINUX : ARCH_ENTRY_BARE,
		.entry = GPA(k->entry),
		.setup_header = k->setup_header_len ? k->setup_header : NULL,
		.setup_header_len = k->setup_header_len,
		.cmdline = c->cmdline,
		.topology = &c->topology,
		.ram_bytes = c->memory_mib * MIB,
		.memory = &vm->layout,
		.console = true,
		.blk = c->disk != NULL,
		.net = c->net != NULL,
	};
	if (vm_memory_load_kernel(&vm->memory, k, err) < 0 ||
	    (c->initrd_fd >= 0 && load_initrd(vm, err) < 0))
		return err->code;
	return arch_boot_write(&vm->memory.mem, &vm->boot, err);
}

static int up_devices(struct vm *vm, struct error *err)
{
	const struct vm_devices_config config = {
		.vm = &vm->config,
		.reactor = vm->reactor,
		.vm_fd = vm->vm_fd,
		.mem = &vm->memory.mem,
		.on_power = on_power,
		.ctx = vm,
	};

	return vm_devices_init(&vm->devices, &config, err);
}

static void down_devices(struct vm *vm)
{
	vm_devices_fini(&vm->devices);
}

static int up_boot_registers(struct vm *vm, struct error *err)
{
	for (uint32_t i = 0; i < topology_n_cpus(&vm->config.topology); i++)
		if (arch_vcpu_init(vm->vcpus[i].fd, i, &vm->boot, err) < 0)
			return err->code;
	return 0;
}

/* down of a step runs also when its own up failed half-way: each undoes what it finds. */
static const struct step {
	const char *name;
	int (*up)(struct vm *vm, struct error *err);
	void (*down)(struct vm *vm);
} steps[] = {
	{ "layout", up_layout, NULL },
	{ "kvm and limits", up_kvm, down_kvm },
	{ "memory", up_memory, down_memory },
	{ "vm and slots", up_vm, down_vm },
	{ "irqchip", up_irqchip, NULL },
	{ "vcpus", up_vcpus, down_vcpus },
	{ "load", up_load, NULL },
	{ "devices", up_devices, down_devices },
	{ "boot registers", up_boot_registers, NULL },
};

int vm_new(const struct vm_config *config, struct reactor *r, struct vm **ret, struct error *err)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));

	vm->config = *config;
	vm->reactor = r;
	vm->kvm_fd = vm->vm_fd = -1;
	vm->memory = VM_MEMORY_INIT;
	vm->end_msg.fn = on_end_msg;
	vm->left_msg.fn = on_left_msg;
	vm->ready_msg.fn = on_ready_msg;
	vm->env = (struct vcpu_env){ .mmio = &vm->devices.mmio,
				     .ports = &vm->devices.ports,
				     .on_end = on_vcpu_end,
				     .on_eoi = on_eoi,
				     .on_ready = on_vcpu_ready,
				     .on_left = on_vcpu_left,
				     .on_first_run = on_first_run,
				     .ctx = vm,
				     .gate = PTHREAD_MUTEX_INITIALIZER };
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		uint64_t begin = clock_now_ns();
		vm->n_steps_done = i + 1;
		if (steps[i].up(vm, err) < 0) {
			(void)vm_free(vm);
			return err->code;
		}
		log_debug("vm: %s: %" PRIu64 " us", steps[i].name,
			  (clock_now_ns() - begin) / NS_PER_US);
	}
	*ret = vm;
	return 0;
}

struct vm *vm_free(struct vm *vm)
{
	if (!vm)
		return NULL;
	ASSERT(!vm->started || vm->ended);
	for (size_t i = vm->n_steps_done; i-- > 0;)
		if (steps[i].down)
			steps[i].down(vm);
	free(vm);
	return NULL;
}

void vm_release(struct vm *vm)
{
	if (vm->is_held)
		(void)pthread_mutex_unlock(&vm->env.gate);
	vm->is_held = false;
}

static struct vcpu_thread thread_of(const struct vm *vm, uint32_t vcpu)
{
	return (struct vcpu_thread){ .cpu = is_performance(vm)
						? vm->config.placement->vcpu_cpus[vcpu]
						: VCPU_ANY_CPU,
				     .is_fifo = is_performance(vm) && vm->config.is_fifo };
}

int vm_start(struct vm *vm, struct error *err)
{
	uint32_t n = topology_n_cpus(&vm->config.topology);

	ASSERT(!vm->started);
	if (vcpu_signal_init(err) < 0)
		return err->code;
	vm->env.confine = vm->config.confine;
	(void)pthread_mutex_lock(&vm->env.gate);
	vm->is_held = true;
	for (uint32_t i = 0; i < n; i++) {
		const struct vcpu_thread how = thread_of(vm, i);
		if (vcpu_start(&vm->vcpus[i], &how, err) == 0)
			continue;
		/*
		 * Those that run already are taken back; this waits for them, which only a failed
		 * start may.
		 */
		atomic_store(&vm->env.halting, true);
		vm_release(vm);
		kick_all(vm);
		for (uint32_t j = 0; j < i; j++)
			vcpu_join(&vm->vcpus[j]);
		reactor_turn(vm->reactor, 0); /* their posts refer to this VM */
		return err->code;
	}
	vm->started = true;
	return 0;
}

struct frame_started vm_started(const struct vm *vm)
{
	struct frame_started s = { .memory_base = (uintptr_t)vm->memory.base,
				   .memory_len = vm->memory.len,
				   .applied = vm->applied,
				   .held = vm->config.hold };

	if (is_performance(vm))
		s.applied |= APPLIED_PINS | (vm->config.is_fifo ? APPLIED_FIFO : 0);
	return s;
}

const struct vcpu_stats *vm_vcpu_stats(const struct vm *vm, uint32_t cpu)
{
	return &vm->vcpus[cpu].stats;
}

const char *vm_confine_failure(const struct vm *vm)
{
	return vm->confine_error.code ? vm->confine_error.text : NULL;
}

bool vm_lacks_hugepages(const struct vm *vm)
{
	return vm->memory.fell_back;
}

struct virtio_console *vm_console(struct vm *vm)
{
	return vm->devices.console;
}

void vm_describe_vcpu(const struct vm *vm, uint32_t cpu, char *text, size_t n)
{
	arch_vcpu_describe(vm->vcpus[cpu].fd, text, n);
}

uint64_t vm_first_run_ns(const struct vm *vm)
{
	return atomic_load(&vm->first_run_ns);
}

void vm_stop_disk(struct vm *vm, void (*done)(void *ctx), void *ctx)
{
	vm_devices_stop_disk(&vm->devices, done, ctx);
}

void vm_stats(const struct vm *vm, struct vm_stats *ret)
{
	*ret = (struct vm_stats){ 0 };
	for (uint32_t i = 0; i < topology_n_cpus(&vm->config.topology); i++) {
		const struct vcpu_stats *s = &vm->vcpus[i].stats;
		ret->n_io_exits += atomic_load_explicit(&s->n_io, memory_order_relaxed);
		ret->n_mmio_exits += atomic_load_explicit(&s->n_mmio, memory_order_relaxed);
		ret->n_interrupted += atomic_load_explicit(&s->n_interrupted, memory_order_relaxed);
		ret->n_other_exits += atomic_load_explicit(&s->n_other, memory_order_relaxed);
	}
	vm_devices_stats(&vm->devices, ret);
}
