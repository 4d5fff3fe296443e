#include "vmm/io_thread.h"

#include <errno.h>
#include <sched.h>

int io_thread_place(const struct placement *p, bool *ret_is_fifo, struct error *err)
{
	const struct sched_param priority = { .sched_priority = IO_THREAD_FIFO_PRIORITY };
	struct id_set cpus = p->cpus;

	if (p->is_performance) {
		cpus = (struct id_set){ 0 };
		id_set_add(&cpus, p->service_cpu);
	}
	if (!id_set_is_empty(&cpus) &&
	    sched_setaffinity(0, sizeof(cpus.words), id_set_cpus(&cpus)) < 0)
		return error_set(err, errno, "cannot run on the CPUs that were planned");
	*ret_is_fifo = p->is_performance && sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
	return 0;
}
