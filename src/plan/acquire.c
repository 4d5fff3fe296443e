#include "plan/acquire.h"

#include <errno.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/fd.h"

enum { MAX_DESCRIBED = 8, MAX_BLIND = 64 };

void acquire_init(struct acquire *a, const struct host *host, const struct lock_dir *dir,
		  const struct plan_request *request)
{
	*a = (struct acquire){ .host = host,
			       .dir = dir,
			       .request = *request,
			       .scan = { .dir = dir },
			       .tickets = TICKETS_INIT,
			       .locks = { .dir = dir },
			       .select_fd = -1 };
}

/* What others hold, and who came earlier. */
static int look(struct acquire *a, struct plan_holders *held, struct error *err)
{
	if (lock_scan_read(&a->scan, err) < 0 || tickets_read(&a->tickets, a->dir, err) < 0)
		return err->code;
	lock_scan_count(&a->scan, held);
	return 0;
}

static int plan_now(struct acquire *a, uint64_t now_ns, const struct plan_holders *held,
		    enum acquire_result *ret, struct error *err)
{
	const struct queue q = { .host = a->host,
				 .locks = held,
				 .earlier = a->tickets.earlier,
				 .n_earlier = a->tickets.n_earlier,
				 .now_ns = now_ns };
	struct plan_shortage why = { 0 };
	bool held_back;

	plan_fini(&a->plan);
	enum plan_result result = queue_admit(&q, &a->request, &a->plan, &why, &held_back);
	if (result == PLAN_BUSY)
		*ret = held_back ? ACQUIRE_HELD_BACK : ACQUIRE_BUSY;
	else if (result == PLAN_OK)
		*ret = ACQUIRE_DONE;
	else
		return plan_result_error(result, &a->request, &why, err);
	return 0;
}

/* A lock that is held though /proc/locks did not show it: a process of another pid namespace, or one that came since. */
static void note_unseen(struct plan_holders *held, const struct plan_lock *busy)
{
	struct plan_lock as_held = *busy;

	/* What refuses a shared lock is exclusive; what refuses an exclusive one may be shared. */
	as_held.exclusive = !busy->exclusive;
	plan_holders_add(held, &as_held);
}

/* Plans and locks until both agree, or for @max plans: BUSY then. */
static int lock_what_is_planned(struct acquire *a, uint64_t now_ns, struct plan_holders *held,
				unsigned max, enum acquire_result *ret, struct error *err)
{
	struct plan_lock busy;

	for (unsigned i = 0; i < max; i++) {
		if (plan_now(a, now_ns, held, ret, err) < 0)
			return err->code;
		if (*ret != ACQUIRE_DONE)
			return 0;
		int res = locks_take(&a->locks, &a->plan, &busy, err);
		if (res < 0)
			return res;
		if (res == 1)
			return 0;
		note_unseen(held, &busy);
	}
	*ret = ACQUIRE_BUSY;
	return 0;
}

static int select_and_lock(struct acquire *a, uint64_t now_ns, enum acquire_result *ret,
			   struct error *err)
{
	CLEANUP(plan_holders_fini) struct plan_holders held = { 0 };

	plan_holders_init(&held, a->host);
	if (look(a, &held, err) < 0)
		return err->code;
	return lock_what_is_planned(a, now_ns, &held, UINT_MAX, ret, err);
}

