#include "plan/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/num.h"
#include "plan/plan_tiers.h"

enum { DEFAULT_PERCENT = 30 };

struct plan_guest plan_guest_of(const struct topology *t)
{
	struct plan_guest g = { .n_nodes = t->n_nodes,
				.n_llcs = t->n_llcs,
				.cores_per_llc = t->cores_per_llc,
				.threads_per_core = t->threads_per_core };

	for (uint32_t i = 0; i < t->n_nodes; i++)
		g.node_llcs[i] = t->nodes[i].n_llcs;
	return g;
}

/* Holders */

void plan_holders_init(struct plan_holders *h, const struct host *host)
{
	h->n_llcs = host->n_llcs;
	h->n_cpus = host->n_ids;
	h->llcs = xcalloc(h->n_llcs, sizeof(*h->llcs));
	h->cpus = xcalloc(h->n_cpus, sizeof(*h->cpus));
}

void plan_holders_fini(struct plan_holders *h)
{
	freep(&h->llcs);
	freep(&h->cpus);
}

void plan_holders_copy(struct plan_holders *to, const struct plan_holders *from)
{
	ASSERT(to->n_llcs == from->n_llcs && to->n_cpus == from->n_cpus);
	memcpy(to->llcs, from->llcs, to->n_llcs * sizeof(*to->llcs));
	memcpy(to->cpus, from->cpus, to->n_cpus * sizeof(*to->cpus));
}

static uint16_t *count_of(struct plan_holders *h, const struct plan_lock *lock)
{
	ASSERT(lock->id < (lock->kind == PLAN_LOCK_LLC ? h->n_llcs : h->n_cpus));
	struct plan_use *use =
	    lock->kind == PLAN_LOCK_LLC ? &h->llcs[lock->id] : &h->cpus[lock->id];

	return lock->exclusive ? &use->exclusive : &use->shared;
}

void plan_holders_add(struct plan_holders *h, const struct plan_lock *lock)
{
	uint16_t *count = count_of(h, lock);

	if (*count < UINT16_MAX)
		(*count)++;
}

void plan_holders_remove(struct plan_holders *h, const struct plan_lock *lock)
{
	uint16_t *count = count_of(h, lock);

	ASSERT(*count > 0);
	(*count)--;
}

/* Numbers */

uint32_t plan_budget_cpus(const struct plan_request *request, uint32_t n_allowed)
{
	uint32_t vcpus = plan_guest_cpus(&request->guest);
	uint32_t fit = vcpus < n_allowed ? vcpus : n_allowed;
	uint32_t share = (n_allowed * DEFAULT_PERCENT + 99) / 100;

	if (request->budget != PLAN_BUDGET_AUTO)
		return request->n_cpus;
	/* Fewer CPUs than vCPUs would measure the host's scheduler, not the guest's. */
	if (request->tier == PLAN_DEFAULT)
		return fit;
	return fit > share ? fit : share;
}

int plan_parse_cap(const char *flag, const char *env, uint32_t *ret, struct error *err)
{
	uint64_t n = 0;

	if (flag) {
		if (num_parse_u64("--cpu-cap", flag, 1, UINT32_MAX, &n, err) < 0)
			return err->code;
	} else if (env && *env) {
		if (num_parse_u64("KTSTR_CPU_CAP", env, 1, UINT32_MAX, &n, err) < 0)
			return err->code;
	}
	*ret = (uint32_t)n;
	return 0;
}

uint32_t plan_offset_of_pid(uint32_t pid)
{
	/* The finalizer of MurmurHash3: every bit of the id changes half of the result's. */
	uint32_t h = pid;

	h = (h ^ h >> 16) * 0x85ebca6bU;
	h = (h ^ h >> 13) * 0xc2b2ae35U;
	return h ^ h >> 16;
}

/* Plans */

