/*
 * The confinement of a VM process (vmm/confine.h): what is forbidden ends the process, each call tried in one of its own and, to see
 * that the trial could have gone well, once in a free one; what a VM and libc need goes on working, in whole lives on both reactors.
 */
#include "guest_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/frame.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "virtio/blk_file.h"
#include "vmm/confine.h"
#include "vmm/vm_process.h"

enum { LIMIT_MS = 30 * 1000, SURVIVED = 7, UNCONFINED = 8, DISK_MIB = 4, N_THREADS = 4 };

/* ---- what is forbidden ---- */

/* Where a pointer is due there is NULL: a call that gets through fails, and the process goes on. */
static const struct trial {
	const char *name;
	long call;
	long args[5];
} trials[] = {
	{ "open", SYS_open, { 0 } },
	{ "openat", SYS_openat, { AT_FDCWD } },
	{ "openat2", SYS_openat2, { AT_FDCWD } },
	{ "creat", SYS_creat, { 0 } },
	{ "stat of a path", SYS_newfstatat, { AT_FDCWD } },
	{ "unlink", SYS_unlink, { 0 } },
	{ "mount", SYS_mount, { 0 } },
	{ "socket", SYS_socket, { AF_INET, SOCK_STREAM } },
	{ "connect", SYS_connect, { -1 } },
	{ "bind", SYS_bind, { -1 } },
	{ "recvmsg", SYS_recvmsg, { -1 } },
	{ "execve", SYS_execve, { 0 } },
	{ "execveat", SYS_execveat, { -1 } },
	{ "ptrace", SYS_ptrace, { PTRACE_PEEKDATA } },
	{ "process_vm_readv", SYS_process_vm_readv, { 1 } },
	{ "memfd_create", SYS_memfd_create, { 0 } },
	{ "pidfd_open", SYS_pidfd_open, { -1 } },
	{ "dup", SYS_dup, { -1 } },
	{ "unshare", SYS_unshare, { 0 } },
	{ "setns", SYS_setns, { -1 } },
	{ "bpf", SYS_bpf, { -1 } },
	{ "keyctl", SYS_keyctl, { -1 } },
	{ "perf_event_open", SYS_perf_event_open, { 0 } },
	{ "sched_setaffinity", SYS_sched_setaffinity, { 0 } },
	{ "setuid", SYS_setuid, { -1 } },
	{ "kill of another", SYS_kill, { 1 } },
	{ "kill of the group", SYS_kill, { 0 } },
	{ "tgkill of another", SYS_tgkill, { 1, 1 } },
	{ "io_uring_setup", SYS_io_uring_setup, { 1 } },
	{ "io_uring_register", SYS_io_uring_register, { -1 } },
	{ "seccomp", SYS_seccomp, { 0xff } },
	{ "prctl", SYS_prctl, { PR_GET_DUMPABLE } },
	{ "fcntl", SYS_fcntl, { -1, F_SETOWN } },
	{ "KVM_CREATE_VM", SYS_ioctl, { -1, KVM_CREATE_VM } },
	{ "KVM_SET_USER_MEMORY_REGION", SYS_ioctl, { -1, (long)KVM_SET_USER_MEMORY_REGION } },
	{ "TIOCSTI", SYS_ioctl, { -1, TIOCSTI } },
	{ "mmap to execute", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, -1 } },
	{ "mprotect to execute", SYS_mprotect, { 0, 4096, PROT_READ | PROT_EXEC } },
	{ "pkey_mprotect", SYS_pkey_mprotect, { 0, 4096, PROT_READ, -1 } },
	{ "fork", SYS_fork, { 0 } },
	{ "clone of a process", SYS_clone, { SIGCHLD } },
	{ "clone in a namespace", SYS_clone, { CLONE_NEWUTS | SIGCHLD } },
	{ "open by its x32 number", 0x40000000 + SYS_open, { 0 } },
};

