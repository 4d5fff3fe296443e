#include "cli/place.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "cli/end_signals.h"
#include "cli/promises.h"

enum { NOTICE_MS = 500, CGROUP_CLOSE_MS = 200 };

int place_check(struct place *p, const struct placement_options *o, const struct topology *topology,
		const char *cache_dir, struct error *err)
{
	const struct reservation_want want = placement_options_want(o, topology);

	if (!placement_options_has_place(o))
		return 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	if (reservation_host_open(&p->host, cache_dir, getenv("KTSTR_LOCK_DIR"), !o->no_locks,
				  err) < 0)
		return error_prefix(err, "no place on this host (--no-locks runs without one)");
	p->request = reservation_request(&p->host, &want);
	p->wait_ms = o->wait_ms;
	struct reservation_need unused;
	return reservation_check(&p->host, &p->request, &unused, err);
}

/* The wait, in the order of events */

static void on_notice(struct reactor_op *op, int res, bool more UNUSED)
{
	struct place *p = container_of(op, struct place, notice);
	CLEANUP(buf_fini) struct buf holders = { 0 };

	if (res < 0)
		return;
	reservation_describe_holders(&p->reservation, &holders);
	fprintf(stderr,
		"ktstr: waiting for CPUs, up to %llu s (--wait): %s; `ktstr locks` shows who has "
		"them\n",
		(unsigned long long)p->wait_ms / 1000, buf_str(&holders));
}

static void on_signal(struct reactor_op *op, int res, bool more UNUSED)
{
	struct place *p = container_of(op, struct place, signals);
	struct signalfd_siginfo info;

	while (res > 0 && read(p->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		p->signal = (int)info.ssi_signo;
		reservation_cancel(&p->reservation);
	}
}

static void on_place(struct reservation *r, int res)
{
	struct place *p = container_of(r, struct place, reservation);

	p->res = res;
	reactor_stop(p->reactor, 0);
}

static int wait_for_place(struct place *p)
{
	struct reservation *r = &p->reservation;

	reservation_start(r, p->reactor, &p->host, &p->request, p->wait_ms * NS_PER_MS, on_place);
	reactor_poll(p->reactor, &p->signals, p->signal_fd, POLLIN, on_signal);
	if (p->host.dir.fd >= 0)
		reactor_timer(p->reactor, &p->notice, clock_now_ns() + NOTICE_MS * NS_PER_MS,
			      on_notice);
	(void)reactor_run(p->reactor); /* on_place says what came of it */
	reactor_end(p->reactor, &p->signals);
	reactor_end(p->reactor, &p->notice);
	return p->res;
}

/* A signal that came during the wait is an end of the wait, and a later one is a signal again. */
static int wait_with_signals(struct place *p, struct error *err)
{
	const sigset_t ends = end_signals();
	sigset_t old;

	(void)sigprocmask(SIG_BLOCK, &ends, &old);
	p->signal_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	int res = p->signal_fd < 0 ? error_set(err, errno, "signalfd") : wait_for_place(p);
	if (res < 0 && p->signal_fd >= 0)
		*err = p->reservation.err;
	fd_closep(&p->signal_fd);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	return res;
}

/* What is to be known of the place */

void place_note(const struct place *p, struct run_result *result)
{
	static const char no_place[] = "--no-locks: this VM runs on any CPU, beside whoever else "
				       "is there: timings are not only its own";

	if (!p->is_taken) {
		run_result_add_note(result, no_place, sizeof(no_place) - 1);
		return;
	}
	promises_note(&p->reservation, result);
	if (p->cgroup.note[0])
		run_result_add_note(result, p->cgroup.note, strlen(p->cgroup.note));
}

/* A default run has its mask: nobody was promised that it could not leave that. */
static int open_cgroup(struct place *p, struct error *err)
{
	const struct cgroup_request request = cgroup_request_of(&p->reservation.placement);

	if (p->request.tier == PLAN_DEFAULT)
		return 0;
	return cgroup_open(&p->cgroup, &request, 1, err);
}

int place_take(struct place *p, enum reactor_backend backend, struct error *err)
{
	if (!p->host.host)
		return 0;
	if (reactor_new(&(struct reactor_config){ .backend = backend }, &p->reactor, err) < 0)
		return err->code;
	int res = wait_with_signals(p, err);
	p->reactor = reactor_free(p->reactor);
	if (res < 0)
		return p->signal ? 0 : res;
	p->lock_fds = xcalloc(p->reservation.plan->n_locks + 1, sizeof(*p->lock_fds));
	p->n_lock_fds = reservation_lock_fds(&p->reservation, p->lock_fds);
	p->is_taken = true;
	return open_cgroup(p, err);
}

const struct placement *place_placement(const struct place *p)
{
	return p->is_taken ? &p->reservation.placement : NULL;
}

void place_fini(struct place *p)
{
	(void)cgroup_close(&p->cgroup, CGROUP_CLOSE_MS); /* else the next sweep takes it */
	reservation_fini(&p->reservation);
	reservation_host_close(&p->host);
	freep(&p->lock_fds);
	*p = PLACE_INIT;
}
