/*
 * From a request to a place on this host that is one's own: host and lock folder, a plan, its locks, and the placement for the
 * VM (base/placement.h). Every run of a VM begins here, whoever supervises it.
 *
 *	reservation_host_open     once per process
 *	reservation_check         can this host at all? Early: before anything takes time
 *	reservation_start ──────► fn: the place is there, or an error of the right class
 *	  fork the VM process: it inherits the descriptors of the locks and closes them when its vCPUs are gone
 *	reservation_fini          gives up this process's share of the locks
 *
 * Belongs to a reactor's thread. What goes wrong, by class: this host cannot (skip), an operator asks for more than is allowed
 * (usage), others held on for longer than the wait (infra, -ETIMEDOUT).
 */
#pragma once

#include "base/placement.h"
#include "harness/waiter.h"
#include "plan/host_discover.h"

struct reservation_host {
	struct host_source source;
	const struct host *host;
	struct lock_dir dir; /* not open with --no-locks */
	/* Without locks: what reservations of this process have now. */
	struct plan_holders given;
	char *cache_path;
};
#define RESERVATION_HOST_INIT ((struct reservation_host){ .dir = LOCK_DIR_INIT })

/*
 * This machine, from @cache_dir if it is known there already (NULL: discovered anew), and the lock folder: @lock_dir, NULL or ""
 * for the default; it is made if need be. @with_locks false: no folder is opened, and every place is taken without locks.
 */
MUST_CHECK int reservation_host_open(struct reservation_host *h, const char *cache_dir,
				     const char *lock_dir, bool with_locks, struct error *err);
void reservation_host_close(struct reservation_host *h); /* idempotent */

/* Of whom and how many: what options or a test's declaration say. */
struct reservation_want {
	enum plan_tier tier;
	enum plan_budget budget; /* who named n_cpus; AUTO: nobody */
	uint32_t n_cpus;
	bool spread;
	const struct topology *topology;
};
/* For all CPUs that this process may use. */
struct plan_request reservation_request(const struct reservation_host *h,
					const struct reservation_want *want);
/* What a place takes of the host, if nobody else is here. */
struct reservation_need {
	uint32_t
	    n_cpus; /* its own, or shared by budgets; in performance mode with all of the LLCs that are locked */
	uint32_t n_locks;
};
/* 0, also where others are in the way now; else the error of a host that never can. */
MUST_CHECK int reservation_check(const struct reservation_host *h,
				 const struct plan_request *request, struct reservation_need *ret,
				 struct error *err);

struct reservation;
/* @res: 0, or -errno and reservation->err tells (-ECANCELED after reservation_cancel). */
typedef void (*reservation_fn)(struct reservation *r, int res);

/* Zero-initialised is idle. Stays where it is from start to fini. */
struct reservation {
	/* The answer, valid from fn(0) to reservation_fini. */
	struct placement placement;
	const struct plan *plan;
	uint64_t waited_ns;
	struct error err;
	/* The rest is its own. */
	struct reservation_host *host;
	struct plan_request request;
	struct waiter waiter;
	struct plan unlocked_plan;
	struct reactor *reactor;
	struct reactor_op soon;
	reservation_fn fn;
	uint64_t started_ns;
};

/*
 * Borrows @h until reservation_fini. @wait_ns 0: one attempt. @fn comes exactly once, from the reactor. Without
 * locks the place is the best that there would be if no other process were here; reservations of this one share as few CPUs as
 * they can.
 */
void reservation_start(struct reservation *r, struct reactor *reactor, struct reservation_host *h,
		       const struct plan_request *request, uint64_t wait_ns, reservation_fn fn);
void reservation_cancel(struct reservation *r); /* nothing happens to one that is done */
/* Descriptors of the locks, close-on-exec; @ret has room for plan->n_locks. Returns how many. */
size_t reservation_lock_fds(const struct reservation *r, int *ret);
/* Appends who is in the way, at the last look: "LLC 0: 4711 (ktstr run ...)". */
void reservation_describe_holders(const struct reservation *r, struct buf *to);
void reservation_fini(struct reservation *r); /* after fn, or of an idle one; idempotent */