static void try_call(const void *arg)
{
	const struct trial *t = arg;
	pid_t self = getpid();

	(void)syscall(t->call, t->args[0], t->args[1], t->args[2], t->args[3], t->args[4]);
	if (syscall(SYS_getpid) != self)
		_exit(0); /* a child that a call has made */
}

/* @fn in a process of its own, confined or not; its wait status. */
static int in_process(void (*fn)(const void *arg), const void *arg, bool confined)
{
	struct error err;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		if (confined && confine(&err) < 0)
			_exit(UNCONFINED);
		fn(arg);
		_exit(SURVIVED);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static bool survived(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == SURVIVED;
}

static void test_forbidden_calls_end_a_confined_process_only(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(trials); i++) {
		int status = in_process(try_call, &trials[i], true);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s: wait status %#x, not SIGSYS", trials[i].name,
				 (unsigned)status);
		if (!survived(in_process(try_call, &trials[i], false)))
			fail_msg("%s: ends a free process, too", trials[i].name);
	}
}

/* ---- what goes on working ---- */

static void *use_memory(void *arg UNUSED)
{
	void *blocks[64];

	(void)pthread_setname_np(pthread_self(), "memory");
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
			memset(blocks[i] = malloc(i * 5000 + 1), 1, i * 5000 + 1);
		for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
			free(blocks[i]);
	}
	return NULL;
}

