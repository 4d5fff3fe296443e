/*
 * Tasks that want the same CPU get their shares of it. The scheduler is judged by the shares alone,
 * with wide limits; when the host took the CPU away for long, or gave hardly any, nothing was
 * measured.
 */
#include <ktstr.h>

#include <sys/resource.h>
#include <unistd.h>

#include "cpu.h"

enum { CPU = 0, RUN_MS = 3000 };
#define STOLEN_MAX 0.25 /* of the time */
#define USED_MIN   0.5

struct spinner {
	int nice;
	uint64_t until_ns;
};

static void spin(void *arg)
{
	const struct spinner *s = arg;

	if (!pin_to(CPU) || setpriority(PRIO_PROCESS, 0, s->nice) < 0)
		_exit(1);
	spin_until(s->until_ns);
}

/* Lets two spinners share a CPU. True: @ret_share is the part of the first one. */
static bool measure_share(struct ktstr *t, int nice_a, int nice_b, double *ret_share)
{
	uint64_t start_ns = now_ns();
	struct spinner spinners[] = { { nice_a, start_ns + RUN_MS * 1000000ull },
				      { nice_b, start_ns + RUN_MS * 1000000ull } };
	double stolen_before = stolen_seconds(CPU), used[2] = { 0, 0 };
	pid_t pids[2];

	for (int i = 0; i < 2; i++)
		pids[i] = start_child(spin, &spinners[i]);
	for (int i = 0; i < 2; i++)
		if (!KTSTR_CHECK(t, pids[i] > 0 && end_of_child(pids[i], &used[i]),
				 "spinner %d could not run", i))
			return false;
	double elapsed = (double)(now_ns() - start_ns) / 1e9;
	double stolen = stolen_before < 0 ? 0 : stolen_seconds(CPU) - stolen_before;
	if (stolen > STOLEN_MAX * elapsed) {
		ktstr_inconclusive(t, "the host took CPU %d away for %.1f of %.1f s", CPU, stolen,
				   elapsed);
		return false;
	}
	if (used[0] + used[1] < USED_MIN * elapsed) {
		ktstr_inconclusive(t, "the spinners got %.1f s of CPU time in %.1f s",
				   used[0] + used[1], elapsed);
		return false;
	}
	*ret_share = used[0] / (used[0] + used[1]);
	return true;
}

static void two_spinners(struct ktstr *t)
{
	double share;

	if (!measure_share(t, 0, 0, &share))
		return;
	ktstr_metric(t, "share", share, "of the CPU time", KTSTR_NEITHER_IS_BETTER);
	KTSTR_CHECK(t, share > 0.35 && share < 0.65, "the first spinner got %.0f %%", share * 100);
}

/* Nice 0 weighs 1024, nice 5 weighs 335: 75 % to 25 %. */
static void nice_weights(struct ktstr *t)
{
	double share;

	if (!measure_share(t, 0, 5, &share))
		return;
	ktstr_metric(t, "share", share, "of the CPU time", KTSTR_NEITHER_IS_BETTER);
	KTSTR_CHECK(t, share > 0.6 && share < 0.9, "nice 0 got %.0f %% beside nice 5", share * 100);
}

static const struct ktstr_test tests[] = {
	{ .name = "two_spinners",
	  .run = two_spinners,
	  .summary = "two tasks share a CPU evenly",
	  .topology = "1,1,2,1",
	  .cpu_cap = 2 },
	{ .name = "nice_weights",
	  .run = nice_weights,
	  .summary = "nice 5 gets a third of what nice 0 gets",
	  .topology = "1,1,2,1",
	  .cpu_cap = 2 },
	{ 0 },
};

int main(int argc, char **argv)
{
	return ktstr_main(argc, argv, tests);
}
