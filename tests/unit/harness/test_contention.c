/*
 * 64 processes and one made-up host of 8 LLCs: they take places of all tiers and sizes, hold them, die with SIGKILL, are stopped and
 * go on. Checked from inside (every process looks at what all others hold when it has got its place) and from outside, by
 * /proc/locks: what is exclusive is never shared, nobody waits for ever, wide requests get their turn, and in the end no
 * lock and no ticket is left.
 *
 * KTSTR_CONTENTION_SECONDS is how long (10); KTSTR_CONTENTION_MEASURE=1 leaves the disturbances out, gives each process the
 * same request, and prints figures.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "harness/waiter.h"
#include "hosts.h"

enum { N_WORKERS = 64, N_LLCS = 8, LLC_CPUS = 4, MAX_WAITS = 1 << 16, WAIT_LIMIT_S = 120 };

/* What one worker holds; written by it, read by all. */
struct slot {
	_Atomic int pid;
	_Atomic bool is_holding;
	_Atomic bool is_doomed; /* about to be killed: its locks may end at any moment */
	_Atomic bool is_waiting;
	_Atomic uint64_t waiting_since_ns;
	_Atomic uint64_t alone;  /* CPUs that are its own */
	_Atomic uint64_t shared; /* CPUs it shares with budgets */
};

struct shared {
	struct slot slots[N_WORKERS];
	_Atomic bool stop;
	_Atomic bool has_begun;
	_Atomic uint64_t n_violations;
	_Atomic uint64_t n_errors;
	_Atomic uint64_t n_done[4]; /* places of 1 .. 3 LLCs in performance mode; others */
	_Atomic uint64_t n_wakeups;
	_Atomic uint64_t n_looks;
	_Atomic uint64_t n_waits;
	_Atomic uint64_t held_ns;
	_Atomic uint64_t waited_ns;
	uint32_t waits_us[MAX_WAITS];
	char error[256];
};

struct world {
	struct shared *shared;
	struct host *host;
	char dir[64];
	bool is_measuring;
};

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name); /* NOLINT(concurrency-mt-unsafe): one thread */

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void pause_ms(int ms)
{
	(void)poll(NULL, 0, ms);
}

/* A worker */

struct worker {
	struct world *world;
	struct slot *slot;
	struct reactor *reactor;
	struct lock_dir dir;
	struct random random;
	struct waiter waiter;
};

static uint64_t mask_of_llc(const struct host *h, uint32_t llc)
{
	uint64_t mask = 0;

	for (uint32_t i = 0; i < h->llcs[llc].n; i++)
		mask |= (uint64_t)1 << h->order[h->llcs[llc].first + i];
	return mask;
}

static uint64_t mask_of(const struct id_set *cpus)
{
	uint64_t mask = 0;

	id_set_for_each(cpu, cpus) mask |= (uint64_t)1 << cpu;
	return mask;
}

/* What the tier promises, whatever is locked for it. */
static void publish(struct worker *w)
{
	const struct plan *p = &w->waiter.acquire.plan;
	uint64_t alone = p->tier == PLAN_BUDGET ? 0 : mask_of(&p->cpus);

	for (uint32_t i = 0; i < p->n_vllcs; i++)
		alone |= mask_of_llc(w->world->host, p->vllc_llcs[i]);
	if (p->service_cpu != PLAN_NO_CPU)
		alone |= (uint64_t)1 << p->service_cpu;
	w->slot->alone = alone;
	w->slot->shared = p->tier == PLAN_BUDGET ? mask_of(&p->cpus) : 0;
	w->slot->is_holding = true;
}

/* With what /proc/locks has of it, to tell a wrong test from a wrong lock. */
static void report_clash(struct worker *w, const struct slot *other, uint64_t clash)
{
	struct shared *s = w->world->shared;
	struct lock_scan scan = { .dir = &w->dir };
	int mine = w->slot->pid, its = other->pid, n_mine = 0, n_its = 0;
	bool was_holding = other->is_holding;
	uint64_t was_alone = other->alone;
	struct error err;

	(void)kill(its, SIGSTOP); /* so that it cannot give up meanwhile what it holds */
	pause_ms(20);
	if (lock_scan_read(&scan, &err) == 0)
		for (size_t i = 0; i < scan.n_holders; i++) {
			n_mine += scan.holders[i].pid == mine;
			n_its += scan.holders[i].pid == its;
		}
	lock_scan_fini(&scan);
	(void)snprintf(s->error, sizeof(s->error),
		       "%d (tier %d, %u locks, %d of them seen) and %d (%d locks seen, "
		       "holding %d then %d, alone %" PRIx64 " then %" PRIx64
		       ", doomed %d, pid now %d) both hold CPUs %" PRIx64,
		       mine, (int)w->waiter.acquire.plan.tier, w->waiter.acquire.plan.n_locks,
		       n_mine, its, n_its, was_holding, other->is_holding, was_alone, other->alone,
		       other->is_doomed, (int)other->pid, clash);
	(void)kill(its, SIGCONT);
	s->n_violations++;
}