/* 1: taken, 0: another has it. */
static int take_select_lock(struct acquire *a, struct error *err)
{
	for (int i = 0; i < 10; i++) {
		if (a->select_fd < 0)
			a->select_fd = lock_dir_open_file(a->dir->fd, LOCK_SELECT_FILE, false);
		if (a->select_fd < 0)
			return error_set(err, a->select_fd, "cannot open '%s/%s'", a->dir->path,
					 LOCK_SELECT_FILE);
		if (flock(a->select_fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK || errno == EINTR
				   ? 0
				   : error_set(err, errno, "cannot lock '%s/%s'", a->dir->path,
					       LOCK_SELECT_FILE);
		if (lock_dir_is_same(a->dir->fd, LOCK_SELECT_FILE, a->select_fd))
			return 1;
		fd_closep(&a->select_fd);
	}
	return error_set(err, ESTALE, "'%s/%s'", a->dir->path, LOCK_SELECT_FILE);
}

/* The time stamp is the bell: closing the file would ring for those who only gave up trying, too. */
static void give_select_lock(struct acquire *a)
{
	(void)flock(a->select_fd, LOCK_UN); /* cannot fail for a lock that is held */
	(void)futimens(a->select_fd, NULL); /* without it the others look again after a while */
}

/*
 * The first attempt looks at nothing: a reading of /proc/locks waits for an RCU grace period (some 15 ms), and whoever is alone
 * on the host, or has runs one after the other, need not know who else is there: what is held refuses. Not with somebody in
 * line, and not for a budget, whose locks are shared and refuse nobody: it has to see where the fewest are.
 */
static int try_blind(struct acquire *a, uint64_t now_ns, enum acquire_result *ret,
		     struct error *err)
{
	CLEANUP(plan_holders_fini) struct plan_holders held = { 0 };

	*ret = ACQUIRE_BUSY;
	if (a->is_seeing || a->request.tier == PLAN_BUDGET)
		return 0;
	a->is_seeing = true;
	int selecting = take_select_lock(a, err);
	if (selecting <= 0)
		return selecting;
	plan_holders_init(&held, a->host);
	int res = tickets_read(&a->tickets, a->dir, err);
	if (res == 0 && a->tickets.n_earlier == 0)
		res = lock_what_is_planned(a, now_ns, &held, MAX_BLIND, ret, err);
	give_select_lock(a);
	return res;
}

static int try_seeing(struct acquire *a, uint64_t now_ns, bool force, enum acquire_result *ret,
		      struct error *err)
{
	CLEANUP(plan_holders_fini) struct plan_holders held = { 0 };

	/* Most looks find nothing, and need no lock for that. */
	plan_holders_init(&held, a->host);
	if (look(a, &held, err) < 0 || plan_now(a, now_ns, &held, ret, err) < 0)
		return err->code;
	if (*ret != ACQUIRE_DONE)
		return 0;
	int selecting = take_select_lock(a, err);
	if (selecting < 0)
		return selecting;
	if (!selecting && !force) {
		*ret = ACQUIRE_SELECTING;
		return 0;
	}
	int res = select_and_lock(a, now_ns, ret, err);
	if (selecting)
		give_select_lock(a);
	return res;
}

int acquire_try(struct acquire *a, uint64_t now_ns, bool force, enum acquire_result *ret,
		struct error *err)
{
	ASSERT(!a->is_done);
	if (try_blind(a, now_ns, ret, err) < 0)
		return err->code;
	if (*ret != ACQUIRE_DONE && try_seeing(a, now_ns, force, ret, err) < 0)
		return err->code;
	if (*ret == ACQUIRE_DONE) {
		a->is_done = true;
		tickets_leave(&a->tickets);
	}
	return 0;
}

int acquire_wait_in_line(struct acquire *a, uint64_t now_ns, struct error *err)
{
	if (a->tickets.own_fd >= 0)
		return 0;
	return tickets_take(&a->tickets, a->dir, &a->request, now_ns, err);
}

size_t acquire_n_earlier(const struct acquire *a)
{
	return a->tickets.n_earlier;
}

void acquire_describe_holders(const struct acquire *a, struct buf *to)
{
	for (size_t i = 0; i < a->scan.n_holders; i++) {
		const struct lock_holder *h = &a->scan.holders[i];
		if (i == MAX_DESCRIBED) {
			buf_printf(to, "; and %zu more (`ktstr locks`)", a->scan.n_holders - i);
			break;
		}
		buf_printf(to, "%s%s %u: ", i ? "; " : "",
			   h->lock.kind == PLAN_LOCK_LLC ? "LLC" : "CPU", h->lock.id);
		lock_holder_describe(h->pid, to);
	}
	if (a->scan.n_holders == 0)
		buf_append_str(to, "nobody that /proc/locks shows here");
}

void acquire_fini(struct acquire *a)
{
	tickets_fini(&a->tickets);
	locks_fini(&a->locks);
	lock_scan_fini(&a->scan);
	plan_fini(&a->plan);
	fd_closep(&a->select_fd);
	a->is_done = false;
}
