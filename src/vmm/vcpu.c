#include "vmm/vcpu.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/assert.h"
#include "base/fd.h"
#include "vmm/confine.h"
#include "vmm/kvm.h"

/*
 * The kick: with immediate_exit set, KVM_RUN returns EINTR at once; the signal ends one that is
 * inside the guest or blocked in HLT. Setting the flag before sending the signal leaves no window.
 */
enum { VCPU_STACK = 256 * 1024 };

static int kick_signal(void)
{
	return SIGRTMIN;
}

static void on_kick(int sig)
{
}

int vcpu_signal_init(struct error *err)
{
	struct sigaction sa = { .sa_handler = on_kick };

	return sigaction(kick_signal(), &sa, NULL) < 0 ? error_set(err, errno, "sigaction") : 0;
}

/* NOLINTNEXTLINE(readability-function-size): each is one thing that KVM wants to know */
int vcpu_init(struct vcpu *v, int kvm_fd, int vm_fd, uint64_t id, uint32_t index,
	      struct vcpu_env *env, struct error *err)
{
	*v = VCPU_INIT;
	v->index = index;
	v->env = env;
	int size = kvm_ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return kvm_error(err, size < 0 ? size : -EINVAL, "KVM_GET_VCPU_MMAP_SIZE");
	v->fd = kvm_ioctl(vm_fd, KVM_CREATE_VCPU, id);
	if (v->fd < 0)
		return kvm_error(err, v->fd, "KVM_CREATE_VCPU %u (id %" PRIu64 ")", index, id);
	void *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED)
		return kvm_error(err, errno, "mmap of vCPU %u", index);
	v->run = run;
	v->run_len = (size_t)size;
	return 0;
}

void vcpu_fini(struct vcpu *v)
{
	ASSERT(!v->started);
	if (v->run)
		(void)munmap(v->run, v->run_len); /* our own mapping: cannot fail */
	v->run = NULL;
	fd_closep(&v->fd);
}

static void port_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	/* count > 1: a string instruction moves that many items through the same port. */
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		uint64_t value = 0;
		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, run->io.size);
			(void)io_bus_write(v->env->ports, run->io.port, run->io.size, value);
		} else {
			if (!io_bus_read(v->env->ports, run->io.port, run->io.size, &value))
				value = UINT64_MAX;
			memcpy(data, &value, run->io.size);
		}
	}
}

static void mmio_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, sizeof(value));
		(void)io_bus_write(v->env->mmio, run->mmio.phys_addr, run->mmio.len, value);
	} else {
		if (!io_bus_read(v->env->mmio, run->mmio.phys_addr, run->mmio.len, &value))
			value = UINT64_MAX;
		memcpy(run->mmio.data, &value, sizeof(run->mmio.data));
	}
}

/* Tells the VM that this vCPU cannot go on, with its registers. */
static void fail(struct vcpu *v, enum vcpu_end end, const char *what)
{
	char regs[256], text[512];

	arch_vcpu_describe(v->fd, regs, sizeof(regs));
	(void)snprintf(text, sizeof(text), "vCPU %u: %s; %s", v->index, what, regs);
	v->env->on_end(v->env->ctx, end, text);
}

static void internal_error(struct vcpu *v)
{
	const struct kvm_run *run = v->run;
	char what[192];
	int n;

	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
		n = snprintf(what, sizeof(what), "KVM could not emulate an instruction");
		if (run->internal.ndata >= 2 &&
		    run->emulation_failure.flags &
			KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) {
			size_t len = run->emulation_failure.insn_size;
			for (size_t i = 0; i < len && i < sizeof(run->emulation_failure.insn_bytes);
			     i++)
				n += snprintf(what + n, sizeof(what) - (size_t)n, "%s%02x",
					      i ? " " : ": ", run->emulation_failure.insn_bytes[i]);
		}
	} else {
		(void)snprintf(what, sizeof(what), "KVM internal error %u", run->internal.suberror);
	}
	fail(v, VCPU_INTERNAL_ERROR, what);
}

static void system_event(struct vcpu *v)
{
	uint32_t type = v->run->system_event.type;

	if (type == KVM_SYSTEM_EVENT_SHUTDOWN)
		fail(v, VCPU_SYSTEM_OFF, "system event: shutdown");
	else if (type == KVM_SYSTEM_EVENT_RESET)
		fail(v, VCPU_SYSTEM_RESET, "system event: reset");
	else
		fail(v, VCPU_INTERNAL_ERROR, "unknown system event");
}