/* Who publishes first is seen by the second, so of two that clash one sees the other. */
static void compare_with_others(struct worker *w)
{
	struct shared *s = w->world->shared;
	uint64_t alone = w->slot->alone;
	uint64_t all = alone | w->slot->shared;

	for (size_t i = 0; i < N_WORKERS; i++) {
		struct slot *o = &s->slots[i];
		if (o == w->slot || !o->is_holding)
			continue;
		uint64_t theirs = o->alone;
		uint64_t clash = (alone & (theirs | o->shared)) | (all & theirs);
		if (clash && o->is_holding && !o->is_doomed && !w->slot->is_doomed)
			report_clash(w, o, clash);
	}
}

static struct plan_request random_place(struct worker *w)
{
	const struct host *h = w->world->host;
	struct plan_request r;

	if (w->world->is_measuring)
		r = request_of(h, PLAN_PERFORMANCE, 1, 1, LLC_CPUS - 1, 1);
	else
		switch (random_below(&w->random, 6)) {
		case 0:
		case 1:
		case 2:
			r = request_of(h, PLAN_PERFORMANCE, 1, 1 + random_below(&w->random, 3),
				       1 + random_below(&w->random, LLC_CPUS), 1);
			break;
		case 3:
			r = request_budget(h, 1 + random_below(&w->random, 12));
			break;
		default:
			r = request_of(h, PLAN_DEFAULT, 1, 1, 1 + random_below(&w->random, 8), 1);
		}
	r.offset = plan_offset_of_pid((uint32_t)getpid());
	r.spread = random_below(&w->random, 2);
	return r;
}

static void on_done(struct waiter *waiter, int res)
{
	reactor_stop(waiter->reactor, res);
}

static void count(struct worker *w, const struct plan_request *r, uint64_t waited_ns)
{
	struct shared *s = w->world->shared;
	uint64_t n = s->n_waits++;

	if (n < MAX_WAITS)
		s->waits_us[n] = (uint32_t)(waited_ns / NS_PER_US);
	s->n_done[r->tier == PLAN_PERFORMANCE ? r->guest.n_llcs - 1 : 3]++;
	s->n_wakeups += w->waiter.stats.n_wakeups;
	s->n_looks += w->waiter.stats.n_looks;
	s->waited_ns += waited_ns;
}

static void hold(struct worker *w)
{
	struct shared *s = w->world->shared;
	int ms = w->world->is_measuring              ? 100
		 : random_below(&w->random, 50) == 0 ? 500
						     : (int)random_below(&w->random, 30);
	uint64_t begin_ns = clock_now_ns();

	pause_ms(ms);
	s->held_ns += clock_now_ns() - begin_ns;
	/* Some die without a word. */
	if (!w->world->is_measuring && random_below(&w->random, 40) == 0) {
		w->slot->is_doomed = true;
		_exit(0);
	}
	w->slot->is_holding = false;
}

static void one_round(struct worker *w)
{
	struct plan_request r = random_place(w);
	struct shared *s = w->world->shared;
	const struct waiter_config config = { .host = w->world->host,
					      .dir = &w->dir,
					      .request = &r,
					      .timeout_ns = WAIT_LIMIT_S * NS_PER_S,
					      .fn = on_done };
	uint64_t begin_ns = clock_now_ns();

	w->slot->waiting_since_ns = begin_ns;
	w->slot->is_waiting = true;
	waiter_start(&w->waiter, w->reactor, &config);
	int res = reactor_run(w->reactor);
	w->slot->is_waiting = false;
	if (res < 0) {
		s->n_errors++;
		(void)snprintf(s->error, sizeof(s->error), "%.200s", w->waiter.err.text);
		_exit(1);
	}
	publish(w);
	compare_with_others(w);
	count(w, &r, clock_now_ns() - begin_ns);
	hold(w);
	waiter_fini(&w->waiter);
}

static void work(struct world *world, size_t i, uint64_t seed)
{
	struct worker w = { .world = world,
			    .slot = &world->shared->slots[i],
			    .random = { .state = seed } };
	struct error err;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (reactor_new(&(struct reactor_config){ .backend = REACTOR_AUTO }, &w.reactor, &err) <
		0 ||
	    lock_dir_open(&w.dir, world->dir, true, &err) < 0) {
		world->shared->n_errors++;
		_exit(1);
	}
	while (!world->shared->has_begun)
		pause_ms(1);
	while (!world->shared->stop)
		one_round(&w);
	lock_dir_close(&w.dir);
	(void)reactor_free(w.reactor);
	_exit(0);
}

