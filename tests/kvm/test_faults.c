/*
 * Every step of building a VM fails once, and nothing leaks. A VM is built, run and taken down in a child whose system
 * calls a seccomp listener shows to the parent; the parent lets one of them fail. The child then compares what it has
 * with what it had: descriptors, address space, and by the sanitizer's own check at exit, heap memory.
 *
 *	child                                   parent
 *	filter, SIGSTOP ----------------------> takes the listener, SIGCONT
 *	armed; a system call -----------------> counts it: goes on, or gets an error
 *	disarmed; checks; exit ---------------> exit status, text in the shared page
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "guest_vm.h"

enum { MAX_CALLS = 2048, NO_FAULT = MAX_CALLS, MEMORY_MIB = 1024, LIMIT_S = 60 };
/* Exit statuses that no sanitizer has. */
enum { CHILD_BUILT = 40, CHILD_REFUSED, CHILD_WRONG };

/* Written by the child but for armed's readers; the parent looks when it has ended, or at armed. */
struct shared {
	_Atomic int listener;
	_Atomic bool armed;
	char text[ERROR_TEXT_MAX]; /* the error, or what is wrong */
};

/* What a run did: its system calls, by kind. */
struct record {
	size_t n;
	uint64_t kind[MAX_CALLS]; /* number, and for ioctl the request */
	int status;               /* CHILD_*, or the wait status of a crash, negative */
	char text[ERROR_TEXT_MAX];
};

static struct vm_config vm_config; /* the child's: set by the test before the fork */

/* --- child --- */

static void give_up(struct shared *s, const char *what, long is, long was)
{
	(void)snprintf(s->text, sizeof(s->text), "%s: %ld, before it was %ld", what, is, was);
	exit(CHILD_WRONG); /* NOLINT(concurrency-mt-unsafe) */
}

static long count_fds(void)
{
	long n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static long address_space_mib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = 0;

	if (!f || fscanf(f, "%ld", &pages) != 1) /* NOLINT(cert-err34-c): the kernel wrote it */
		pages = -1;
	if (f)
		(void)fclose(f);
	return pages / (long)(MIB / 4096);
}

static void on_end(void *ctx, enum vm_end end UNUSED, const char *text UNUSED)
{
	reactor_stop(ctx, 0);
}

static void take_output(void *ctx UNUSED, const uint8_t *data UNUSED, size_t n UNUSED)
{
}

static size_t take_port(void *ctx UNUSED, const uint8_t *data UNUSED, size_t n)
{
	return n;
}

/* Builds, runs, takes down; the system calls in here are the ones that fail. */
static int build_and_run(struct reactor *r, struct error *err)
{
	struct vm *vm = NULL;
	int res = vm_new(&vm_config, r, &vm, err);

	if (res == 0) {
		res = vm_start(vm, err);
		if (res == 0)
			(void)reactor_run(r); /* on_end stops it */
		vm = vm_free(vm);
	}
	return res;
}

/*
 * The steps of a VM, and nothing of a sanitizer's allocator: a call that waits for the parent ends in EINTR when its vCPU
 * is kicked, and an allocator dies of that. KVM_RUN is no step. Returns the listener.
 */
static int listen_to_calls(void)
{
	static const int whole[] = { SYS_openat, SYS_eventfd2, SYS_memfd_create,
				     SYS_mbind,  SYS_clone3,   SYS_pread64 };
	const struct scmp_arg_cmp shared = SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_SHARED, MAP_SHARED),
				  lazy = SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_NORESERVE, MAP_NORESERVE),
				  fixed = SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_FIXED, MAP_FIXED),
				  large = SCMP_A1(SCMP_CMP_GE, MEMORY_MIB * MIB / 16),
				  file = SCMP_A4_32(SCMP_CMP_LE, INT32_MAX);
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int res = f ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(whole) && res == 0; i++)
		res = seccomp_rule_add(f, SCMP_ACT_NOTIFY, whole[i], 0);
	if (res == 0)
		res = seccomp_rule_add(f, SCMP_ACT_NOTIFY, SYS_ioctl, 1,
				       SCMP_A1_32(SCMP_CMP_NE, KVM_RUN));
	if (res == 0)
		res = seccomp_rule_add(f, SCMP_ACT_NOTIFY, SYS_mmap, 1, shared);
	if (res == 0)
		res = seccomp_rule_add(f, SCMP_ACT_NOTIFY, SYS_mmap, 2, lazy, large);
	if (res == 0)
		res = seccomp_rule_add(f, SCMP_ACT_NOTIFY, SYS_mmap, 2, fixed, file);
	if (res == 0)
		res = seccomp_load(f);
	int listener = res == 0 ? seccomp_notify_fd(f) : res;
	seccomp_release(f);
	return listener;
}

