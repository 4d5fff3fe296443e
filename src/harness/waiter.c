#include "harness/waiter.h"

#include <errno.h>
#include <poll.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"

static const unsigned retries_ms[] = LOCK_WATCH_RETRIES_MS;

/* How long somebody may be selecting before one goes on without the select lock. */
#define SELECT_PATIENCE_NS NS_PER_S

static void on_timer(struct reactor_op *op, int res, bool more);
static void on_event(struct reactor_op *op, int res, bool more);

static struct waiter *waiter_of_poll(struct reactor_op *op)
{
	return container_of(op, struct waiter, poll_op);
}

static struct waiter *waiter_of_timer(struct reactor_op *op)
{
	return container_of(op, struct waiter, timer_op);
}

/* The end: both operations have to be idle before the owner may free them. */

static void finish_when_idle(struct waiter *w)
{
	if (!w->is_finishing || !reactor_op_is_idle(&w->poll_op) ||
	    !reactor_op_is_idle(&w->timer_op))
		return;
	lock_watch_close(&w->watch);
	w->fn(w, w->res);
}

static void cancel_op(struct waiter *w, struct reactor_op *op)
{
	if (!reactor_op_is_idle(op))
		reactor_cancel(w->reactor, op);
}

static void finish(struct waiter *w, int res)
{
	if (w->is_finishing)
		return;
	w->is_finishing = true;
	w->res = res;
	cancel_op(w, &w->poll_op);
	cancel_op(w, &w->timer_op);
}

/* Time */

static void arm_timer(struct waiter *w)
{
	uint64_t wanted = num_min(w->look_ns, w->deadline_ns);

	if (w->is_finishing || wanted == UINT64_MAX)
		return;
	if (reactor_op_is_idle(&w->timer_op)) {
		w->armed_ns = wanted;
		reactor_timer(w->reactor, &w->timer_op, wanted, on_timer);
	} else if (w->armed_ns > wanted) {
		w->armed_ns = 0; /* asked for once; armed again in its final callback */
		reactor_cancel(w->reactor, &w->timer_op);
	}
}

static void look_at(struct waiter *w, uint64_t when_ns)
{
	if (when_ns < w->look_ns)
		w->look_ns = when_ns;
	arm_timer(w);
}

static void time_out(struct waiter *w)
{
	CLEANUP(buf_fini) struct buf holders = { 0 };
	struct error err;

	/* Who is in the way by now; else, who was at the last attempt. */
	if (lock_scan_read(&w->acquire.scan, &err) < 0)
		log_debug("holders are not read again: %s", err.text);
	acquire_describe_holders(&w->acquire, &holders);
	finish(w, error_set_text(&w->err, -ETIMEDOUT,
				 "no place on this host within %g s; in use: %s "
				 "(`ktstr locks --json` tells more)",
				 clock_limit_s(w->deadline_ns - w->started_ns), buf_str(&holders)));
}

/*
 * Events are of no interest while an attempt is planned anyway: the poll ends then, and begins again after the attempt, at once
 * if there was an event meanwhile.
 */
static void listen(struct waiter *w, bool on)
{
	w->is_listening = on;
	if (on && reactor_op_is_idle(&w->poll_op))
		reactor_poll(w->reactor, &w->poll_op, w->watch.fd, POLLIN, on_event);
	else if (!on)
		cancel_op(w, &w->poll_op);
}

/* Attempts */

/* A place in line later, a millisecond later, but for the front everything at once. */
static uint64_t turn_ns(const struct waiter *w)
{
	return acquire_n_earlier(&w->acquire) * NS_PER_MS;
}

static void after_busy(struct waiter *w, enum acquire_result result, uint64_t now_ns)
{
	if (acquire_wait_in_line(&w->acquire, now_ns, &w->err) < 0) {
		finish(w, w->err.code);
		return;
	}
	listen(w, true);
	if (w->n_retries < ARRAY_SIZE(retries_ms))
		look_at(w, now_ns + num_max(retries_ms[w->n_retries++] * NS_PER_MS, turn_ns(w)));
	else if (result == ACQUIRE_HELD_BACK)
		look_at(w, now_ns + QUEUE_PATIENCE_NS);
}

/* The watch is set before the next attempt, so that no bell is missed. */
static int watch_selection(struct waiter *w, bool on)
{
	int res = lock_watch_selection(&w->watch, w->acquire.dir, on);

	if (res < 0)
		finish(w, error_set(&w->err, res, "cannot watch '%s/%s'", w->acquire.dir->path,
				    LOCK_SELECT_FILE));
	return res;
}