static void start_worker(struct world *world, size_t i, struct random *r)
{
	struct slot *slot = &world->shared->slots[i];
	uint64_t seed = random_next(r);

	slot->is_holding = false;
	slot->is_waiting = false;
	slot->is_doomed = false;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		slot->pid = getpid();
		work(world, i, seed);
	}
	slot->pid = pid;
}

/* From outside */

struct outside {
	struct lock_scan scan;
	struct lock_holder suspects[2]; /* a pair that should not be */
	int n_seen;                     /* readings in a row that showed it */
	uint64_t n_readings;
};

/* Whether the two may hold what they hold. */
static bool is_fine(const struct host *h, const struct lock_holder *a, const struct lock_holder *b)
{
	if (a->pid == b->pid)
		return true;
	if (a->lock.kind == b->lock.kind)
		return a->lock.id != b->lock.id || (!a->lock.exclusive && !b->lock.exclusive);
	const struct lock_holder *llc = a->lock.kind == PLAN_LOCK_LLC ? a : b;
	const struct lock_holder *cpu = a->lock.kind == PLAN_LOCK_LLC ? b : a;
	return !llc->lock.exclusive || h->cpus[cpu->lock.id].llc != llc->lock.id;
}

/*
 * /proc/locks is read in pieces while locks come and go, so one reading can show what never was at one time; the same pair in
 * five readings in a row was.
 */
static void check_from_outside(struct outside *o, const struct host *h)
{
	struct error err;

	if (lock_scan_read(&o->scan, &err) < 0)
		fail_msg("%s", err.text);
	o->n_readings++;
	for (size_t i = 0; i < o->scan.n_holders; i++)
		for (size_t j = 0; j < i; j++) {
			const struct lock_holder *a = &o->scan.holders[i];
			const struct lock_holder *b = &o->scan.holders[j];
			if (is_fine(h, a, b))
				continue;
			bool same = o->suspects[0].pid == a->pid && o->suspects[1].pid == b->pid &&
				    o->suspects[0].lock.id == a->lock.id;
			o->n_seen = same ? o->n_seen + 1 : 1;
			o->suspects[0] = *a;
			o->suspects[1] = *b;
			if (o->n_seen >= 5)
				fail_msg("%d and %d are seen to hold locks %u and %u together",
					 a->pid, b->pid, a->lock.id, b->lock.id);
			return;
		}
	o->n_seen = 0;
}

static void check_waits(const struct world *world)
{
	uint64_t now_ns = clock_now_ns();

	for (size_t i = 0; i < N_WORKERS; i++) {
		const struct slot *s = &world->shared->slots[i];
		uint64_t since_ns = s->waiting_since_ns;
		if (s->is_waiting && now_ns > since_ns &&
		    now_ns - since_ns > WAIT_LIMIT_S * NS_PER_S)
			fail_msg("%d has been waiting for more than %d s", (int)s->pid,
				 WAIT_LIMIT_S);
	}
}

static void reap(struct world *world, struct random *r, bool restart)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (size_t i = 0; i < N_WORKERS; i++)
			if (world->shared->slots[i].pid == pid) {
				world->shared->slots[i].is_holding = false;
				world->shared->slots[i].is_waiting = false;
				if (restart)
					start_worker(world, i, r);
			}
}

struct disturbance {
	pid_t stopped;
	uint64_t continue_ns;
};

static void disturb(struct world *world, struct disturbance *d, struct random *r)
{
	struct slot *s = &world->shared->slots[random_below(r, N_WORKERS)];

	if (d->stopped && clock_now_ns() >= d->continue_ns) {
		(void)kill(d->stopped, SIGCONT);
		d->stopped = 0;
	}
	if (!d->stopped && random_below(r, 4) == 0) {
		d->stopped = s->pid;
		d->continue_ns = clock_now_ns() + random_below(r, 2500) * NS_PER_MS;
		(void)kill(d->stopped, SIGSTOP);
	} else if (random_below(r, 4) == 0 && s->pid != d->stopped) {
		s->is_doomed = true;
		(void)kill(s->pid, SIGKILL);
	}
}

static void run_for(struct world *world, uint64_t seconds, struct outside *o)
{
	struct random r = { .state = (uint64_t)getpid() << 20 | 1 };
	struct disturbance d = { 0 };

	for (size_t i = 0; i < N_WORKERS; i++)
		start_worker(world, i, &r);
	pause_ms(200);
	uint64_t end_ns = clock_now_ns() + seconds * NS_PER_S;
	world->shared->has_begun = true;
	while (clock_now_ns() < end_ns && !world->shared->n_violations &&
	       !world->shared->n_errors) {
		pause_ms(world->is_measuring ? 200 : 10);
		if (!world->is_measuring)
			disturb(world, &d, &r);
		check_from_outside(o, world->host);
		check_waits(world);
		reap(world, &r, true);
	}
	if (d.stopped)
		(void)kill(d.stopped, SIGCONT);
}

