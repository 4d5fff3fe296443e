#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "vmm/confine.h"
#include "vmm/confine_filter.h"

static int load_filter(void)
{
	struct sock_filter filter[CONFINE_FILTER_MAX];
	struct sock_fprog program = { .len = confine_filter_len, .filter = filter };

	memcpy(filter, confine_filter, confine_filter_len * sizeof(filter[0]));
	for (size_t i = 0; i < confine_filter_len; i++)
		if (filter[i].k == CONFINE_PID_MARK)
			filter[i].k = (uint32_t)getpid();
	long res =
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
	return res < 0 ? -errno : res > 0 ? -EBUSY : 0; /* a thread with a filter of its own */
}

/* The whole set, in all three senses; the bounding set is of use to execve only. */
void confine_drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	long res = syscall(SYS_capset, &head, none);

	ASSERT(res == 0);
}

int confine(struct error *err)
{
	/*
	 * One arena: libc asks /proc and /sys about the host before it makes more, or gives back
	 * memory of one.
	 */
	(void)mallopt(M_ARENA_MAX, 1); /* NOLINT(concurrency-mt-unsafe): others wait */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set(err, errno, "cannot confine the VM process: no_new_privs");
	confine_drop_capabilities();
	int res = load_filter();
	return res < 0 ? error_set(err, res, "cannot confine the VM process: seccomp filter") : 0;
}

int confine_check(struct error *err)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
		return error_set(err, errno, "no seccomp filters");
	return 0;
}
