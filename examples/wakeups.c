/* Wake-ups arrive: through a pipe, through a futex, from a timer. How long they take is a metric, no check. */
#include <ktstr.h>

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cpu.h"

enum { ROUNDS = 2000 };

/* -- pipes: a number goes to the other side and comes back one larger */

static void echo(void *arg)
{
	const int *fds = arg; /* reads, writes */
	uint32_t n;

	while (read(fds[0], &n, sizeof(n)) == sizeof(n)) {
		n++;
		if (write(fds[1], &n, sizeof(n)) != sizeof(n))
			_exit(1);
	}
}

static bool play(struct ktstr *t, int out, int in)
{
	uint64_t start = now_ns();
	uint32_t n = 0;

	for (int i = 0; i < ROUNDS; i++) {
		if (!KTSTR_CHECK(t, write(out, &n, sizeof(n)) == sizeof(n), "write: %m") ||
		    !KTSTR_CHECK(t, read(in, &n, sizeof(n)) == sizeof(n), "read: %m"))
			return false;
	}
	KTSTR_CHECK(t, n == ROUNDS, "%u of %d round trips were counted", n, ROUNDS);
	ktstr_metric(t, "round_trip", (double)(now_ns() - start) / 1e3 / ROUNDS, "us",
		     KTSTR_LOWER_IS_BETTER);
	return true;
}

static void pipes(struct ktstr *t)
{
	int there[2] = { -1, -1 }, back[2] = { -1, -1 };

	if (!KTSTR_CHECK(t, pipe(there) == 0 && pipe(back) == 0, "pipe: %m"))
		return;
	int ends[] = { there[0], back[1] };
	pid_t pid = fork();
	if (pid == 0) {
		close(there[1]); /* or its own end would never come */
		echo(ends);
		_exit(0);
	}
	if (!KTSTR_CHECK(t, pid > 0, "fork: %m"))
		return;
	close(there[0]);
	close(back[1]);
	(void)play(t, there[1], back[0]);
	close(there[1]);
	KTSTR_CHECK(t, end_of_child(pid, NULL), "the other side did not end well");
	close(back[0]);
}

/* -- a futex: two processes take turns */

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *limit)
{
	return syscall(SYS_futex, word, op, value, limit, NULL, 0);
}

/* Waits until *@word is @value. False: no wake-up came in 10 s. */
static bool await(_Atomic uint32_t *word, uint32_t value)
{
	const struct timespec limit = { .tv_sec = 10 };
	uint32_t seen;

	while ((seen = atomic_load(word)) != value)
		if (futex(word, FUTEX_WAIT, seen, &limit) < 0 && errno == ETIMEDOUT)
			return false;
	return true;
}

static bool take_turns(_Atomic uint32_t *turn, uint32_t mine)
{
	for (uint32_t i = mine; i < 2 * ROUNDS; i += 2) {
		if (!await(turn, i))
			return false;
		atomic_store(turn, i + 1);
		(void)futex(turn, FUTEX_WAKE, 1, NULL);
	}
	return true;
}

static void take_odd_turns(void *arg)
{
	if (!take_turns(arg, 1))
		_exit(1);
}

static void futexes(struct ktstr *t)
{
	_Atomic uint32_t *turn =
	    mmap(NULL, sizeof(*turn), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (!KTSTR_CHECK(t, turn != MAP_FAILED, "mmap: %m"))
		return;
	uint64_t start = now_ns();
	pid_t pid = start_child(take_odd_turns, turn);
	if (!KTSTR_CHECK(t, pid > 0, "fork: %m"))
		return;
	bool is_good = take_turns(turn, 0);
	bool is_other_good = end_of_child(pid, NULL);
	KTSTR_CHECK(t, is_good && is_other_good, "a wake-up was lost at turn %u of %d",
		    atomic_load(turn), 2 * ROUNDS);
	ktstr_metric(t, "handoff", (double)(now_ns() - start) / 1e3 / (2 * ROUNDS), "us",
		     KTSTR_LOWER_IS_BETTER);
}

/* -- timers: never early; how late is measured */

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void timers(struct ktstr *t)
{
	enum { N = 200, SLEEP_NS = 1000000 };
	static double late_us[N];

	for (int i = 0; i < N; i++) {
		const struct timespec sleep = { .tv_nsec = SLEEP_NS };
		uint64_t start = now_ns();
		if (!KTSTR_CHECK(t, nanosleep(&sleep, NULL) == 0, "nanosleep: %m"))
			return;
		uint64_t slept = now_ns() - start;
		if (!KTSTR_CHECK(t, slept >= SLEEP_NS, "a sleep of 1 ms took %llu ns",
				 (unsigned long long)slept))
			return;
		late_us[i] = (double)(slept - SLEEP_NS) / 1e3;
	}
	qsort(late_us, N, sizeof(*late_us), compare);
	ktstr_metric(t, "late_p50", late_us[N / 2], "us", KTSTR_LOWER_IS_BETTER);
	ktstr_metric(t, "late_p99", late_us[N * 99 / 100], "us", KTSTR_LOWER_IS_BETTER);
}

static const struct ktstr_test tests[] = {
	{ .name = "pipes",
	  .run = pipes,
	  .summary = "every byte through a pipe wakes its reader",
	  .topology = "1,1,2,1" },
	{ .name = "futexes",
	  .run = futexes,
	  .summary = "two processes take turns, no wake-up is lost",
	  .topology = "1,1,2,1" },
	{ .name = "timers", .run = timers, .summary = "a sleeper does not wake early" },
	{ 0 },
};

int main(int argc, char **argv)
{
	return ktstr_main(argc, argv, tests);
}
