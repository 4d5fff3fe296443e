#include "harness/reservation.h"

#include <errno.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "plan/plan_placement.h"

/* The host */

int reservation_host_open(struct reservation_host *h, const char *cache_dir, const char *lock_dir,
			  bool with_locks, struct error *err)
{
	*h = RESERVATION_HOST_INIT;
	if (cache_dir)
		h->cache_path = xasprintf("%s/host", cache_dir);
	h->source.cache_path = h->cache_path;
	if (host_source_get(&h->source, &h->host, err) < 0 ||
	    (with_locks && lock_dir_open(&h->dir, lock_dir, true, err) < 0)) {
		reservation_host_close(h);
		return err->code;
	}
	return 0;
}

void reservation_host_close(struct reservation_host *h)
{
	lock_dir_close(&h->dir);
	plan_holders_fini(&h->given);
	host_source_fini(&h->source);
	freep(&h->cache_path);
	h->host = NULL;
}

static bool has_locks(const struct reservation_host *h)
{
	return h->dir.fd >= 0;
}

/* The question */

struct plan_request reservation_request(const struct reservation_host *h,
					const struct reservation_want *want)
{
	return (struct plan_request){ .tier = want->tier,
				      .budget = want->budget,
				      .n_cpus = want->n_cpus,
				      .spread = want->spread,
				      .offset = plan_offset_of_pid((uint32_t)getpid()),
				      .guest = plan_guest_of(want->topology),
				      .allowed = h->host->allowed };
}

/* As if nobody else were here. */
static int plan_alone(const struct reservation_host *h, const struct plan_request *request,
		      struct plan *ret, struct error *err)
{
	CLEANUP(plan_holders_fini) struct plan_holders nobody = { 0 };
	struct plan_shortage why;

	plan_holders_init(&nobody, h->host);
	enum plan_result result = plan_make(h->host, &nobody, request, ret, &why);
	return result == PLAN_OK ? 0 : plan_result_error(result, request, &why, err);
}

/* That others cannot have meanwhile, of those that we may use. */
static struct reservation_need need_of(const struct host *h, const struct plan *plan)
{
	struct id_set cpus = plan->cpus;

	for (uint32_t i = 0; i < plan->n_locks; i++) {
		const struct plan_lock *lock = &plan->locks[i];
		if (lock->kind == PLAN_LOCK_CPU) {
			id_set_add(&cpus, lock->id);
			continue;
		}
		const struct host_llc *llc = &h->llcs[lock->id];
		for (uint32_t j = 0; lock->exclusive && j < llc->n; j++)
			if (id_set_has(&h->allowed, h->order[llc->first + j]))
				id_set_add(&cpus, h->order[llc->first + j]);
	}
	return (struct reservation_need){ .n_cpus = id_set_count(&cpus), .n_locks = plan->n_locks };
}

int reservation_check(const struct reservation_host *h, const struct plan_request *request,
		      struct reservation_need *ret, struct error *err)
{
	struct plan plan = { 0 };
	int res = plan_alone(h, request, &plan, err);

	if (res == 0)
		*ret = need_of(h->host, &plan);
	plan_fini(&plan);
	return res;
}

/* The answer, in the order of events */

static void finish(struct reservation *r, const struct plan *plan, int res)
{
	r->waited_ns = clock_now_ns() - r->started_ns;
	if (res == 0) {
		r->plan = plan;
		r->placement = plan_placement(r->host->host, &r->request, plan);
	}
	r->fn(r, res);
}

static void on_place(struct waiter *w, int res)
{
	struct reservation *r = container_of(w, struct reservation, waiter);

	if (res < 0)
		r->err = w->err;
	finish(r, &w->acquire.plan, res);
}

/* Of what this process gave out already nothing is waited for: it is shared when there is nothing else. */
static int plan_beside_ours(struct reservation *r)
{
	CLEANUP(plan_holders_fini) struct plan_holders nobody = { 0 };
	struct reservation_host *h = r->host;
	struct plan_shortage why;

	if (!h->given.cpus)
		plan_holders_init(&h->given, h->host);
	plan_holders_init(&nobody, h->host);
	enum plan_result result =
	    plan_claim(h->host, &nobody, &h->given, &r->request, &r->unlocked_plan, &why);
	if (result != PLAN_OK)
		return plan_result_error(result, &r->request, &why, &r->err);
	for (uint32_t i = 0; i < r->unlocked_plan.n_locks; i++)
		plan_holders_add(&h->given, &r->unlocked_plan.locks[i]);
	return 0;
}

static void on_soon(struct reactor_op *op, int res, bool more UNUSED)
{
	struct reservation *r = container_of(op, struct reservation, soon);

	if (res < 0)
		(void)error_set_text(&r->err, res, "the wait for a place was ended");
	else
		res = plan_beside_ours(r);
	finish(r, &r->unlocked_plan, res);
}

void reservation_start(struct reservation *r, struct reactor *reactor, struct reservation_host *h,
		       const struct plan_request *request, uint64_t wait_ns, reservation_fn fn)
{
	const struct waiter_config config = { .host = h->host,
					      .dir = &h->dir,
					      .request = request,
					      .timeout_ns = wait_ns,
					      .fn = on_place };

	*r = (struct reservation){ .host = h,
				   .request = *request,
				   .reactor = reactor,
				   .fn = fn,
				   .started_ns = clock_now_ns() };
	if (has_locks(h))
		waiter_start(&r->waiter, reactor, &config);
	else
		reactor_timer(reactor, &r->soon, r->started_ns, on_soon);
}

void reservation_cancel(struct reservation *r)
{
	if (!has_locks(r->host)) {
		if (!reactor_op_is_idle(&r->soon))
			reactor_cancel(r->reactor, &r->soon);
	} else if (!r->plan) {
		waiter_cancel(&r->waiter);
	}
}

size_t reservation_lock_fds(const struct reservation *r, int *ret)
{
	return r->plan && has_locks(r->host) ? locks_held_fds(&r->waiter.acquire.locks, ret) : 0;
}

void reservation_describe_holders(const struct reservation *r, struct buf *to)
{
	ASSERT(has_locks(r->host));
	acquire_describe_holders(&r->waiter.acquire, to);
}

void reservation_fini(struct reservation *r)
{
	if (r->host && has_locks(r->host))
		waiter_fini(&r->waiter);
	for (uint32_t i = 0; i < r->unlocked_plan.n_locks; i++)
		plan_holders_remove(&r->host->given, &r->unlocked_plan.locks[i]);
	plan_fini(&r->unlocked_plan);
	placement_fini(&r->placement);
	*r = (struct reservation){ 0 };
}
