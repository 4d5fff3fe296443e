#include "vmm/io_thread.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

int io_thread_place(const struct placement *p, const int *cgroup_fd, bool *ret_is_fifo,
		    struct id_set *ret_worker_cpus, struct error *err)
{
	const struct sched_param priority = { .sched_priority = IO_THREAD_FIFO_PRIORITY };
	struct id_set *cpus = ret_worker_cpus;

	*ret_is_fifo = false;
	*cpus = (struct id_set){ 0 };
	/* Before any mask: entering resets them. */
	if (cgroup_fd && write(*cgroup_fd, "0", 1) < 0)
		return error_set(err, errno, "cannot enter the VM's cgroup");
	if (p && p->is_performance)
		id_set_add(cpus, p->service_cpu);
	else if (p)
		*cpus = p->cpus;
	if (!id_set_is_empty(cpus) &&
	    sched_setaffinity(0, sizeof(cpus->words), id_set_cpus(cpus)) < 0)
		return error_set(err, errno, "cannot run on the CPUs that were planned");
	*ret_is_fifo = p && p->is_performance && sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
	return 0;
}
