/*
 * What a VM process may call after its VM was built, by us and by libc for us: the list behind confine.h. A program that the build
 * runs: it prints the filter that libseccomp makes of the list, for confine_seccomp.c. Making it anew in each
 * VM process would cost more than all else there is to confining one. tests/kvm/test_confine.c tries what is not in the list; every e2e
 * test runs under it.
 *
 * Arguments that are pointers cannot be judged, therefore clone3 does not exist (ENOSYS): libc then uses clone, whose flags can.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/confine_filter.h"

/* What a new thread is to libc, and nothing that makes a process or a namespace. */
enum {
	THREAD_FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND |
		       CLONE_THREAD | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
};

static const int calls[] = {
	/* the reactor, both kinds */
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(close),
	/* the disk; its lock */
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fallocate),
	SCMP_SYS(flock),
	/* the link, and the relay's client */
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(shutdown),
	SCMP_SYS(accept4),
	/* memory; mmap and mprotect are below */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	/* threads and their ends */
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(gettid),
	SCMP_SYS(getpid),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(capset), /* vCPU threads still have to: it only takes away */
	/* time, where the vDSO has no clock to read */
	SCMP_SYS(clock_gettime),
};

static const struct {
	int call;
	struct scmp_arg_cmp arg;
} limited_calls[] = {
#define ARG(n, mask, value)                                                                        \
	{                                                                                          \
		n, SCMP_CMP_MASKED_EQ, mask, value                                                 \
	}
#define IOCTL(request)                                                                             \
	{                                                                                          \
		SCMP_SYS(ioctl), ARG(1, UINT32_MAX, request)                                       \
	}
	IOCTL(KVM_RUN),
	IOCTL(KVM_SIGNAL_MSI),
	IOCTL(KVM_IOEVENTFD), /* DRIVER_OK, and back */
	IOCTL(KVM_SET_GSI_ROUTING),
	IOCTL(KVM_GET_REGS), /* of a vCPU that died, or did not end in time */
	IOCTL(KVM_GET_SREGS),
	IOCTL(KVM_GET_MP_STATE),
	{ SCMP_SYS(mmap), ARG(2, PROT_EXEC, 0) },
	{ SCMP_SYS(mprotect), ARG(2, PROT_EXEC, 0) },
	{ SCMP_SYS(clone), ARG(0, UINT64_MAX, THREAD_FLAGS) },
	{ SCMP_SYS(getrusage), ARG(0, UINT32_MAX, RUSAGE_THREAD) }, /* of a vCPU, at its end */
	{ SCMP_SYS(prctl), ARG(0, UINT32_MAX, PR_SET_NAME) },
	{ SCMP_SYS(prctl), ARG(0, UINT32_MAX, PR_SET_PDEATHSIG) },
	{ SCMP_SYS(fcntl), ARG(1, UINT32_MAX, F_DUPFD_CLOEXEC) }, /* epoll */
	{ SCMP_SYS(fcntl), ARG(1, UINT32_MAX, F_GETFL) },         /* from direct to buffered I/O */
	{ SCMP_SYS(fcntl), ARG(1, UINT32_MAX, F_SETFL) },
	/* stdio's question about a stream: an open file's, not a path's */
	{ SCMP_SYS(fstat), ARG(0, 0, 0) },
	{ SCMP_SYS(newfstatat), ARG(3, UINT32_MAX, AT_EMPTY_PATH) },
#undef IOCTL
#undef ARG
};

enum { KVM_RUN_FIRST = 255 };

/* Each adds its rules to the filter; 0 or -errno. */

static int add_calls(scmp_filter_ctx filter)
{
	int res = 0;

	for (size_t i = 0; i < ARRAY_SIZE(calls) && res == 0; i++)
		res = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	return res;
}

static int add_limited_calls(scmp_filter_ctx filter)
{
	int res = 0;

	for (size_t i = 0; i < ARRAY_SIZE(limited_calls) && res == 0; i++)
		res = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, limited_calls[i].call, 1,
					     &limited_calls[i].arg);
	return res;
}

/* Kicks of vCPUs, and abort: to this process only, whose id goes where the mark is. */
static int add_own_signals(scmp_filter_ctx filter)
{
	return seccomp_rule_add(
	    filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
	    SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint64_t)CONFINE_PID_MARK));
}

static int add_clone3(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

/* Calls whose arguments are judged are slow for their place in the list; KVM_RUN is what counts. */
static int set_order(scmp_filter_ctx filter)
{
	int res = seccomp_syscall_priority(filter, SCMP_SYS(ioctl), KVM_RUN_FIRST);

	return res < 0 ? res
		       : seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
}

static int make_filter(scmp_filter_ctx filter)
{
	static int (*const parts[])(scmp_filter_ctx filter) = {
		add_calls, add_limited_calls, add_own_signals, add_clone3, set_order,
	};
	int res = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && res == 0; i++)
		res = parts[i](filter);
	return res;
}

static int print_program(int fd)
{
	struct sock_filter f;
	unsigned n = 0, n_marks = 0;

	printf(
	    "#include \"vmm/confine_filter.h\"\n\nconst struct sock_filter confine_filter[] = {\n");
	for (; pread(fd, &f, sizeof(f), n * (off_t)sizeof(f)) == sizeof(f); n++) {
		printf("\t{ %#x, %u, %u, %#x },\n", f.code, f.jt, f.jf, f.k);
		n_marks += f.k == CONFINE_PID_MARK;
	}
	printf("};\nconst unsigned short confine_filter_len = %u;\n", n);
	return n_marks == 1 && n <= CONFINE_FILTER_MAX && fflush(stdout) == 0 ? 0 : -ERANGE;
}

int main(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int fd = memfd_create("filter", MFD_CLOEXEC);
	int res = filter && fd >= 0 ? make_filter(filter) : -ENOMEM;

	if (res == 0)
		res = seccomp_export_bpf(filter, fd);
	if (res == 0)
		res = print_program(fd);
	if (res < 0)
		fprintf(stderr, "confine_list: errno %d\n", -res);
	seccomp_release(filter);
	(void)close(fd); /* nothing in it is needed any more */
	return res < 0;
}