static void child(struct shared *s)
{
	struct reactor *r;
	struct error err;

	if (reactor_new(&(struct reactor_config){ .backend = REACTOR_AUTO }, &r, &err) < 0)
		give_up(s, "reactor", err.code, 0);
	vm_config.ctx = r;
	s->listener = listen_to_calls();
	if (s->listener < 0)
		give_up(s, "seccomp", s->listener, 0);
	(void)raise(SIGSTOP);
	(void)alarm(LIMIT_S); /* one that hangs is a crash, and the sweep goes on */
	long fds = count_fds(), mib = address_space_mib();
	s->armed = true;
	int res = build_and_run(r, &err);
	s->armed = false;
	(void)snprintf(s->text, sizeof(s->text), "%s", res < 0 ? err.text : "");
	if (count_fds() != fds)
		give_up(s, "descriptors", count_fds(), fds);
	if (address_space_mib() > mib + MEMORY_MIB / 2)
		give_up(s, "MiB of addresses", address_space_mib(), mib);
	(void)reactor_free(r);
	exit(res < 0 ? CHILD_REFUSED : CHILD_BUILT); /* NOLINT(concurrency-mt-unsafe) */
}

/* --- parent --- */

static int error_for(int nr)
{
	switch (nr) {
	case SYS_openat:
	case SYS_eventfd2:
	case SYS_memfd_create:
		return -EMFILE;
	case SYS_clone3:
		return -EAGAIN;
	case SYS_pread64:
		return -EIO;
	default:
		return -ENOMEM;
	}
}

/* A call that is gone was the last one's, or a vCPU thread's, which was kicked out of it. */
static bool is_over(int listener)
{
	struct pollfd p = { .fd = listener };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

/* One call: false when nobody is left who makes one. */
static bool serve(int listener, const struct shared *s, size_t fault, struct record *rec)
{
	struct seccomp_notif call = { 0 };

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0)
		return errno == EINTR || (errno == ENOENT && !is_over(listener));
	struct seccomp_notif_resp answer = { .id = call.id,
					     .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
	if (s->armed && rec->n < MAX_CALLS) {
		uint64_t request = call.data.nr == SYS_ioctl ? (uint32_t)call.data.args[1] : 0;
		if (rec->n == fault) {
			answer.flags = 0;
			answer.error = error_for(call.data.nr);
		}
		rec->kind[rec->n++] = (uint64_t)call.data.nr << 32 | request;
	}
	/* ENOENT: a signal took the call away, it comes again. */
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0 || errno == ENOENT;
}

static void run_with_fault(struct shared *s, size_t fault, struct record *rec)
{
	int status;

	*s = (struct shared){ 0 };
	*rec = (struct record){ 0 };
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(s);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status)) {
		CLEANUP(fd_closep) int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
		CLEANUP(fd_closep)
		int listener = (int)syscall(SYS_pidfd_getfd, pid_fd, s->listener, 0);
		assert_true(listener >= 0);
		assert_int_equal(kill(pid, SIGCONT), 0);
		while (serve(listener, s, fault, rec))
			;
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	rec->status = WIFEXITED(status) ? WEXITSTATUS(status) : -status;
	memcpy(rec->text, s->text, sizeof(rec->text));
}

/* How many of its kind came before call @i. */
static size_t n_before(const struct record *rec, size_t i)
{
	size_t n = 0;

	for (size_t j = 0; j < i; j++)
		n += rec->kind[j] == rec->kind[i];
	return n;
}

/* Steps that must have failed, by what they say. */
static void check_texts(const char *const *wanted, const struct buf *texts)
{
	for (; *wanted; wanted++)
		if (!strstr((const char *)texts->data, *wanted))
			fail_msg("no step failed with '%s', but: %s", *wanted,
				 (const char *)texts->data);
}

/* Fails each call in turn, of each kind the first @max_of_kind; @wanted is among the errors. */
static void sweep(size_t max_of_kind, const char *const *wanted)
{
	struct shared *s =
	    mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* Static: a test that fails does not come back here, and that is no leak. */
	static struct record records[2];
	static struct buf texts;
	struct record *all = &records[0], *one = &records[1];
	size_t n_refused = 0, n_tried = 0;

	assert_ptr_not_equal(s, MAP_FAILED);
	run_with_fault(s, NO_FAULT, all);
	if (all->status != CHILD_BUILT)
		fail_msg("without a fault: %d, %s", all->status, all->text);
	for (size_t i = 0; i < all->n; i++) {
		if (n_before(all, i) >= max_of_kind)
			continue;
		run_with_fault(s, i, one);
		n_tried++;
		n_refused += one->status == CHILD_REFUSED;
		if (one->status != CHILD_BUILT && one->status != CHILD_REFUSED)
			fail_msg("call %zu (%#llx) failed: status %d, %s", i,
				 (unsigned long long)all->kind[i], one->status, one->text);
		buf_printf(&texts, "%s\n", one->text);
	}
	check_texts(wanted, &texts);
	print_message("%zu calls, %zu failed in turn, %zu ended the build\n", all->n, n_tried,
		      n_refused);
	assert_true(n_refused > n_tried / 2);
	buf_fini(&texts);
	assert_int_equal(munmap(s, sizeof(*s)), 0);
}