static void count(_Atomic uint64_t *counter)
{
	/* One writer: no read-modify-write cycle needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* What the guest wants after KVM_RUN returned 0. */
static void handle_exit(struct vcpu *v)
{
	char what[64];

	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		count(&v->stats.n_io);
		port_exit(v);
		break;
	case KVM_EXIT_MMIO:
		count(&v->stats.n_mmio);
		mmio_exit(v);
		break;
	case KVM_EXIT_IOAPIC_EOI:
		count(&v->stats.n_other);
		v->env->on_eoi(v->env->ctx, v->run->eoi.vector);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		count(&v->stats.n_other);
		break;
	case KVM_EXIT_SHUTDOWN:
		fail(v, VCPU_TRIPLE_FAULT, "triple fault");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(v);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		system_event(v);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		(void)snprintf(
		    what, sizeof(what), "KVM could not enter the guest, hardware reason %#llx",
		    (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
		fail(v, VCPU_INTERNAL_ERROR, what);
		break;
	default:
		(void)snprintf(what, sizeof(what), "unexpected KVM exit %u", v->run->exit_reason);
		fail(v, VCPU_INTERNAL_ERROR, what);
		break;
	}
}

/* Not kvm_ioctl: EINTR is the answer we want here. */
static int ioctl_run(int fd)
{
	return ioctl(fd, KVM_RUN, 0) < 0 ? -errno : 0;
}

static void run_loop(struct vcpu *v)
{
	while (!atomic_load_explicit(&v->env->halting, memory_order_acquire)) {
		int res = ioctl_run(v->fd);
		if (res == 0) {
			handle_exit(v);
		} else if (res == -EINTR || res == -EAGAIN) {
			/* A kick, or an application processor that waits for its start-up IPI. */
			count(&v->stats.n_interrupted);
		} else {
			char what[128], buf[64];
			(void)snprintf(what, sizeof(what), "KVM_RUN: %s",
				       strerror_r(-res, buf, sizeof(buf)));
			fail(v, VCPU_INTERNAL_ERROR, what);
		}
	}
}

/* "RUN_NS DELAY_NS SLICES" of proc(5), of the thread that opened it. */
static void account(struct vcpu *v, int schedstat_fd)
{
	char text[96] = "";
	uint64_t run_ns, delay_ns;
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage) == 0)
		atomic_store_explicit(&v->stats.n_involuntary, (uint64_t)usage.ru_nivcsw,
				      memory_order_relaxed);
	/* The first read of it: what the kernel writes then is of now. */
	if (read(schedstat_fd, text, sizeof(text) - 1) <= 0 ||
	    sscanf(text, "%" SCNu64 " %" SCNu64, &run_ns, &delay_ns) !=
		2) /* NOLINT(cert-err34-c) */
		return;
	atomic_store_explicit(&v->stats.run_ns, run_ns, memory_order_relaxed);
	atomic_store_explicit(&v->stats.run_delay_ns, delay_ns, memory_order_relaxed);
	atomic_store_explicit(&v->stats.has_time, true, memory_order_relaxed);
}

static void *thread_main(void *arg)
{
	struct vcpu *v = arg;
	char name[16];

	(void)snprintf(name, sizeof(name), "vcpu%u", v->index);
	(void)pthread_setname_np(pthread_self(), name); /* a name is a courtesy */
	/* Now, because the process may open nothing once the guest runs. */
	CLEANUP(fd_closep)
	int schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	/* The creator has set affinity and priority by now. */
	if (v->env->confine)
		confine_drop_capabilities();
	if (v->env->on_ready)
		v->env->on_ready(v->env->ctx);
	(void)pthread_mutex_lock(&v->env->gate); /* a plain mutex: neither can fail */
	(void)pthread_mutex_unlock(&v->env->gate);
	if (v->env->on_first_run)
		v->env->on_first_run(v->env->ctx);
	run_loop(v);
	account(v, schedstat_fd);
	v->env->on_left(v->env->ctx);
	return NULL;
}

/* Born with what it needs: there is no moment in which it runs elsewhere or can be put off by others. */
static int set_attributes(pthread_attr_t *attr, const struct vcpu_thread *how)
{
	const struct sched_param priority = { .sched_priority = VCPU_FIFO_PRIORITY };
	struct id_set cpus = { 0 };
	int res = pthread_attr_setstacksize(attr, VCPU_STACK);

	if (res == 0 && how->cpu != VCPU_ANY_CPU) {
		id_set_add(&cpus, how->cpu);
		res = pthread_attr_setaffinity_np(attr, sizeof(cpus.words), id_set_cpus(&cpus));
	}
	if (res || !how->is_fifo)
		return res;
	res = pthread_attr_setinheritsched(attr, PTHREAD_EXPLICIT_SCHED);
	if (res == 0)
		res = pthread_attr_setschedpolicy(attr, SCHED_FIFO);
	return res ? res : pthread_attr_setschedparam(attr, &priority);
}

int vcpu_start(struct vcpu *v, const struct vcpu_thread *how, struct error *err)
{
	sigset_t all, old;
	pthread_attr_t attr;

	ASSERT(!v->started);
	/*
	 * Born with every signal but the kick blocked: signals of the process belong to the I/O
	 * thread.
	 */
	(void)sigfillset(&all);
	(void)sigdelset(&all, kick_signal());
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	(void)pthread_attr_init(&attr);
	int res = set_attributes(&attr, how);
	if (res == 0)
		res = pthread_create(&v->thread, &attr, thread_main, v);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (res)
		return kvm_error(err, res, "cannot start the thread of vCPU %u", v->index);
	v->started = true;
	return 0;
}

void vcpu_kick(struct vcpu *v)
{
	ASSERT(atomic_load_explicit(&v->env->halting, memory_order_relaxed));
	if (!v->started)
		return;
	v->run->immediate_exit = 1;
	(void)pthread_kill(v->thread, kick_signal()); /* not joined yet: the id is valid */
}

void vcpu_join(struct vcpu *v)
{
	if (!v->started)
		return;
	(void)pthread_join(v->thread, NULL);
	v->started = false;
}