/* Half of them end by themselves, the other half is killed: nothing may be left of either. */
static void end_all(struct world *world)
{
	struct random r = { .state = 1 };
	uint64_t limit_ns;

	for (size_t i = 0; i < N_WORKERS; i += 2) {
		world->shared->slots[i].is_doomed = true;
		(void)kill(world->shared->slots[i].pid, SIGKILL);
	}
	world->shared->stop = true;
	limit_ns = clock_now_ns() + WAIT_LIMIT_S * NS_PER_S;
	for (;;) {
		reap(world, &r, false);
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			return;
		if (clock_now_ns() > limit_ns)
			fail_msg("some worker does not end");
		pause_ms(10);
	}
}

static void check_nothing_is_left(const struct lock_dir *dir, struct outside *o)
{
	struct tickets t = TICKETS_INIT;
	struct error err;

	assert_int_equal(lock_scan_read(&o->scan, &err), 0);
	assert_int_equal(o->scan.n_holders, 0);
	assert_int_equal(tickets_read(&t, dir, &err), 0);
	assert_int_equal(t.n_earlier, 0);
	tickets_fini(&t);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print_figures(struct world *world, uint64_t seconds, uint64_t n_readings)
{
	struct shared *s = world->shared;
	uint64_t n = s->n_waits;
	size_t kept = n < MAX_WAITS ? n : MAX_WAITS;

	qsort(s->waits_us, kept, sizeof(*s->waits_us), compare_u32);
	printf("# %" PRIu64 " places in %" PRIu64 " s (performance 1, 2, 3 LLCs: %" PRIu64
	       ", %" PRIu64 ", %" PRIu64 "; others %" PRIu64 "), %" PRIu64
	       " readings of /proc/locks\n",
	       n, seconds, s->n_done[0], s->n_done[1], s->n_done[2], s->n_done[3], n_readings);
	if (!kept)
		return;
	size_t middle = kept / 2;
	size_t late = kept * 99 / 100;
	printf("# wait: median %.1f ms, p99 %.1f ms, longest %.1f ms\n", s->waits_us[middle] / 1e3,
	       s->waits_us[late] / 1e3, s->waits_us[kept - 1] / 1e3);
	printf("# wake-ups per second of waiting: %.1f, looks: %.1f\n",
	       (double)s->n_wakeups * 1e9 / (double)s->waited_ns,
	       (double)s->n_looks * 1e9 / (double)s->waited_ns);
	if (world->is_measuring)
		printf("# LLCs held %.1f %% of the time (an ideal scheduler: 100 %%)\n",
		       (double)s->held_ns / 1e7 / (double)(seconds * N_LLCS));
}

static void remove_folder(const char *path)
{
	char *command = xasprintf("rm -rf '%s'", path);

	/* NOLINTNEXTLINE(concurrency-mt-unsafe,cert-env33-c): one thread, our own folder */
	(void)!system(command);
	free(command);
}

static void test_64_processes_share_nothing_exclusive_and_leave_nothing(void **state UNUSED)
{
	uint64_t seconds = env_number("KTSTR_CONTENTION_SECONDS", 10);
	struct world world = { .dir = "/dev/shm/ktstr-contention-XXXXXX",
			       .is_measuring = env_number("KTSTR_CONTENTION_MEASURE", 0) };
	struct outside o = { 0 };
	struct lock_dir dir;
	struct error err;

	if (!mkdtemp(world.dir)) { /* no /dev/shm */
		(void)snprintf(world.dir, sizeof(world.dir), "/tmp/ktstr-contention-XXXXXX");
		assert_non_null(mkdtemp(world.dir));
	}
	world.host = host_regular(2, N_LLCS / 2, LLC_CPUS, 1, false);
	world.shared = mmap(NULL, sizeof(*world.shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(world.shared != MAP_FAILED);
	assert_int_equal(lock_dir_open(&dir, world.dir, true, &err), 0);
	o.scan.dir = &dir;

	run_for(&world, seconds, &o);
	end_all(&world);
	check_nothing_is_left(&dir, &o);
	print_figures(&world, seconds, o.n_readings);
	if (world.shared->n_violations || world.shared->n_errors)
		fail_msg("%s", world.shared->error);
	assert_true(world.shared->n_done[0] > 0);
	if (!world.is_measuring) {
		assert_true(world.shared->n_done[2] > 0);
		assert_true(world.shared->n_done[3] > 0);
	}
	lock_scan_fini(&o.scan);
	lock_dir_close(&dir);
	remove_folder(world.dir);
	(void)munmap(world.shared, sizeof(*world.shared));
	(void)host_free(world.host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_64_processes_share_nothing_exclusive_and_leave_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