static void after_selecting(struct waiter *w, uint64_t now_ns)
{
	bool is_first = w->selecting_ns == 0;

	if (is_first)
		w->selecting_ns = now_ns;
	if (watch_selection(w, true) < 0)
		return;
	listen(w, true);
	look_at(w, is_first ? now_ns : w->selecting_ns + SELECT_PATIENCE_NS);
}

/*
 * Only for who has to wait: the kernel takes milliseconds to end a watch. What was closed before there was one is no event, so
 * one look more.
 */
static void begin_to_watch(struct waiter *w, uint64_t now_ns)
{
	if (lock_watch_open(&w->watch, w->acquire.dir, &w->err) < 0) {
		finish(w, w->err.code);
		return;
	}
	listen(w, true);
	look_at(w, now_ns);
}

static void look(struct waiter *w, uint64_t now_ns)
{
	enum acquire_result result = ACQUIRE_BUSY;
	bool force = w->selecting_ns && now_ns - w->selecting_ns >= SELECT_PATIENCE_NS;

	w->look_ns = UINT64_MAX;
	w->stats.n_looks++;
	if (acquire_try(&w->acquire, now_ns, force, &result, &w->err) < 0) {
		finish(w, w->err.code);
		return;
	}
	if (result != ACQUIRE_DONE && w->watch.fd < 0 && now_ns < w->deadline_ns) {
		begin_to_watch(w, now_ns);
		return;
	}
	if (result == ACQUIRE_SELECTING && w->watch.fd >= 0) {
		after_selecting(w, now_ns);
		return;
	}
	w->selecting_ns = 0;
	if (w->watch.fd >= 0 && watch_selection(w, false) < 0)
		return;
	if (result == ACQUIRE_DONE)
		finish(w, 0);
	else if (now_ns >= w->deadline_ns)
		time_out(w);
	else
		after_busy(w, result, now_ns);
}

static void on_timer(struct reactor_op *op, int res, bool more UNUSED)
{
	struct waiter *w = waiter_of_timer(op);
	uint64_t now_ns = clock_now_ns();

	if (w->is_finishing) {
		finish_when_idle(w);
		return;
	}
	if (res == 0)
		w->stats.n_wakeups++;
	if (now_ns >= num_min(w->look_ns, w->deadline_ns))
		look(w, now_ns);
	if (!w->is_finishing && now_ns >= w->deadline_ns)
		time_out(w); /* it is somebody else's turn to select, and too late for ours */
	arm_timer(w);
	finish_when_idle(w);
}

static void on_released(struct waiter *w, uint64_t now_ns)
{
	w->n_retries = 0;
	look_at(w, now_ns + turn_ns(w));
	listen(w, false);
}

static void on_event(struct reactor_op *op, int res, bool more)
{
	struct waiter *w = waiter_of_poll(op);

	if (w->is_finishing) {
		finish_when_idle(w);
		return;
	}
	if (!more && res == -ECANCELED) {
		listen(w, w->is_listening);
		return;
	}
	int events = res < 0 ? res : lock_watch_drain(&w->watch);
	w->stats.n_wakeups++;
	if (events < 0) {
		finish(w, error_set(&w->err, events, "cannot watch the lock folder '%s'",
				    w->acquire.dir->path));
		finish_when_idle(w);
		return;
	}
	if ((events & LOCK_WATCH_SELECTED) && w->selecting_ns)
		look_at(w, clock_now_ns());
	else if (events & LOCK_WATCH_RELEASED)
		on_released(w, clock_now_ns());
}

void waiter_start(struct waiter *w, struct reactor *r, const struct waiter_config *config)
{
	uint64_t now_ns = clock_now_ns();

	*w = (struct waiter){
		.reactor = r,
		.fn = config->fn,
		.started_ns = now_ns,
		.look_ns = UINT64_MAX,
		.watch = LOCK_WATCH_INIT,
	};
	if (!num_add_u64(now_ns, config->timeout_ns, &w->deadline_ns))
		w->deadline_ns = UINT64_MAX;
	acquire_init(&w->acquire, config->host, config->dir, config->request);
	look_at(w, now_ns);
}

void waiter_cancel(struct waiter *w)
{
	if (w->is_finishing)
		return;
	finish(w, error_set_text(&w->err, -ECANCELED, "the wait for a place was ended"));
}

void waiter_fini(struct waiter *w)
{
	ASSERT(reactor_op_is_idle(&w->poll_op) && reactor_op_is_idle(&w->timer_op));
	acquire_fini(&w->acquire);
}