/* Threads of libc with heaps, small and large: what it does behind our back. */
static void start_threads(const void *arg UNUSED)
{
	pthread_t threads[N_THREADS];

	for (size_t i = 0; i < N_THREADS; i++)
		if (pthread_create(&threads[i], NULL, use_memory, NULL) != 0)
			_exit(1);
	use_memory(NULL);
	for (size_t i = 0; i < N_THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	void *large = malloc(MIB);
	large = realloc(large, 64 * MIB);
	free(large);
	(void)fprintf(stderr, "# a line on stderr\n");
}

static void fail_assertion(const void *arg UNUSED)
{
	ASSERT(LIMIT_MS == 0);
}

static void test_threads_memory_and_stdio_work(void **state UNUSED)
{
	assert_true(survived(in_process(start_threads, NULL, true)));
}

static void test_failed_assertion_still_aborts(void **state UNUSED)
{
	int status = in_process(fail_assertion, NULL, true);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- whole lives ---- */

struct life {
	const char *guest, *cmdline;
	enum outcome outcome;
	uint32_t n_cpus;
	uint64_t timeout_ms;
};

static uint8_t *grow(void *ctx UNUSED, uint8_t *storage, size_t need)
{
	return realloc(storage, need);
}

/* The value of @key in /proc/PID/status. */
static uint64_t status_of(pid_t pid, const char *key, int base)
{
	char path[64], line[256];
	uint64_t value = UINT64_MAX;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
			value = strtoull(line + strlen(key) + 1, NULL, base);
	fclose(f);
	return value;
}

static void check_rights(pid_t pid)
{
	assert_int_equal(status_of(pid, "Seccomp", 10), 2);
	assert_int_equal(status_of(pid, "NoNewPrivs", 10), 1);
	assert_int_equal(status_of(pid, "CapEff", 16), 0);
	assert_int_equal(status_of(pid, "CapPrm", 16), 0);
}

/* Reads to the outcome; looks at the process's rights when the guest was seen to run. */
static enum outcome read_outcome(const struct vm_process *p)
{
	struct frame_decoder d;
	struct frame_outcome outcome = { .outcome = OUTCOME_INFRA };
	bool done = false;
	uint8_t chunk[65536];

	frame_decoder_init(&d, xmalloc(FRAME_DECODER_STORAGE_MIN), FRAME_DECODER_STORAGE_MIN, grow,
			   NULL);
	while (!done) {
		struct pollfd poll_fd = { .fd = p->link_fd, .events = POLLIN };
		if (poll(&poll_fd, 1, LIMIT_MS) <= 0)
			fail_msg("nothing came for %d s", LIMIT_MS / 1000);
		ssize_t n = read(p->link_fd, chunk, sizeof(chunk));
		if (n <= 0)
			break; /* it died */
		for (size_t at = 0; at < (size_t)n;) {
			struct frame f;
			at += frame_decoder_feed(&d, chunk + at, (size_t)n - at);
			while (frame_decoder_next(&d, &f)) {
				if (f.header.type != FRAME_VM_OUTCOME)
					continue;
				memcpy(&outcome, f.payload, sizeof(outcome));
				check_rights(p->pid);
				done = true;
			}
		}
	}
	free(d.storage);
	return (enum outcome)outcome.outcome;
}

static void live(const struct life *l, enum reactor_backend backend)
{
	struct kernel_image kernel = KERNEL_IMAGE_INIT;
	struct virtio_net_config net = virtio_net_config_of("confined");
	struct virtio_blk_config disk = { .fd = memfd_create("disk", MFD_CLOEXEC),
					  .limits.depth = 64,
					  .id = "disk" };
	struct vm_process process = VM_PROCESS_INIT;
	struct error err;
	char path[512];

	assert_int_equal(ftruncate(disk.fd, DISK_MIB * MIB), 0);
	snprintf(path, sizeof(path), "%s/guest_%s", GUEST_DIR, l->guest);
	if (blk_file_examine(disk.fd, "disk", &(struct blk_file_wish){ 0 }, &disk.file, &err) < 0 ||
	    kernel_image_open(
		&(struct kernel_image_config){ .path = path, .cache_dir = "/nonexistent" }, &kernel,
		&err) < 0)
		fail_msg("%s: %s", path, err.text);
	struct session_config c = {
		.vm = { .kernel = &kernel,
			.initrd_fd = -1,
			.cmdline = l->cmdline,
			.topology = topology_uniform(1, 1, l->n_cpus, 1),
			.memory_mib = 64,
			.disk = &disk,
			.net = &net },
		.backend = backend,
		.relay_fd = -1,
		.timeout_ns = l->timeout_ms * NS_PER_MS,
		.confine = true,
	};
	if (vm_process_spawn(&c, &process, &err) < 0)
		fail_msg("%s", err.text);
	enum outcome got = read_outcome(&process);
	vm_process_fini(&process);
	int status = vm_process_wait(&process); /* the teardown, too */
	if (status != 0 || got != l->outcome)
		fail_msg("%s '%s': outcome %d, wait status %#x", l->guest, l->cmdline, (int)got,
			 (unsigned)status);
	kernel_image_fini(&kernel);
	(void)close(disk.fd);
}

static void test_whole_lives_on_both_reactors(void **state UNUSED)
{
	static const struct life lives[] = {
		{ "hello", "", OUTCOME_PASS, 1, LIMIT_MS },
		{ "blk", "ledger=64", OUTCOME_PASS, 1, LIMIT_MS },
		{ "blk", "odd", OUTCOME_PASS, 1, LIMIT_MS },
		{ "net", "batch=5 irq event_idx", OUTCOME_PASS, 1, LIMIT_MS },
		{ "net", "reset_inflight=5", OUTCOME_PASS, 1, LIMIT_MS },
		{ "smp", "", OUTCOME_PASS, 4, LIMIT_MS },
		{ "ends", "triple", OUTCOME_PANIC, 1, LIMIT_MS }, /* reads the registers */
		{ "ends", "hang", OUTCOME_TIMEOUT, 1, 300 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lives); i++) {
		live(&lives[i], REACTOR_AUTO);
		live(&lives[i], REACTOR_EPOLL);
	}
}

int main(void)
{
	struct error err;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forbidden_calls_end_a_confined_process_only),
		cmocka_unit_test(test_threads_memory_and_stdio_work),
		cmocka_unit_test(test_failed_assertion_still_aborts),
		cmocka_unit_test(test_whole_lives_on_both_reactors),
	};

	guest_vm_skip_without_kvm();
	if (confine_check(&err) < 0) {
		printf("skipped: %s\n", err.text);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
