/* Many tasks at once: every one of a storm of forks runs, ends and is counted. */
#include <ktstr.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu.h"

enum { N_WAVES = 20, N_CHILDREN = 25, N_YIELDERS = 4, N_YIELDS = 5000 };

static void count_me(void *arg)
{
	_Atomic int *n_ran = arg;

	atomic_fetch_add(n_ran, 1);
}

static void forks(struct ktstr *t)
{
	_Atomic int *n_ran =
	    mmap(NULL, sizeof(*n_ran), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t start = now_ns();

	if (!KTSTR_CHECK(t, n_ran != MAP_FAILED, "mmap: %m"))
		return;
	for (int wave = 0; wave < N_WAVES; wave++) {
		pid_t pids[N_CHILDREN];
		for (int i = 0; i < N_CHILDREN; i++)
			pids[i] = start_child(count_me, n_ran);
		for (int i = 0; i < N_CHILDREN; i++)
			KTSTR_CHECK(t, pids[i] > 0 && end_of_child(pids[i], NULL),
				    "child %d of wave %d was lost", i, wave);
	}
	KTSTR_CHECK(t, atomic_load(n_ran) == N_WAVES * N_CHILDREN, "%d of %d children ran",
		    atomic_load(n_ran), N_WAVES * N_CHILDREN);
	ktstr_metric(t, "forks", N_WAVES * N_CHILDREN / ((double)(now_ns() - start) / 1e9), "1/s",
		     KTSTR_HIGHER_IS_BETTER);
}

static void *yield_often(void *arg)
{
	_Atomic int *n_done = arg;

	for (int i = 0; i < N_YIELDS; i++)
		(void)sched_yield(); /* always succeeds */
	atomic_fetch_add(n_done, 1);
	return NULL;
}

static void yields(struct ktstr *t)
{
	pthread_t threads[N_YIELDERS];
	_Atomic int n_done = 0;

	for (int i = 0; i < N_YIELDERS; i++)
		if (!KTSTR_CHECK(t, pthread_create(&threads[i], NULL, yield_often, &n_done) == 0,
				 "pthread_create"))
			_exit(1); /* the others still use this stack */
	for (int i = 0; i < N_YIELDERS; i++)
		(void)pthread_join(threads[i], NULL);
	KTSTR_CHECK(t, n_done == N_YIELDERS, "%d of %d threads came to their end", n_done,
		    N_YIELDERS);
}

static const struct ktstr_test tests[] = {
	{ .name = "forks",
	  .run = forks,
	  .summary = "every child of 20 waves of forks runs",
	  .topology = "1,1,2,1" },
	{ .name = "yields",
	  .run = yields,
	  .summary = "threads that yield all the time come to their end",
	  .topology = "1,1,2,1" },
	{ 0 },
};

int main(int argc, char **argv)
{
	return ktstr_main(argc, argv, tests);
}