/* --- tests --- */

struct fixture {
	struct kernel_image kernel;
	struct virtio_blk_config disk;
	struct virtio_net_config net;
	struct vm_host_nodes nodes[2];
	int initrd_fd;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	char path[512];
	struct error err;

	(void)snprintf(path, sizeof(path), "%s/guest_hello", GUEST_DIR);
	f->kernel = KERNEL_IMAGE_INIT;
	f->disk = (struct virtio_blk_config){ .fd = memfd_create("disk", MFD_CLOEXEC),
					      .file = { .capacity = MIB,
							.block_size = VIRTIO_BLK_SECTOR },
					      .limits = { .depth = VIRTIO_BLK_DEPTH_MAX },
					      .id = "disk" };
	f->initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	f->nodes[0].bits[0] = 1;
	if (ftruncate(f->disk.fd, (off_t)MIB) < 0 || ftruncate(f->initrd_fd, 100001) < 0 ||
	    kernel_image_open(
		&(struct kernel_image_config){ .path = path, .cache_dir = "/nonexistent" },
		&f->kernel, &err) < 0)
		return -1;
	vm_config = (struct vm_config){ .kernel = &f->kernel,
					.initrd_fd = f->initrd_fd,
					.initrd_len = 100001,
					.cmdline = "",
					.topology = topology_uniform(2, 2, 1, 1),
					.memory_mib = MEMORY_MIB,
					.disk = &f->disk,
					.net = &f->net,
					.com1 = take_output,
					.com2 = take_output,
					.on_end = on_end };
	for (size_t i = 0; i < VIRTIO_CONSOLE_N_PORTS; i++)
		vm_config.console.ops[i].output = take_port;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kernel_image_fini(&f->kernel);
	fd_closep(&f->disk.fd);
	fd_closep(&f->initrd_fd);
	free(f);
	return 0;
}

static void test_each_call_of_a_small_vm_fails_once(void **state UNUSED)
{
	static const char *const wanted[] = { "/dev/kvm",
					      "KVM_CAP_",
					      "cannot reserve addresses",
					      "cannot map 1024 MiB",
					      "KVM_CREATE_VM",
					      "KVM_SET_USER_MEMORY_REGION",
					      "KVM_SET_TSS_ADDR",
					      "KVM_CREATE_IRQCHIP",
					      "KVM_SET_IRQCHIP",
					      "KVM_GET_SUPPORTED_CPUID",
					      "KVM_CREATE_VCPU 1",
					      "mmap of vCPU 1",
					      "KVM_SET_CPUID2",
					      "cannot map an image",
					      "cannot read an image",
					      "eventfd",
					      "KVM_IRQFD",
					      "KVM_SET_MSRS",
					      "KVM_SET_SREGS",
					      "KVM_SET_LAPIC",
					      "cannot start the thread of vCPU 1",
					      NULL };

	sweep(MAX_CALLS, wanted);
}

static void test_each_call_of_shared_and_bound_memory_fails_once(void **state)
{
	static const char *const wanted[] = { "cannot bind the memory of node 0",
					      "cannot map 1024 MiB", "cannot read an image", NULL };
	struct fixture *f = *state;

	vm_config.share_memory = true;
	vm_config.hugepages = VM_HUGEPAGES_TRY;
	vm_config.host_nodes = f->nodes;
	sweep(MAX_CALLS, wanted);
}

static void test_each_kind_of_call_of_a_vm_with_wide_apic_ids_fails_once(void **state UNUSED)
{
	static const char *const wanted[] = { "KVM_CAP_SPLIT_IRQCHIP", "KVM_CAP_X2APIC_API",
					      "KVM_CREATE_VCPU", NULL };

	vm_config.topology = topology_uniform(1, 5, 5, 5);
	sweep(3, wanted);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_each_call_of_a_small_vm_fails_once),
		CASE(test_each_call_of_shared_and_bound_memory_fails_once),
		CASE(test_each_kind_of_call_of_a_vm_with_wide_apic_ids_fails_once),
	};
	guest_vm_skip_without_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