static int compare_locks(const void *a, const void *b)
{
	const struct plan_lock *x = a;
	const struct plan_lock *y = b;

	if (x->kind != y->kind)
		return x->kind == PLAN_LOCK_LLC ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

void plan_add_lock(struct plan *p, enum plan_lock_kind kind, uint32_t id, bool exclusive)
{
	p->locks = xreallocarray(p->locks, p->n_locks + 1, sizeof(*p->locks));
	p->locks[p->n_locks++] =
	    (struct plan_lock){ .kind = kind, .id = id, .exclusive = exclusive };
}

void plan_add_cpu(struct plan *p, const struct host *host, uint32_t cpu)
{
	id_set_add(&p->cpus, cpu);
	id_set_add(&p->mems, host->nodes[host->cpus[cpu].node].os_id);
	p->n_cpus++;
}

void plan_fini(struct plan *p)
{
	freep(&p->locks);
	freep(&p->vcpu_cpus);
	freep(&p->vllc_llcs);
	*p = (struct plan){ .service_cpu = PLAN_NO_CPU };
}

static enum plan_result make(const struct plan_state *state, struct plan *ret,
			     struct plan_shortage *ret_why)
{
	struct plan p = { .tier = state->request->tier,
			  .n_vcpus = plan_guest_cpus(&state->request->guest),
			  .service_cpu = PLAN_NO_CPU };
	enum plan_result result;

	if (p.tier == PLAN_PERFORMANCE)
		result = plan_perf_make(state, &p, ret_why);
	else
		result = plan_pick_make(state, &p, ret_why);
	if (result != PLAN_OK) {
		plan_fini(&p);
		return result;
	}
	qsort(p.locks, p.n_locks, sizeof(*p.locks), compare_locks);
	*ret = p;
	return PLAN_OK;
}

enum plan_result plan_make(const struct host *host, const struct plan_holders *held,
			   const struct plan_request *request, struct plan *ret,
			   struct plan_shortage *ret_why)
{
	return make(&(struct plan_state){ .host = host, .held = held, .request = request }, ret,
		    ret_why);
}

enum plan_result plan_claim(const struct host *host, const struct plan_holders *held,
			    const struct plan_holders *later, const struct plan_request *request,
			    struct plan *ret, struct plan_shortage *ret_why)
{
	return make(
	    &(struct plan_state){ .host = host, .held = held, .later = later, .request = request },
	    ret, ret_why);
}

/* Words */

static int perf_error(const struct plan_request *r, const struct plan_shortage *why,
		      struct error *err)
{
	const struct plan_guest *g = &r->guest;

	if (why->have_llcs < why->need_llcs)
		(void)error_set_text(
		    err, -ENODEV,
		    "performance mode needs %u LLCs of at least %u CPUs each; of the CPUs that "
		    "this "
		    "process may use %u make up such an LLC: use a larger host, a smaller "
		    "--topology, or no --perf",
		    why->need_llcs, why->llc_cpus, why->have_llcs);
	else
		(void)error_set_text(
		    err, -ENODEV,
		    "performance mode needs %u CPUs (%u vCPUs and one for service), this process "
		    "may "
		    "use %u: use a larger host, a smaller --topology, or no --perf",
		    why->need_cpus, plan_guest_cpus(g), why->have_cpus);
	return error_classify(err, ERROR_SKIP);
}

int plan_result_error(enum plan_result result, const struct plan_request *request,
		      const struct plan_shortage *why, struct error *err)
{
	switch (result) {
	case PLAN_OK:
		break;
	case PLAN_BUSY:
		return error_set_text(err, -EBUSY,
				      "what it takes on this host is in use by others "
				      "(`ktstr locks` shows by whom)");
	case PLAN_PERF_UNAVAILABLE:
		return perf_error(request, why, err);
	case PLAN_INSUFFICIENT:
		(void)error_set_text(err, -ENODEV,
				     "the test asks for %u CPUs, this process may use %u",
				     why->need_cpus, why->have_cpus);
		return error_classify(err, ERROR_SKIP);
	case PLAN_CAP_UNSATISFIABLE:
		return error_set_usage(
		    err, -ERANGE,
		    "--cpu-cap or KTSTR_CPU_CAP: %u is more than the %u CPUs that this process "
		    "may use (affinity, cgroup)",
		    why->need_cpus, why->have_cpus);
	}
	ASSERT(!"an error of a plan that was made");
	return -EINVAL;
}
