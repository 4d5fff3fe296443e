#include "reactor/watches.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/num.h"

void watches_init(struct watches *watches)
{
	list_init(&watches->list);
	spin_init(&watches->guest_spin);
	spin_init(&watches->file_spin);
}

static struct reactor_watch *watch_of(struct list *node)
{
	return container_of(node, struct reactor_watch, node);
}

/* Whether one of the watches has work, by @ask or look; each notes its own. */
static bool find_work(struct watches *watches, bool ask)
{
	struct list *node;
	bool found = false;

	list_for_each (node, &watches->list) {
		struct reactor_watch *w = watch_of(node);
		w->found = ask ? w->ops->ask(w) : w->ops->look(w);
		found = found || w->found;
	}
	return found;
}

/* Looks around until @deadline_ns. True: there is something to do, and no need to sleep. */
static bool look_around(struct watches *watches, struct backend *b, uint64_t deadline_ns)
{
	enum { LOOKS_PER_CLOCK = 8 };
	const struct backend_ops *ops = b->ops;

	if (!ops->submit(b))
		return true;
	do {
		for (int i = 0; i < LOOKS_PER_CLOCK; i++) {
			if (ops->has_events(b) || find_work(watches, false))
				return true;
			cpu_pause();
		}
	} while (clock_now_ns() < deadline_ns);
	return false;
}

void watches_sleep(struct watches *watches, struct backend *b, uint64_t wait_ns)
{
	bool found = find_work(watches, true);

	b->ops->wait(b, found ? 0 : wait_ns);
}

/*
 * NULL: no look pays. With more than one file operation in flight completions wake us anyway, and
 * come in batches the better for it. Waits for the guest and for a file are judged apart: they
 * alternate with one request at a time, and differ.
 */
static struct spin *choose_spin(struct watches *watches, const struct backend *b, size_t n_file_io)
{
	if (!b->ops->has_events || n_file_io > 1)
		return NULL;
	return n_file_io ? &watches->file_spin : &watches->guest_spin;
}

/* The same, after a look around where that pays. */
static void look_and_sleep(struct watches *watches, struct backend *b, size_t n_file_io,
			   uint64_t wait_ns)
{
	const struct backend_ops *ops = b->ops;
	struct spin *spin = choose_spin(watches, b, n_file_io);
	uint64_t look_ns = spin ? spin_ns(spin) : 0;
	uint64_t begin_ns = clock_now_ns();
	bool found = look_ns && look_around(watches, b, begin_ns + num_min(look_ns, wait_ns));

	if (!found)
		watches_sleep(watches, b, wait_ns);
	else if (ops->has_events(b)) /* what was armed is with the backend already */
		ops->wait(b, 0);
	if (look_ns)
		spin_learn_look(spin, found);
	else if (spin)
		spin_learn_sleep(spin, clock_now_ns() - begin_ns);
}

void watches_wait(struct watches *watches, struct backend *b, size_t n_file_io, uint64_t wait_ns)
{
	if (wait_ns == 0 || list_is_empty(&watches->list)) {
		(void)find_work(watches, false);
		b->ops->wait(b, wait_ns);
	} else {
		look_and_sleep(watches, b, n_file_io, wait_ns);
	}
}

void watches_run(struct watches *watches)
{
	for (struct list *node = watches->list.next; node != &watches->list;) {
		struct reactor_watch *w = watch_of(node);
		node = node->next;
		if (!w->found)
			continue;
		w->found = false;
		w->ops->work(w);
		node = watches->list.next; /* it may have unwatched any */
	}
}
